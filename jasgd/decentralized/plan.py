"""An execution compiled for the device: which gradients are computed together, and which slot of the pool holds what.

As for a server (:mod:`jasgd.plan`): a step computes up to W gradients together, then the rows that are due, in order.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from jasgd.decentralized.execution import Execution
from jasgd.plan import colour


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How an execution is computed.

    Attributes:
      execution: what is computed.
      lanes: W, gradients per step.
      steps: number of steps.
      slots: S; slot S is for what nobody reads, and W more hold the gradients of the step.
      step, lane: (K,) int32, where the gradient of a row is computed.
      first: (steps + 1,) int64, rows before each step.
      read_slot: (K,) int32, where the vector lies at which a row's gradient is computed.
      store_slot: (K,) int32, where its gradient is kept beyond its step; S if it need not be.
      write_slot: (K,) int32, where the row's vector goes.
      mix_slot, push_slot: where the values lie that a row uses.
      ends: steps at which the wanted rows have been computed, of each record.
      record_slots: (R, N) int32, where the replicas then lie.
    """

    execution: Execution
    lanes: int
    steps: int
    slots: int
    step: np.ndarray
    lane: np.ndarray
    first: np.ndarray
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
      4
    """
    n, count = execution.num_nodes, len(execution)
    step, applied = _assign(execution, lanes, set(records))
    steps = int(applied[-1]) + 1
    first = np.searchsorted(applied, np.arange(steps + 1), side="left")
    computes = np.flatnonzero(execution.job >= 0)
    at_step = np.arange(steps + 1) + first
    at_row = np.arange(count) + applied + 1
    ends = np.array([np.searchsorted(first, rows, side="left") for rows in records], np.int64)
    replicas = np.array([execution.replicas_after(rows) for rows in records], np.int64).reshape(len(ends), n)
    # Lives: of vectors from the row that makes them, of gradients from the step that computes them, to the last use.
    users = [np.repeat(np.arange(count), np.diff(f)) for f in (execution.mix_first, execution.push_first)]
    used, when = np.concatenate([execution.mix, execution.push]), at_row[np.concatenate(users)]
    dies = np.full(n + count, -1, np.int64)
    np.maximum.at(dies, used[used >= 0], when[used >= 0])
    np.maximum.at(dies, execution.read[computes], at_step[step[computes]])
    np.maximum.at(dies, replicas.ravel(), np.repeat(at_step[ends], n))
    kept = np.full(count, -1, np.int64)
    np.maximum.at(kept, -1 - used[used < 0], when[used < 0])
    waits = kept >= at_step[np.minimum(step + 1, steps)]
    waits[execution.job < 0] = False
    lives = np.flatnonzero(dies >= 0)
    born = np.concatenate([np.full(n, -1), at_row])[lives]
    stored = np.flatnonzero(waits)
    slot, slots = colour(np.concatenate([born, at_step[step[stored]]]), np.concatenate([dies[lives], kept[stored]]))
    vector = np.full(n + count, slots, np.int32)
    vector[lives] = slot[: len(lives)]
    store_slot = np.full(count, slots, np.int32)
    store_slot[stored] = slot[len(lives) :]
    order = computes[np.argsort(step[computes], kind="stable")]
    lane = np.zeros(count, np.int32)
    lane[order] = np.arange(len(order)) - np.searchsorted(step[order], step[order], side="left")
    gradient = np.where(waits, store_slot, slots + 1 + lane)

    def slot_of(values: np.ndarray) -> np.ndarray:
        return np.where(values < 0, gradient[np.where(values < 0, -1 - values, 0)], vector[np.maximum(values, 0)])

    return Plan(
        execution=execution,
        lanes=lanes,
        steps=steps,
        slots=slots,
        step=step,
        lane=lane,
        first=first,
        read_slot=vector[np.maximum(execution.read, 0)],
        store_slot=store_slot,
        write_slot=vector[n:],
        mix_slot=slot_of(execution.mix).astype(np.int32),
        push_slot=slot_of(execution.push).astype(np.int32),
        initial_slot=vector[:n],
        ends=ends,
        record_slots=vector[replicas],
    )


def _assign(execution: Execution, lanes: int, barriers: set[int]) -> tuple[np.ndarray, np.ndarray]:
    """For every row the step of its gradient and the step that computes the row; a record ends a step."""
    n, count = execution.num_nodes, len(execution)
    made = [0] * (n + count)  # the first step whose gradients may read a vector
    taken = [0] * (2 * count + 2)
    link = list(range(1, 2 * count + 3))  # of a full step, a later one to look at
    step, applied = [0] * count, [0] * count
    now = 0
    for k, (job, read) in enumerate(zip(execution.job.tolist(), execution.read.tolist(), strict=True)):
        if k in barriers and k:
            now += 1
        if job >= 0:
            s = made[read]
            while taken[s] == lanes:
                nearer = link[s]
                if taken[nearer] == lanes:
                    nearer = link[s] = link[nearer]
                s = nearer
            taken[s] += 1
            step[k] = s
            now = max(now, s)
        applied[k] = now
        made[n + k] = now + 1
    return np.array(step, np.int32), np.array(applied, np.int64)
