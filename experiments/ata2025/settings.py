"""What both figures share: workers, batch, allocations, and how a run is shortened.

The authors' rounds are too many. A worker is known well enough when the margin of its mean, alpha sqrt(ln k / K), is
small against the mean: with c times fewer rounds as much is learnt if alpha is sqrt(c) times smaller.
"""

import math

import numpy as np

import jasgd
from experiments.pictures import BLUE, GREEN, PINK, RED, SKY

BATCH = 23
SCALE = 29.0  # seconds: worker i = 1..n takes 29 i + Exp(mean 29 i)
PAPER_ROUNDS = 750_000  # for which the poster's totals are; derived, it says four times as many
ALLOCATIONS = {"FTA": BLUE, "GTA": RED, "ATA-E": SKY, "ATA": GREEN, "UTA": PINK}
NAMES = "FTA: fixed optimal, GTA: greedy (Rennala), ATA-E: ATA with empirical margins, UTA: uniform"


def means(workers: int) -> np.ndarray:
    """Mean seconds per gradient of each worker."""
    return 2 * SCALE * np.arange(1, workers + 1)


def fleet(workers: int) -> jasgd.fleet.Fleet:
    """Worker i takes 29 i + Exp(mean 29 i) seconds."""

    def draw(rng: np.random.Generator, worker: int, jobs: np.ndarray) -> np.ndarray:
        return SCALE * (worker + 1) * (1 + rng.exponential(1.0, len(jobs)))

    return jasgd.fleet.drawn(workers, draw, name="29 i + exponential(29 i)")


def schedule(allocation: str, workers: int, rounds: int, seed: int) -> jasgd.Schedule:
    """Rounds of 23 gradients; alpha is that of the public code, 4 e (times the largest mean), for so many rounds."""
    ata, made = jasgd.protocols.ata, fleet(workers)
    alpha = 4 * math.e * math.sqrt(rounds / PAPER_ROUNDS)
    match allocation:
        case "FTA":
            return ata(made, rounds, BATCH, allocation="fixed", means=means(workers), seed=seed)
        case "GTA":
            return jasgd.protocols.rennala(made, rounds, BATCH, seed=seed)
        case "ATA-E":
            return ata(made, rounds, BATCH, allocation="empirical", alpha=alpha, seed=seed)
        case "ATA":
            return ata(made, rounds, BATCH, alpha=alpha * float(means(workers).max()), seed=seed)
        case "UTA":
            return ata(made, rounds, BATCH, allocation="uniform", seed=seed)
    raise ValueError(f"there is no allocation {allocation!r}.")


def worker_seconds(made: jasgd.Schedule) -> np.ndarray:
    """(updates + 1,) seconds that workers have computed until each version, cancelled jobs included.

    Under the greedy allocation all compute all the time; else workers that are through with their tasks idle.
    """
    if made.protocol == "rennala":
        return made.num_workers * made.version_time
    return np.concatenate([[0.0], np.cumsum(np.bincount(made.read, made.duration))])
