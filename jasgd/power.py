r"""Computing power that changes with time: the universal computation model.

A worker with power :math:`v(t)` that starts a job at :math:`s` finishes it at the first :math:`t` with
:math:`\int_s^t v = w`, where :math:`w` is the job's work: its duration at power one.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from jasgd._checks import numbers


@dataclasses.dataclass(frozen=True, eq=False)
class Power:
    """Piecewise constant power: ``values[j]`` from ``times[j]`` until ``times[j + 1]``, the last one for ever.

    Attributes:
      times: (J,) float64 seconds, increasing, the first is 0.
      values: (J,) float64, not negative; 1 is the speed at which durations were given.
    """

    times: np.ndarray
    values: np.ndarray

    def finish(self, start: float, work: float) -> float:
        """The time at which ``work`` seconds of computation at power one are done."""
        if work == 0:
            return start
        piece = int(np.searchsorted(self.times, start, side="right")) - 1
        now = start
        while True:
            end = self.times[piece + 1] if piece + 1 < len(self.times) else np.inf
            value = self.values[piece]
            if value > 0 and now + work / value <= end:
                return float(now + work / value)
            if end == np.inf:
                return np.inf
            work -= value * (end - now)
            now, piece = end, piece + 1


def power(times: ArrayLike, values: ArrayLike) -> Power:
    """Piecewise constant power from its breakpoints.

    Example:
      >>> power([0.0, 10.0], [1.0, 0.5]).finish(8.0, 3.0)
      12.0
    """
    t, v = numbers("times", times), numbers("values", values)
    if t.ndim != 1 or t.shape != v.shape or len(t) == 0 or t[0] != 0.0 or not np.all(np.diff(t) > 0):
        raise ValueError(f"`times` must be increasing, start at 0 and match `values`, got {t!r} and {v!r}.")
    if not np.all(np.isfinite(v) & (v >= 0)):
        raise ValueError(f"`values` of power must be finite and not negative, got {v!r}.")
    return Power(t, v)


def outages(intervals: Iterable[tuple[float, float]]) -> Power:
    """No power in the given intervals ``(begin, end)``, full power elsewhere; ``end`` may be infinite.

    Example:
      >>> outages([(1.0, 5.0)]).finish(0.5, 1.0)
      5.5
    """
    times, values, last = [0.0], [1.0], 0.0
    for begin, end in sorted((float(b), float(e)) for b, e in intervals):
        if not last <= begin < end:
            raise ValueError(f"outages must be disjoint intervals (begin, end) from time 0 on, got ({begin}, {end}).")
        if begin == times[-1]:
            values[-1] = 0.0
        else:
            times.append(begin)
            values.append(0.0)
        if np.isfinite(end):
            times.append(end)
            values.append(1.0)
        last = end
    return Power(np.array(times), np.array(values))
