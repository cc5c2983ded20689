"""How stale the replicas of an execution are, in gradients: DASGD's measures.

Gradients are numbered by their start (ties by node). :math:`A_k` is the set that the reader had applied when gradient k was
started. The definition of Tosi and Theobald 2023 (https://arxiv.org/abs/2309.03754) is not known to us; these are ours.
"""

import dataclasses

import numpy as np

from jasgd.decentralized.execution import Execution


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Staleness:
    r"""What each gradient misses, and who misses it.

    Attributes:
      missing: (T,) int64, :math:`S_k = k - |A_k|`, gradients that have been started and are not applied where k is read,
        those still being computed included.
      finished: (T,) int64, of these, how many are finished.
      missed: (T,) int64, :math:`R_s`, later reads that miss gradient s; :math:`\sum_k S_k = \sum_s R_s`.
      rows: (T,) the row of each gradient.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.equal(3), 9)
      >>> jasgd.decentralized.staleness(execution).missing
      array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    """

    missing: np.ndarray
    finished: np.ndarray
    missed: np.ndarray
    rows: np.ndarray


def staleness(execution: Execution) -> Staleness:
    """Count what is missing at every read, for executions in which nodes apply each other's gradients.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.equal(3), 9, latencies=0.5)
      >>> found = jasgd.decentralized.staleness(execution)
      >>> found.missing.sum() == found.missed.sum(), found.missing[3:]
      (np.True_, array([2, 3, 4, 2, 3, 4]))
    """
    n = execution.num_nodes
    _require_sums(execution)
    computes = np.flatnonzero(execution.job >= 0)
    rows = computes[np.lexsort((execution.node[computes], execution.start[computes]))]
    total, number = len(rows), np.full(len(execution), -1, np.int64)
    number[rows] = np.arange(total)
    applied = number[-1 - execution.push]  # gradient by gradient
    by = np.repeat(np.arange(len(execution)), np.diff(execution.push_first))  # the row that applies it
    missing, missed = np.empty(total, np.int64), np.zeros(total, np.int64)
    read_row = execution.read[rows] - n  # negative: the start
    for i in range(n):
        mine = execution.node[by] == i
        gradient, row = applied[mine], by[mine]
        reads = np.flatnonzero(execution.node[rows] == i)  # numbers of this node's gradients, rising
        known = np.searchsorted(row, read_row[reads], side="right")  # rows of a node are in order
        missing[reads] = reads - known
        # Gradient s is missed by those reads of a later number that come before it is applied here.
        until = np.full(total, len(reads))
        until[gradient] = np.searchsorted(read_row[reads], row, side="left")
        missed += np.maximum(until - np.searchsorted(reads, np.arange(total), side="right"), 0)
    done = np.searchsorted(np.sort(execution.time[rows]), execution.start[rows], side="right")
    return Staleness(missing=missing, finished=done - (np.arange(total) - missing), missed=missed, rows=rows)


def symmetric_difference(execution: Execution, one: int, other: int, rows: int | None = None) -> int:
    """How many gradients one of two replicas has applied and the other has not, after so many rows, by default all.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.equal(3), 9, latencies=0.5)
      >>> jasgd.decentralized.symmetric_difference(execution, 0, 2)
      4
    """
    _require_sums(execution)
    end = execution.push_first[len(execution) if rows is None else rows]
    by = np.repeat(execution.node, np.diff(execution.push_first))[:end]
    first, second = (set(execution.push[:end][by == node].tolist()) for node in (one, other))
    return len(first ^ second)


def _require_sums(execution: Execution) -> None:
    """Replicas that only ever add gradients to what they were."""
    alone = np.all(np.diff(execution.mix_first) == 1) and np.all(execution.mix_weight == 1) and np.all(execution.replica)
    if not (alone and np.array_equal(execution.mix, execution.current) and np.all(execution.push < 0)):
        raise ValueError(f"staleness counts gradients, but nodes of {execution.protocol} average models; use it for dasgd.")
