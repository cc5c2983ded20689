r"""The universal computation model: computing power that changes with time, and stops.

Worker i has power :math:`p_i(t) = v_i(t) / \tau_i \ge 0` and completes :math:`\lfloor \int_a^b p_i \rfloor` gradients
that start after a until b. A job that a round's end interrupts is lost: the floor starts again.

Reference: Tyurin 2024, https://arxiv.org/abs/2408.04929.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from jasgd.power import Power
from jasgd.theory._checks import checked_times, require_count, require_not_negative
from jasgd.theory.thresholds import rennala_batch

_EPSILON = float(np.finfo(np.float64).eps)

# Whether these counts of gradients, (n,) float64, infinite ones included, complete a round.
Enough = Callable[[np.ndarray], bool]


def universal_times(
    times: ArrayLike,
    noise_ratio: float,
    *,
    rounds: int,
    powers: Mapping[int, Power] | None = None,
    heterogeneous: bool = False,
) -> np.ndarray:
    r"""When each round of the optimal method ends: :math:`T_1, \dots, T_K` for :math:`K \sim L \Delta / \epsilon`.

    :math:`T_k` is the least T for which, with :math:`b_i = \lfloor \int_{T_{k-1}}^T p_i \rfloor`,

    .. math:: \sum_i b_i \ge \max(1, \lceil s \rceil),
        \qquad \Big(\frac1n \sum_i \frac1{b_i}\Big)^{-1} \ge \max(1, s / n),

    the second with heterogeneous data. Up to constants, lower bound and time of Rennala and Malenia SGD with interrupts
    (Tyurin 2024, as recalled). A round that is never completed ends at infinity, and so do all after it.

    Args:
      times: seconds per gradient of every worker at power one.
      noise_ratio: :math:`s = \sigma^2 / \epsilon`.
      rounds: K.
      powers: powers over time of the workers that have not always power one, as :class:`jasgd.fleet.Fleet` keeps them.
      heterogeneous: whether each worker has its own data.

    Returns:
      (K,) float64 seconds.

    Example:
      >>> fleet = jasgd.fleet.fixed([1.0, 1.7, 2.3]).with_outages({0: [(2.0, float("inf"))]})
      >>> universal_times(fleet.times, 4.0, rounds=3, powers=fleet.powers)
      array([ 2.3,  6.9, 11.5])
      >>> universal_times(fleet.times, 4.0, rounds=3, powers=fleet.powers, heterogeneous=True)
      array([3.4, inf, inf])
    """
    require_not_negative(noise_ratio=noise_ratio)
    work = _work(checked_times(times), powers)
    if heterogeneous:
        return _rounds(work, rounds, at_least_balanced(max(len(work.seconds), noise_ratio)))
    return _rounds(work, rounds, at_least(rennala_batch(noise_ratio)))


def universal_ringmaster_times(
    times: ArrayLike, threshold: int, *, blocks: int, powers: Mapping[int, Power] | None = None
) -> np.ndarray:
    r"""By when Ringmaster ASGD with threshold R has made R, 2 R, ... updates: :math:`T_j = T_{j-1} + t(R; T_{j-1})`.

    .. math:: t(R; T_0) = \min\lbrace t : \sum_i \Big\lfloor \frac14 \int_{T_0}^{T_0 + t} p_i \Big\rfloor \ge R \rbrace

    An upper bound, of Maranjyan, Tyurin, Richtárik 2025; K updates are made by :math:`T_{\lceil K / R \rceil}`.

    Args:
      times: seconds per gradient of every worker at power one.
      threshold: R.
      blocks: how many blocks of R updates.
      powers: as for :func:`universal_times`.

    Returns:
      (blocks,) float64 seconds.

    Example:
      >>> universal_ringmaster_times([1.0, 1.0], threshold=2, blocks=3)
      array([ 4.,  8., 12.])
    """
    require_count(threshold=threshold)
    return _rounds(_work(4 * checked_times(times), powers), blocks, at_least(threshold))


def first_round(times: np.ndarray, enough: Enough) -> float:
    """When the first round ends if speeds do not change."""
    return float(_rounds(_work(times, None), 1, enough)[0])


def at_least(gradients: int) -> Enough:
    """So many gradients in all."""
    return lambda counts: bool(counts.sum() >= gradients)


def at_least_balanced(batch: float) -> Enough:
    """The harmonic mean of the workers' counts, 0 until all have delivered, times their number is at least ``batch``."""

    def enough(counts: np.ndarray) -> bool:
        with np.errstate(divide="ignore"):
            missing = np.sum(1 / counts)
        # Counts that grow for ever only come close to their limit.
        rounding = -1e-12 if np.isinf(counts).any() else 1e-12
        return bool(missing <= len(counts) ** 2 / batch * (1 + rounding))

    return enough


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """Computation done, in seconds at power one, piecewise linear in time; J is the largest number of pieces."""

    seconds: np.ndarray  # (n,), work of one gradient
    start: np.ndarray  # (n, J), when each piece begins; infinite: there is none
    power: np.ndarray  # (n, J)
    done: np.ndarray  # (n, J), work done before the piece

    def until(self, time: float) -> np.ndarray:
        """(n,), the work done until a time; at infinity without end where some power remains."""
        if time == math.inf:
            last = np.isfinite(self.start).sum(axis=1) - 1
            return np.where(_at(self.power, last) > 0, np.inf, _at(self.done, last))
        piece = (self.start <= time).sum(axis=1) - 1
        return _at(self.done, piece) + _at(self.power, piece) * (time - _at(self.start, piece))

    def reached(self, work: np.ndarray) -> np.ndarray:
        """(n,), when this much work, more than none and not more than there ever is, is done."""
        piece = np.maximum((self.done < (work * (1 - 8 * _EPSILON))[:, None]).sum(axis=1) - 1, 0)
        return _at(self.start, piece) + (work - _at(self.done, piece)) / _at(self.power, piece)


def _at(table: np.ndarray, piece: np.ndarray) -> np.ndarray:
    return np.take_along_axis(table, piece[:, None], axis=1)[:, 0]


def _work(times: np.ndarray, powers: Mapping[int, Power] | None) -> _Work:
    powers = powers or {}
    n, pieces = len(times), max((len(power.times) for power in powers.values()), default=1)
    start, value, done = np.full((n, pieces), np.inf), np.zeros((n, pieces)), np.full((n, pieces), np.inf)
    start[:, 0], value[:, 0], done[:, 0] = 0.0, 1.0, 0.0
    for worker, power in powers.items():
        if not 0 <= worker < n:
            raise ValueError(f"`powers` names worker {worker}; there are workers 0 to {n - 1}.")
        size = len(power.times)
        start[worker, :size], value[worker, :size] = power.times, power.values
        done[worker, 1:size] = np.cumsum(power.values[:-1] * np.diff(power.times))
    never = np.isinf(times)
    value[never] = 0.0
    done[never, 1:] = np.where(np.isfinite(start[never, 1:]), 0.0, np.inf)
    return _Work(seconds=np.where(never, 1.0, times), start=start, power=value, done=done)


def _rounds(work: _Work, rounds: int, enough: Enough) -> np.ndarray:
    require_count(rounds=rounds)
    ends, now = np.full(rounds, np.inf), 0.0
    for k in range(rounds):
        now = _round_end(work, now, enough)
        if now == math.inf:
            break
        ends[k] = now
    return ends


def _round_end(work: _Work, begin: float, enough: Enough) -> float:
    before = work.until(begin)

    def counts(time: float) -> np.ndarray:
        done = work.until(time)
        # Rounding of the integrals must not lose a gradient that is just completed.
        return np.floor((done - before + 4 * _EPSILON * np.where(np.isinf(done), 0.0, done)) / work.seconds)

    if not enough(counts(math.inf)):
        return math.inf
    width = float(work.seconds.min())
    while not enough(counts(begin + width)):
        width *= 2
    # The condition turns true between two neighbouring floats, and there is a completed gradient.
    early, late = begin, begin + width
    while early < (middle := early + (late - early) / 2) < late:
        early, late = (early, middle) if enough(counts(middle)) else (middle, late)
    number = counts(late)
    with np.errstate(divide="ignore", invalid="ignore"):
        finished = work.reached(before + number * work.seconds)
    return float(finished[number > 0].max())
