"""Rounds of a budget in seconds: what the table and the books say of each worker's gradients and messages."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jasgd.fleet import Fleet
from jasgd.ledger import Ledger
from jasgd.theory.shadowheart import ShadowheartCounts
from jasgd.traffic import Contents


def nominal_times(fleet: Fleet, compute: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Seconds per gradient and per message of every worker."""
    alone = fleet if fleet.computing is None else fleet.computing
    if compute is None and alone.times is None:
        raise ValueError("give `compute`, nominal seconds per gradient of every worker: this fleet draws its durations.")
    h = np.asarray(alone.times if compute is None else compute, np.float64)
    if h.shape != (fleet.num_workers,):
        raise ValueError(f"`compute` must hold one number for each of the {fleet.num_workers} workers, got {compute!r}.")
    if not np.all(h >= 0):
        worker = int(np.argmin(h >= 0))
        raise ValueError(f"`compute` must not be negative, worker {worker} has {h[worker]}.")
    return h, np.zeros(fleet.num_workers) if fleet.upload is None else fleet.upload


def times(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """So many times so long; nothing done takes no time, however slow the worker is."""
    return counts * np.where(counts > 0, seconds, 0.0)


def shares(counts: ShadowheartCounts) -> np.ndarray:
    """The weights of the means: :math:`w_i m_i b_i / Z`."""
    return counts.weights * counts.messages * counts.gradients / counts.normaliser


def contents(counts: ShadowheartCounts) -> Contents:
    """What a job of each worker consists of."""
    return Contents(gradients=counts.gradients, messages=counts.messages, models=counts.active.astype(np.int64))


def ledger(idle: np.ndarray, **more: Any) -> Ledger:
    """The books of rounds in which nothing is cancelled, and which nobody outlasts."""
    n, nothing = len(idle), np.zeros(0, np.int64)
    empty: dict[str, Any] = {"dropped": np.zeros(n, np.int64), "dropped_seconds": np.zeros(n), **more}
    return Ledger(
        cancelled=np.zeros(n, np.int64),
        cancelled_seconds=np.zeros(n),
        idle_seconds=idle,
        lost_delay=0,
        pending_worker=nothing,
        pending_read=nothing,
        pending_start=np.zeros(0),
        **empty,
    )
