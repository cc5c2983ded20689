"""Methods whose messages are compressed, and those that they are compared with where sending takes time."""

import optax
from numpy.typing import ArrayLike

from jasgd import oracles, protocols, rules, theory
from jasgd.compressors.compressor import Compressor
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, method, rate, sgd
from jasgd.protocols._checks import require_fleet


def shadowheart(
    fleet: Fleet,
    updates: int,
    *,
    compressor: Compressor,
    dim: int,
    noise_ratio: float,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    max_messages: int | None = None,
    compute: ArrayLike | None = None,
    seed: int = 0,
) -> Method:
    """Shadowheart SGD, Tyurin, Pozzi, Ilin, Richtarik 2024.

    Args:
      fleet: workers, with the seconds of one compressed message as ``upload`` of ``with_links``.
      updates, max_messages, compute, seed: of :func:`jasgd.protocols.shadowheart`.
      compressor: an unbiased one.
      dim: d, the number of parameters.
      noise_ratio: noise^2 / accuracy; in the experiments of the paper a number to be tuned.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.shadowheart_step_size`.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 2.0]).with_links(upload=0.1)
      >>> method = jasgd.methods.shadowheart(
      ...     fleet, 10, compressor=jasgd.compressors.rand_k(1), dim=10, noise_ratio=1.0, smoothness=1.0
      ... )
      >>> run = method.simulate(jasgd.problems.quadratic(10, noise=0.1), key=jax.random.key(0))
      >>> run.history["uploaded_bytes"][-1] == 10 * 4 * method.schedule.contents.messages.sum()
      np.True_
    """
    if compressor.omega is None:
        raise ValueError(f"Shadowheart SGD needs an unbiased compressor, one with `omega`; {compressor.name} has none.")
    omega = compressor.omega(dim)
    schedule = protocols.shadowheart(
        fleet, updates, omega, noise_ratio, max_messages=max_messages, compute=compute, seed=seed
    )
    work = schedule.contents
    assert work is not None
    if smoothness is not None and max_messages is not None:
        raise ValueError("the paper's step size holds without `max_messages`; give a `learning_rate`.")
    return method(
        "Shadowheart SGD",
        schedule,
        sgd(rate(learning_rate, smoothness, theory.shadowheart_step_size)),
        protocols.shadowheart,
        oracle=oracles.compressed(oracles.gradient(work.gradients), compressor, messages=work.messages),
    )


def compressed_minibatch_sgd(
    fleet: Fleet, updates: int, *, compressor: Compressor, learning_rate: optax.ScalarOrSchedule, seed: int = 0
) -> Method:
    """Minibatch SGD with one compressed message per worker and step.

    With RandK it is what the experiments of Shadowheart SGD call QSGD; with :func:`jasgd.compressors.qsgd` it is QSGD of
    Alistarh et al. 2017.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 2.0]).with_links(upload=0.1, size=3)
      >>> method = jasgd.methods.compressed_minibatch_sgd(
      ...     fleet, 10, compressor=jasgd.compressors.rand_k(3), learning_rate=0.1
      ... )
      >>> round(method.schedule.time[-1], 6)
      np.float64(23.0)
    """
    return Method(
        name=f"minibatch SGD, {compressor.name}",
        schedule=protocols.minibatch(fleet, updates, seed=seed),
        rule=sgd(learning_rate),
        reference="",
        oracle=oracles.compressed(oracles.gradient(), compressor),
    )


def ef21(
    fleet: Fleet, updates: int, *, compressor: Compressor, learning_rate: optax.ScalarOrSchedule, seed: int = 0
) -> Method:
    """EF21, Richtarik, Sokolov, Fatkhullin 2021: minibatch SGD with contractive messages and error feedback.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.minibatch`.
      compressor, learning_rate: of :func:`jasgd.rules.ef21`.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 2.0]).with_links(upload=0.1)
      >>> method = jasgd.methods.ef21(fleet, 10, compressor=jasgd.compressors.top_k(3), learning_rate=0.1)
    """
    require_fleet(fleet, seed)
    rule = rules.ef21(learning_rate, fleet.num_workers, compressor)
    return method("EF21", protocols.minibatch(fleet, updates, seed=seed), rule, rules.ef21)


def dropping_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    max_delay: int | None = None,
    seed: int = 0,
) -> Method:
    """Asynchronous SGD that throws away what is older than so many arrivals, as in the experiments of Shadowheart SGD.

    Slow workers hardly ever get through: one does only if the others together arrive at most ``max_delay`` times while it
    is at work.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.asynchronous`.
      learning_rate: of the rule.
      max_delay: in arrivals, thrown away ones included; by default the number of workers.

    Example:
      >>> fleet = jasgd.fleet.power_law(40, exponent=0.5).with_links(upload=0.1)
      >>> method = jasgd.methods.dropping_sgd(fleet, 1000, learning_rate=0.1)
      >>> method.schedule.summary().dropped  # about half of all arrivals
      889
    """
    require_fleet(fleet, seed)
    oldest = fleet.num_workers if max_delay is None else max_delay
    schedule = protocols.asynchronous(fleet, updates, max_delay=oldest, age_in="arrivals", seed=seed)
    return method("asynchronous SGD with drops", schedule, sgd(learning_rate), protocols.shadowheart)


def fastest_worker_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    compute: ArrayLike | None = None,
    seed: int = 0,
) -> Method:
    """Plain SGD on the fastest worker alone, without any communication; arguments of :func:`jasgd.protocols.fastest_worker`.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 2.0]).with_links(upload=100.0)
      >>> jasgd.methods.fastest_worker_sgd(fleet, 10, learning_rate=0.1).schedule.time[-1]
      np.float64(10.0)
    """
    return Method(
        name="the fastest worker alone",
        schedule=protocols.fastest_worker(fleet, updates, compute=compute, seed=seed),
        rule=sgd(learning_rate),
        reference="",
    )
