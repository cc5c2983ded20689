"""Methods that are optimal in time, and the synchronous ones that they are compared with."""

import math
from typing import Literal

import numpy as np
import optax
from numpy.typing import ArrayLike

from jasgd import protocols, theory
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, best_rate, method, sgd


def minibatch_sgd(fleet: Fleet, updates: int, *, learning_rate: optax.ScalarOrSchedule, seed: int = 0) -> Method:
    """Synchronous minibatch SGD: one gradient of every worker per step.

    Example:
      >>> method = jasgd.methods.minibatch_sgd(jasgd.fleet.equal(4), 10, learning_rate=0.1)
    """
    return Method(
        name="minibatch SGD",
        schedule=protocols.minibatch(fleet, updates, seed=seed),
        rule=sgd(learning_rate),
        reference="",
    )


def m_synchronous_sgd(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    m: int | None = None,
    noise_ratio: float | None = None,
    seed: int = 0,
) -> Method:
    """m-Synchronous SGD, Begunov, Tyurin 2026.

    Args:
      fleet, updates, seed: of :func:`jasgd.protocols.m_synchronous`.
      learning_rate: of the mean of m gradients.
      m: or else
      noise_ratio: for :func:`jasgd.theory.best_m_synchronous`.

    Example:
      >>> method = jasgd.methods.m_synchronous_sgd(jasgd.fleet.equal(4), 10, learning_rate=0.1, noise_ratio=2.0)
      >>> method.schedule.arguments["m"]
      4
    """
    if m is None and noise_ratio is not None:
        m = theory.best_m_synchronous(_fixed(fleet), noise_ratio)
    elif m is None or noise_ratio is not None:
        raise ValueError("give either `m` or `noise_ratio`, from which the best m follows.")
    schedule = protocols.m_synchronous(fleet, updates, m, seed=seed)
    return method("m-Synchronous SGD", schedule, sgd(learning_rate), protocols.m_synchronous)


def rennala(
    fleet: Fleet,
    updates: int,
    *,
    batch: int | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    accuracy: float | None = None,
    noise: float | None = None,
    interrupt: bool = True,
    seed: int = 0,
) -> Method:
    """Rennala SGD, Tyurin, Richtarik 2023.

    Args:
      fleet, updates, interrupt, seed: of :func:`jasgd.protocols.rennala`.
      batch: S; by default :func:`jasgd.theory.rennala_batch` of noise^2 / accuracy.
      learning_rate: or else
      smoothness, accuracy, noise: for :func:`jasgd.theory.rennala_step_size`.

    Example:
      >>> method = jasgd.methods.rennala(jasgd.fleet.equal(4), 10, smoothness=1.0, accuracy=0.1, noise=1.0)
      >>> method.schedule.arguments["batch"]
      10
    """
    size = theory.rennala_batch(_ratio("batch", accuracy, noise)) if batch is None else batch
    step = best_rate(
        learning_rate,
        smoothness,
        accuracy,
        noise,
        lambda L, eps: theory.rennala_step_size(L, eps, batch=size, noise=noise or 0.0),
    )
    schedule = protocols.rennala(fleet, updates, size, interrupt=interrupt, seed=seed)
    return method("Rennala SGD", schedule, sgd(step), protocols.rennala)


def malenia(
    fleet: Fleet,
    updates: int,
    *,
    batch: float | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    accuracy: float | None = None,
    noise: float | None = None,
    interrupt: bool = True,
    seed: int = 0,
) -> Method:
    """Malenia SGD, Tyurin, Richtarik 2023.

    Args:
      fleet, updates, interrupt, seed: of :func:`jasgd.protocols.malenia`.
      batch: S; with an accuracy by default :func:`jasgd.theory.malenia_batch`, else the parameter-free form.
      learning_rate: or else
      smoothness, accuracy, noise: for :func:`jasgd.theory.rennala_step_size` with S.

    Example:
      >>> method = jasgd.methods.malenia(jasgd.fleet.equal(4), 10, learning_rate=0.1)
    """
    size = batch
    if batch is None and accuracy is not None:
        size = theory.malenia_batch(_ratio("batch", accuracy, noise), fleet.num_workers)
    step = best_rate(
        learning_rate,
        smoothness,
        accuracy,
        noise,
        lambda L, eps: theory.rennala_step_size(L, eps, batch=math.ceil(size or 1), noise=noise or 0.0),
    )
    schedule = protocols.malenia(fleet, updates, size, interrupt=interrupt, seed=seed)
    return method("Malenia SGD", schedule, sgd(step), protocols.malenia)


def ringmaster(
    fleet: Fleet,
    updates: int,
    *,
    threshold: int | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    accuracy: float | None = None,
    noise: float | None = None,
    stop: bool = False,
    seed: int = 0,
) -> Method:
    """Ringmaster ASGD, Maranjyan, Tyurin, Richtarik 2025.

    Args:
      fleet, updates, stop, seed: of :func:`jasgd.protocols.ringmaster`.
      threshold: R; by default :func:`jasgd.theory.ringmaster_threshold` of noise^2 / accuracy.
      learning_rate: or else
      smoothness, accuracy, noise: for :func:`jasgd.theory.ringmaster_step_size`.

    Example:
      >>> method = jasgd.methods.ringmaster(jasgd.fleet.equal(4), 10, threshold=3, learning_rate=0.1)
    """
    limit = theory.ringmaster_threshold(_ratio("threshold", accuracy, noise)) if threshold is None else threshold
    step = best_rate(
        learning_rate,
        smoothness,
        accuracy,
        noise,
        lambda L, eps: theory.ringmaster_step_size(L, eps, threshold=limit, noise=noise or 0.0),
    )
    schedule = protocols.ringmaster(fleet, updates, limit, stop=stop, seed=seed)
    return method("Ringmaster ASGD", schedule, sgd(step), protocols.ringmaster)


def naive_optimal(
    fleet: Fleet,
    updates: int,
    *,
    learning_rate: optax.ScalarOrSchedule,
    workers: int | None = None,
    noise_ratio: float | None = None,
    seed: int = 0,
) -> Method:
    """Naive Optimal ASGD: plain asynchronous SGD on the fastest workers, Maranjyan, Tyurin, Richtarik 2025.

    Args:
      fleet: of fixed times.
      updates, seed: of :func:`jasgd.protocols.naive_optimal`.
      learning_rate: of asynchronous SGD with that many workers.
      workers: or else
      noise_ratio: for :func:`jasgd.theory.best_m`.

    Example:
      >>> method = jasgd.methods.naive_optimal(jasgd.fleet.equal(4), 10, workers=2, learning_rate=0.1)
    """
    if workers is None and noise_ratio is not None:
        workers = theory.best_m(_fixed(fleet), noise_ratio)
    elif workers is None or noise_ratio is not None:
        raise ValueError("give either `workers` or `noise_ratio`, from which the best number follows.")
    schedule = protocols.naive_optimal(fleet, updates, workers, seed=seed)
    return method("Naive Optimal ASGD", schedule, sgd(learning_rate), protocols.naive_optimal)


def mindflayer(
    fleet: Fleet,
    updates: int,
    *,
    trials: ArrayLike,
    allotted: ArrayLike,
    success: ArrayLike | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    accuracy: float | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> Method:
    """MindFlayer SGD, Maranjyan, Omar, Richtarik 2024.

    Args:
      fleet, updates, trials, allotted, success, seed: of :func:`jasgd.protocols.mindflayer`;
        :func:`jasgd.theory.mindflayer_trials` has the paper's trials.
      learning_rate: or else
      smoothness, accuracy, noise: for :func:`jasgd.theory.mindflayer_step_size` with the expected number of gradients.

    Example:
      >>> fleet = jasgd.fleet.exponential([1.0, 1.0])
      >>> method = jasgd.methods.mindflayer(
      ...     fleet, 10, trials=[2, 2], allotted=1.0, success=1 - np.exp(-1.0), learning_rate=0.1
      ... )
    """
    chances = 1.0 if success is None else np.asarray(success, np.float64)
    step = best_rate(
        learning_rate,
        smoothness,
        accuracy,
        noise,
        lambda L, eps: theory.mindflayer_step_size(
            L, eps, batch=float(np.sum(chances * np.broadcast_to(trials, fleet.num_workers))), noise=noise or 0.0
        ),
    )
    schedule = protocols.mindflayer(fleet, updates, trials, allotted, success=success, seed=seed)
    return method("MindFlayer SGD", schedule, sgd(step), protocols.mindflayer)


def ata(
    fleet: Fleet,
    updates: int,
    *,
    batch: int,
    learning_rate: optax.ScalarOrSchedule,
    allocation: Literal["ata", "empirical", "uniform", "fixed"] = "ata",
    alpha: float | None = None,
    means: ArrayLike | None = None,
    seed: int = 0,
) -> Method:
    """Adaptive task allocation, Maranjyan, Saad, Richtarik, Orabona 2025; arguments of :func:`jasgd.protocols.ata`.

    Example:
      >>> method = jasgd.methods.ata(jasgd.fleet.equal(4), 10, batch=8, learning_rate=0.1)
    """
    schedule = protocols.ata(fleet, updates, batch, allocation=allocation, alpha=alpha, means=means, seed=seed)
    return method("ATA", schedule, sgd(learning_rate), protocols.ata)


def _fixed(fleet: Fleet) -> np.ndarray:
    if fleet.times is None or fleet.powers:
        raise ValueError(
            "this fleet draws its durations, or they change, so the best number of workers is not known: give it yourself."
        )
    return fleet.times


def _ratio(name: str, accuracy: float | None, noise: float | None) -> float:
    if accuracy is None or noise is None:
        raise ValueError(f"give either `{name}`, or `accuracy` and `noise`, from which the paper's value follows.")
    return noise**2 / accuracy
