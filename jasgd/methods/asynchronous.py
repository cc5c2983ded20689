"""Plain asynchronous SGD and the rules that weigh, clip, drop or correct its gradients."""

from typing import Literal

import optax

from jasgd import protocols, rules, theory
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, asynchronously, method, rate, sgd
from jasgd.protocols._checks import require_fleet


def asynchronous_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    """Asynchronous SGD with a constant step, Mishchenko et al. 2022, Koloskova et al. 2022.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.asynchronous_step_size`, with the largest delay of the schedule.

    Example:
      >>> method = jasgd.methods.asynchronous_sgd(jasgd.fleet.equal(4), 100, smoothness=1.0)
    """
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    step = rate(
        learning_rate,
        smoothness,
        lambda L: theory.asynchronous_step_size(L, fleet.num_workers, int(schedule.delay.max())),
    )
    return method("asynchronous SGD", schedule, sgd(step), protocols.asynchronous)


def delay_adaptive_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    seed: int = 0,
) -> Method:
    r"""Delay-adaptive asynchronous SGD, Mishchenko et al. 2022: steps :math:`\eta \, n / \max(n, \tau)`.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.delay_adaptive_step_size`, 1 / (4 L n), with which these steps are
        min(1 / (4 L n), 1 / (4 L delay)).

    Example:
      >>> method = jasgd.methods.delay_adaptive_sgd(jasgd.fleet.equal(4), 100, smoothness=1.0)
    """
    require_fleet(fleet, seed)
    n = fleet.num_workers
    step = rate(learning_rate, smoothness, lambda L: theory.delay_adaptive_step_size(L, n))
    rule = rules.delay_adaptive_sgd(step, concurrency=n)
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    return method("delay-adaptive SGD", schedule, rule, rules.delay_adaptive_sgd)


def rescaled_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    source: Literal["times", "duration", "delay"] = "times",
    normaliser: Literal["harmonic", "arithmetic", "max"] = "harmonic",
    seed: int = 0,
) -> Method:
    """Rescaled asynchronous SGD, Mahran, Maranjyan, Richtarik 2026.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: the average step; :func:`jasgd.theory.rescaled_step_size` has one from constants.
      source: scale by the fleet's fixed "times", by the "duration" of each job, or by its "delay" plus 1. The duration is
        divided by the harmonic mean of the schedule's average durations.
      normaliser: of the times.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 8.0])
      >>> method = jasgd.methods.rescaled_sgd(fleet, 100, learning_rate=0.1)
    """
    require_fleet(fleet, seed)
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    rule: optax.GradientTransformation
    if source != "times" and normaliser != "harmonic":
        raise ValueError(f"`normaliser` belongs to source='times'; the source {source!r} has its own.")
    if source == "times":
        if fleet.times is None or fleet.powers:
            raise ValueError(
                "this fleet draws its durations, or they change: scale by source='duration' or 'delay', not by 'times'."
            )
        rule = rules.rescaled_sgd(learning_rate, fleet.times, normaliser=normaliser)
    elif source == "duration":
        # n workers that never idle make n seconds of durations per second: their harmonic mean is n T / K.
        mean = float(fleet.num_workers * schedule.time[-1] / len(schedule))
        rule = rules.rescaled_sgd_by_duration(learning_rate, mean)
    elif source == "delay":
        rule = rules.rescaled_sgd_by_delay(learning_rate, fleet.num_workers)
    else:
        raise ValueError(f"`source` must be 'times', 'duration' or 'delay', got {source!r}.")
    return method("Rescaled ASGD", schedule, rule, rules.rescaled_sgd)


def clipped_sgd(
    fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, max_norm: float, seed: int = 0
) -> Method:
    """Clipped asynchronous SGD, Erickson, Johansson 2026: every gradient is clipped to an l2 ball before it is applied.

    Example:
      >>> method = jasgd.methods.clipped_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, max_norm=1.0)
    """
    rule = optax.chain(optax.clip_by_global_norm(max_norm), sgd(learning_rate))
    reference = (
        "@article{erickson2026clipped,\n  author={Erickson and Johansson}, journal={arXiv:2606.13287}, year={2026}}\n"
    )
    schedule = protocols.asynchronous(fleet, updates, seed=seed)
    return Method(name="clipped ASGD", schedule=schedule, rule=rule, reference=reference)


def picky_sgd(fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, radius: float, seed: int = 0) -> Method:
    """Picky SGD, Cohen et al. 2021: gradients from too far away are dropped; ``updates`` counts dropped ones too.

    Example:
      >>> method = jasgd.methods.picky_sgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, radius=1.0)
    """
    return asynchronously("Picky SGD", fleet, updates, rules.picky(sgd(learning_rate), radius), rules.picky, seed=seed)


def dc_asgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    strength: float,
    adaptive: bool = False,
    seed: int = 0,
) -> Method:
    """DC-ASGD, Zheng et al. 2017: delayed gradients are corrected to first order.

    Example:
      >>> method = jasgd.methods.dc_asgd(jasgd.fleet.equal(4), 100, learning_rate=0.1, strength=0.04)
    """
    make = rules.dc_asgd_adaptive if adaptive else rules.dc_asgd
    return asynchronously("DC-ASGD", fleet, updates, make(learning_rate, strength), rules.dc_asgd, seed=seed)


def gap_aware(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    momentum: float | None = None,
    seed: int = 0,
) -> Method:
    """Gap-Aware, Barkai, Hakimi, Schuster 2020.

    Example:
      >>> method = jasgd.methods.gap_aware(jasgd.fleet.equal(4), 100, learning_rate=0.1)
    """
    rule = rules.gap_aware(learning_rate, momentum=momentum)
    return asynchronously("Gap-Aware", fleet, updates, rule, rules.gap_aware, seed=seed)
