"""Paired timing: competitors take turns in one process, and only ratios within a round are compared.

A shared machine is fast in one minute and slow in the next. Rates of different minutes say little; the ratio of two
runs that follow each other says much, and the median of many such ratios still more.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Competitor:
    """Something that is timed.

    Attributes:
      name: of the column.
      run: does all deliveries once and returns when they are done.
      deliveries: gradients per run.
      detail: what distinguishes it from its siblings, e.g. a width.
    """

    name: str
    run: Callable[[], Any]
    deliveries: int
    detail: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Median, smallest and largest of some numbers, one per round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise."""
        return cls(median=statistics.median(values), low=min(values), high=max(values))


Rates = dict[str, list[float]]


def seconds_of(run: Callable[[], Any]) -> float:
    """Wall time of one run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def fastest(candidates: Sequence[Competitor], *, tries: int = 2) -> Competitor:
    """The candidate with the best rate out of a few tries, after one run to warm up."""
    if len(candidates) == 1:
        return candidates[0]

    def best_rate(candidate: Competitor) -> float:
        candidate.run()
        return candidate.deliveries / min(seconds_of(candidate.run) for _ in range(tries))

    return max(candidates, key=best_rate)


def paired(competitors: Sequence[Competitor], *, repeats: int) -> Rates:
    """Deliveries per second of every competitor in every round; every other round goes backwards."""
    rates: Rates = {competitor.name: [] for competitor in competitors}
    for competitor in competitors:
        competitor.run()
    for turn in range(repeats):
        for competitor in competitors[:: -1 if turn % 2 else 1]:
            rates[competitor.name].append(competitor.deliveries / seconds_of(competitor.run))
    return rates


def ratio(rates: Rates, one: str, other: str) -> Spread:
    """How many times as fast ``one`` is as ``other``, round by round."""
    return Spread.of([a / b for a, b in zip(rates[one], rates[other], strict=True)])


def relative_difference(one: Any, other: Any) -> float:
    """Largest difference of two points, relative to their largest coordinate."""
    pairs = list(zip(*map(_arrays, (one, other)), strict=True))
    scale = max(float(np.abs(b).max()) for _, b in pairs)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / scale


def tolerance(point: Any) -> float:
    """Half of the digits: rounding that differs from loop to loop, carried through thousands of steps."""
    return max(float(np.sqrt(np.finfo(array.dtype).eps)) for array in _arrays(point))


def _arrays(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
