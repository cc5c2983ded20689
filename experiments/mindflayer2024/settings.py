"""What both figures share: lognormal compute times, and when trials are cut."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

import jasgd

TIMES = np.sqrt(np.arange(1, 6))  # tau_i of the poster's five workers
MEDIAN = 1.0  # of lognormal(0, s), whatever s is
NEVER = 1e9  # seconds; a job of this length outlasts every figure, and float32 still holds it
ALLOWED = np.geomspace(1e-3, 1e3, 601)  # the t among which the best is looked for


def fleet(times: Sequence[float] | np.ndarray, tail: float) -> jasgd.fleet.Fleet:
    """Every job takes tau_i + lognormal(0, tail) seconds; of tail 100 about half never end."""
    tau = np.asarray(times, np.float64)

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        return tau[worker] + np.minimum(rng.lognormal(0.0, tail, len(jobs)), NEVER)

    return jasgd.fleet.drawn(len(tau), draw, name=f"tau + lognormal(0, {tail:g})")


def success(extra_time: float, tail: float) -> float:
    """P(eta <= t)."""
    return NormalDist().cdf(math.log(extra_time) / tail)


def quickest_cut(time: float, tail: float) -> float:
    """The t of least (tau + t) / p: seconds per gradient, if all trials took as long as they may."""
    return float(min(ALLOWED, key=lambda t: (time + t) / max(success(t, tail), 1e-300)))


def best_cut(time: float, tail: float) -> float:
    """The t of least (tau + E min(eta, t)) / p, the expected seconds per gradient."""
    return float(
        min(ALLOWED, key=lambda t: jasgd.theory.mindflayer_lognormal_gradient_time(time, tail, extra_time=float(t)))
    )
