"""An execution compiled for the device: which gradients and which rows are computed together, and which slot holds what.

A step computes up to W gradients, then rows that ask the rule and rows that only mix, none of which needs another. As no
vector is ever overwritten, only what a row needs decides when it can be computed, not its place in the table. Vectors, and
gradients that are needed after their step, live in slots that are reused as soon as the last reader is done.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jasgd.decentralized.execution import Execution
from jasgd.plan import colour

# What happens when within a step.
_READ_POINTS, _STORE_GRADIENTS, _READ_TERMS, _WRITE_VECTORS = range(4)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How an execution is computed.

    Attributes:
      execution: what is computed.
      lanes: W.
      asking, mixing: how many rows a step can have that ask the rule, and that do not.
      direct: every gradient is only used by its own row, which pushes it as it is. Then that row is computed in the step
        of its gradient, at the place that is its lane, and no gradient needs a slot.
      steps: number of steps.
      slots: S; slot S is for what nobody reads, and W more hold the gradients of the step, unless `direct`.
      step, lane: (K,) int32, where the gradient of a row is computed.
      applied, place: (K,) int32, where the row is computed, among those of its kind.
      read_slot: (K,) int32, where the vector lies at which a row's gradient is computed.
      store_slot: (K,) int32, where its gradient is kept beyond its step; S if it need not be.
      write_slot: (K,) int32, where the row's vector goes.
      mix_slot, push_slot: where the values lie that a row uses.
      initial_slot: (N,) int32, where the first replicas lie.
      ends: steps after which the wanted rows have been computed, of each record.
      record_slots: (R, N) int32, where the replicas then lie.

    Example:
      >>> compiled = jasgd.decentralized.plan.plan(jasgd.decentralized.dasgd(jasgd.fleet.equal(2), 4), 2)
      >>> compiled.steps
      3
    """

    execution: Execution
    lanes: int
    asking: int
    mixing: int
    direct: bool
    steps: int
    slots: int
    step: np.ndarray
    lane: np.ndarray
    applied: np.ndarray
    place: np.ndarray
    read_slot: np.ndarray
    store_slot: np.ndarray
    write_slot: np.ndarray
    mix_slot: np.ndarray
    push_slot: np.ndarray
    initial_slot: np.ndarray
    ends: np.ndarray
    record_slots: np.ndarray


def plan(execution: Execution, lanes: int, records: Sequence[int] = ()) -> Plan:
    """Compile an execution for ``lanes`` gradients at a time; replicas are recorded after so many rows.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.equal(4), 16)
      >>> jasgd.decentralized.plan.plan(execution, 4).steps
      13
    """
    n, count = execution.num_nodes, len(execution)
    computes = np.flatnonzero(execution.job >= 0)
    others = count - int(execution.asks.sum())
    per_gradient = 1 / max(len(computes), 1)
    direct = _is_direct(execution)
    asking = lanes if direct else lanes * max(1, round((count - others) * per_gradient))
    mixing = -(-lanes * others // max(len(computes), 1))
    step, applied = _assign(execution, lanes, asking, mixing)
    steps = int(applied.max()) + 1
    latest = np.maximum.accumulate(applied)
    ends = np.array([latest[rows - 1] + 1 if rows else 0 for rows in records], np.int64)
    replicas = np.array([execution.replicas_after(rows) for rows in records], np.int64).reshape(len(ends), n)
    # Lives, from the making to the last use.
    users = np.concatenate([np.repeat(np.arange(count), np.diff(f)) for f in (execution.mix_first, execution.push_first)])
    used, when = np.concatenate([execution.mix, execution.push]), 4 * applied[users] + _READ_TERMS
    dies = np.full(n + count, -1, np.int64)
    np.maximum.at(dies, used[used >= 0], when[used >= 0])
    np.maximum.at(dies, execution.read[computes], 4 * step[computes] + _READ_POINTS)
    np.maximum.at(dies, replicas.ravel(), np.repeat(4 * ends, n))
    kept = np.full(count, -1, np.int64)
    np.maximum.at(kept, -1 - used[used < 0], when[used < 0])
    stored = np.flatnonzero(kept >= 4 * (step + 1))
    lives = np.flatnonzero(dies >= 0)
    born = np.concatenate([np.full(n, -1), 4 * applied + _WRITE_VECTORS])[lives]
    born = np.concatenate([born, 4 * step[stored] + _STORE_GRADIENTS])
    slot, slots = colour(born, np.concatenate([np.maximum(dies[lives], born[: len(lives)]), kept[stored]]))
    vector = np.full(n + count, slots, np.int32)
    vector[lives] = slot[: len(lives)]
    store_slot = np.full(count, slots, np.int32)
    store_slot[stored] = slot[len(lives) :]
    lane = _ranks(step, computes)
    place = np.where(
        execution.asks, _ranks(applied, np.flatnonzero(execution.asks)), _ranks(applied, np.flatnonzero(~execution.asks))
    )
    gradient = np.where(store_slot < slots, store_slot, slots + 1 + lane)

    def slot_of(values: np.ndarray) -> np.ndarray:
        here = np.where(values < 0, gradient[np.where(values < 0, -1 - values, 0)], vector[np.maximum(values, 0)])
        return here.astype(np.int32)

    return Plan(
        execution=execution,
        lanes=lanes,
        asking=asking,
        mixing=mixing,
        direct=direct,
        steps=steps,
        slots=slots,
        step=step,
        lane=lane,
        applied=applied,
        place=place,
        read_slot=vector[np.maximum(execution.read, 0)],
        store_slot=store_slot,
        write_slot=vector[n:],
        mix_slot=slot_of(execution.mix),
        push_slot=slot_of(execution.push),
        initial_slot=vector[:n],
        ends=ends,
        record_slots=vector[replicas],
    )


def together(execution: Execution) -> int:
    """How many gradients can be computed together on average, with as many lanes as there are gradients.

    Example:
      >>> together(jasgd.decentralized.dasgd(jasgd.fleet.equal(4), 16))
      4
    """
    count = len(execution)
    step = _assign(execution, count, count, count)[0][execution.job >= 0]
    return max(1, len(step) // max(1, len(np.unique(step))))


def _is_direct(execution: Execution) -> bool:
    """Whether every gradient is only used by its own row, which pushes nothing else."""
    own = np.flatnonzero(execution.job >= 0)
    return bool(
        np.array_equal(own, np.flatnonzero(execution.asks))
        and np.array_equal(execution.push, -1 - own)
        and np.all(execution.push_weight == 1)
        and np.all(execution.mix >= 0)
    )


def _ranks(step: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The place of each row among those of its step."""
    order = rows[np.argsort(step[rows], kind="stable")]
    rank = np.zeros(len(step), np.int32)
    rank[order] = np.arange(len(order)) - np.searchsorted(step[order], step[order], side="left")
    return rank


class _Steps:
    """Steps that are filled up: the first one with room, not before a given one (union-find with path halving)."""

    def __init__(self, room: int, count: int) -> None:
        self.room, self.taken, self.link = room, [0] * (count + 1), list(range(1, count + 2))

    def take(self, step: int) -> int:
        taken, link = self.taken, self.link
        while step >= len(taken):
            taken.append(0)
            link.append(len(link) + 1)
        while taken[step] == self.room:
            nearer = link[step]
            if nearer >= len(taken):
                taken.append(0)
                link.append(len(link) + 1)
            elif taken[nearer] == self.room:
                nearer = link[step] = link[nearer]
            step = nearer
        taken[step] += 1
        return step


def _assign(execution: Execution, lanes: int, asking: int, mixing: int) -> tuple[np.ndarray, np.ndarray]:
    """For every row the step of its gradient and the step that computes the row: each the first one possible."""
    n, count = execution.num_nodes, len(execution)
    ready = [0] * (n + count)  # the first step that may use a vector
    asked = [0] * n  # the first step at which a node's rule may be asked again
    direct, asks = _is_direct(execution), execution.asks.tolist()
    gradients, rows = _Steps(lanes, count), {True: _Steps(asking, count), False: _Steps(mixing, count)}
    step, applied = [0] * count, [0] * count
    mix, push = execution.mix.tolist(), execution.push.tolist()
    mixes, pushes = execution.mix_first.tolist(), execution.push_first.tolist()
    nodes, reads, jobs = execution.node.tolist(), execution.read.tolist(), execution.job.tolist()
    for k in range(count):
        begin = ready[reads[k]] if jobs[k] >= 0 else 0
        if jobs[k] >= 0 and not direct:
            step[k] = begin = gradients.take(begin)
        for value in (*mix[mixes[k] : mixes[k + 1]], *push[pushes[k] : pushes[k + 1]]):
            known = ready[value] if value >= 0 else step[-1 - value]
            begin = max(begin, known)
        if asks[k]:
            begin = max(begin, asked[nodes[k]])
        if jobs[k] >= 0 and direct:
            step[k] = applied[k] = gradients.take(begin)
        else:
            applied[k] = rows[asks[k]].take(begin)
        ready[n + k] = applied[k] + 1
        if asks[k]:
            asked[nodes[k]] = applied[k] + 1
    return np.array(step, np.int64), np.array(applied, np.int64)
