"""Methods for networks without a server in which all workers compute at the same point."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import optax

from jasgd import decentralized, oracles, theory
from jasgd.fleet import Fleet
from jasgd.methods._method import Method, method, rate, sgd
from jasgd.oracles.oracle import Oracle
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    import networkx


def fragile(
    fleet: Fleet,
    updates: int,
    *,
    graph: "networkx.Graph",
    batch: int | None = None,
    noise_ratio: float | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    pivot: int | None = None,
    ties: Literal["authors", "simple"] = "authors",
) -> Method:
    """Fragile SGD, Tyurin, Richtarik 2024.

    Args:
      fleet, updates, graph, pivot, ties: of :func:`jasgd.decentralized.fragile`.
      batch: S, or else
      noise_ratio: for :func:`jasgd.theory.fragile_batch`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.fragile_step_size`.

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(2, 2), 0.1)
      >>> method = jasgd.methods.fragile(jasgd.fleet.equal(4), 10, graph=graph, noise_ratio=7.5, smoothness=1.0)
      >>> run = method.simulate(jasgd.problems.quadratic(10, noise=0.1), key=jax.random.key(0))
      >>> run.history["time"][-1]
      np.float64(24.0)
    """
    size = _batch(batch, noise_ratio, theory.fragile_batch)
    schedule = decentralized.fragile(fleet, graph, updates, size, pivot=pivot, ties=ties)
    step = rate(learning_rate, smoothness, theory.fragile_step_size)
    return method("Fragile SGD", schedule, sgd(step), decentralized.fragile, oracle=_means(schedule))


def amelie(
    fleet: Fleet,
    updates: int,
    *,
    graph: "networkx.Graph",
    batch: int | None = None,
    noise_ratio: float | None = None,
    learning_rate: optax.ScalarOrSchedule | None = None,
    smoothness: float | None = None,
    pivot: int | None = None,
) -> Method:
    """Amelie SGD, Tyurin, Richtarik 2024: Fragile SGD's counterpart where every worker has its own data.

    Args:
      fleet, updates, graph, pivot: of :func:`jasgd.decentralized.amelie`.
      batch: S, or else
      noise_ratio: for :func:`jasgd.theory.malenia_batch`.
      learning_rate: or else
      smoothness: for :func:`jasgd.theory.fragile_step_size`.

    Example:
      >>> graph = jasgd.decentralized.topology.with_seconds(jasgd.decentralized.topology.mesh(2, 2), 0.1)
      >>> method = jasgd.methods.amelie(jasgd.fleet.equal(4), 10, graph=graph, noise_ratio=7.5, smoothness=1.0)
      >>> method.schedule.arguments["batch"], method.schedule.time[-1]
      (8, np.float64(24.0))
    """
    size = _batch(batch, noise_ratio, lambda s: theory.malenia_batch(s, fleet.num_workers))
    schedule = decentralized.amelie(fleet, graph, updates, size, pivot=pivot)
    step = rate(learning_rate, smoothness, theory.fragile_step_size)
    return method("Amelie SGD", schedule, sgd(step), decentralized.amelie, oracle=_means(schedule))


def _batch(batch: int | None, noise_ratio: float | None, theorem: Callable[[float], int]) -> int:
    if batch is not None and noise_ratio is None:
        return batch
    if batch is None and noise_ratio is not None:
        return theorem(noise_ratio)
    raise ValueError("give either `batch` or `noise_ratio`, from which the paper's batch follows.")


def _means(schedule: Schedule) -> Oracle:
    assert schedule.contents is not None
    return oracles.gradient(schedule.contents.gradients)
