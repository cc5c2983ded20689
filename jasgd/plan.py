"""The schedule compiled for the device: which gradients are computed together, which slot holds what.

One step of the compiled loop computes up to ``W`` gradients (the lanes) and then applies, in order, the deliveries whose
gradients are ready. A gradient may be computed at any step after the one that makes the version it reads, so a single
pass in the order of use fills the lanes: the first step with a free lane. Snapshots, and gradients that are computed
before their turn, live in slots that are reused as soon as the last reader is done.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from jasgd.schedule import Schedule

_NEVER = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How a schedule is computed: K deliveries, ``steps`` steps of W lanes, S slots.

    Attributes:
      schedule: what is computed.
      lanes: W, gradients per step.
      steps: number of steps.
      chunk_steps: steps per call of the compiled loop.
      slots: S, slots of the ring that are needed.
      step: (K,) int32, the step that computes each delivery's gradient.
      applied: (K,) int32, the step that applies it.
      lane: (K,) int32, its lane in the step that computes it.
      first: (steps + 1,) int64, deliveries applied before each step.
      read_slot: (K,) int32, where its snapshot lies.
      gradient_slot: (K,) int32, where its gradient waits; -1 if it is applied in the step that computes it.
      write_slot: (K,) int32, where the version that it makes is kept; S if nobody reads it.
      window: so many versions after the one that a delivery reads are kept for it, up to the one just before its use.
      version_slot: (updates + 1,) int32, where each version lies while it is kept.
      record_versions: (R,) versions whose parameters are wanted.
      record_slots: (R,) int32, where they lie at the end of the chunk that makes them.

    Example:
      >>> compiled = jasgd.plan.plan(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 4), lanes=2)
      >>> compiled.step, compiled.lane
      (array([0, 0, 1, 1], dtype=int32), array([0, 1, 0, 1], dtype=int32))
    """

    schedule: Schedule
    lanes: int
    steps: int
    chunk_steps: int
    slots: int
    step: np.ndarray
    applied: np.ndarray
    lane: np.ndarray
    first: np.ndarray
    read_slot: np.ndarray
    gradient_slot: np.ndarray
    write_slot: np.ndarray
    window: int
    version_slot: np.ndarray
    record_versions: np.ndarray
    record_slots: np.ndarray

    @functools.cached_property
    def _by_step(self) -> np.ndarray:
        return np.argsort(self.step, kind="stable")

    @functools.cached_property
    def _computed_before(self) -> np.ndarray:
        return np.searchsorted(self.step[self._by_step], np.arange(self.steps + 1))

    def computed_between(self, begin: int, end: int) -> np.ndarray:
        """The deliveries whose gradients the steps ``begin`` to ``end - 1`` compute, step by step."""
        return self._by_step[self._computed_before[begin] : self._computed_before[end]]

    def seen_slots(self, deliveries: np.ndarray | slice) -> np.ndarray:
        """(D, 1 + window) where the versions lie that a read may see; the last one is repeated."""
        read, newest = self.schedule.read[deliveries, None], self.schedule.version[deliveries, None]
        return self.version_slot[np.minimum(read + np.arange(self.window + 1), newest)]

    @property
    def chunks(self) -> int:
        """Calls of the compiled loop."""
        return -(-self.steps // self.chunk_steps)

    @property
    def records_per_chunk(self) -> int:
        """Most versions that are recorded in one chunk."""
        return int(np.bincount(self.record_chunks + 1).max()) if len(self.record_versions) else 0

    @functools.cached_property
    def record_chunks(self) -> np.ndarray:
        """(R,) the chunk that makes each recorded version; -1 for version 0."""
        made = np.concatenate([[-1], self.applied[self.schedule.apply]])[self.record_versions]
        return made // self.chunk_steps

    @property
    def rows_per_chunk(self) -> int:
        """Most deliveries that one chunk applies."""
        return self.chunk_steps * (1 if self.lanes == 1 else 2 * self.lanes)

    @functools.cached_property
    def widths(self) -> tuple[int, int, int]:
        """Most deliveries of one step, most gradients of one step that have waited, most slots that one step writes."""
        makes, waits = self.write_slot < self.slots, self.gradient_slot >= 0

        def per_step(steps: np.ndarray) -> np.ndarray:
            return np.bincount(steps, minlength=self.steps)

        written = per_step(self.applied[makes]) + per_step(self.step[waits])
        return int(np.diff(self.first).max()), int(per_step(self.applied[waits]).max()), int(written.max())

    @functools.cached_property
    def whole_rounds(self) -> bool:
        """Every step computes exactly one server step, in the order of its rows."""
        rows = len(self.schedule)
        return (
            self.lanes > 1
            and rows == self.steps * self.lanes
            and bool((self.gradient_slot < 0).all())
            and np.array_equal(self.schedule.apply, np.arange(rows) % self.lanes == self.lanes - 1)
            and np.array_equal(self.applied, np.arange(rows) // self.lanes)
        )


def plan(
    schedule: Schedule,
    lanes: int,
    *,
    chunk_steps: int | None = None,
    record_versions: np.ndarray | None = None,
    window: int = 0,
) -> Plan:
    """Compile a schedule for ``lanes`` gradients at a time.

    Args:
      schedule: what to compute.
      lanes: W.
      chunk_steps: steps per call of the compiled loop; by default all.
      record_versions: increasing versions to keep until the end of the chunk that makes them.
      window: how many versions after the one that it reads a delivery also needs.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(8), 64)
      >>> jasgd.plan.plan(schedule, 4).steps
      16
    """
    if lanes < 1:
        raise ValueError(f"`lanes` must be at least 1, got {lanes}.")
    if not len(schedule):
        raise ValueError("the schedule is empty; there is nothing to compute.")
    records = np.asarray([] if record_versions is None else record_versions, np.int64)
    window = min(window, int(schedule.delay.max()))  # beyond that there is nothing to see
    step, applied = assign_lanes(schedule, lanes, window)
    steps = int(applied[-1]) + 1
    chunk_steps = chunk_steps or steps
    first = np.searchsorted(applied, np.arange(steps + 1), side="left")
    order = np.argsort(step, kind="stable")
    lane = np.empty(len(schedule), np.int32)
    lane[order] = np.arange(len(schedule)) - np.searchsorted(step[order], step[order], side="left")
    result = Plan(
        schedule=schedule,
        lanes=lanes,
        steps=steps,
        chunk_steps=chunk_steps,
        step=step,
        applied=applied,
        lane=lane,
        first=first,
        window=window,
        record_versions=records,
        **_assign_slots(schedule, step, applied, first, chunk_steps, records, window),
    )
    _validate(result)
    return result


def assign_lanes(schedule: Schedule, lanes: int, window: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """For every delivery the step that computes it and the step that applies it, at most ``2 * lanes`` per step.

    With a window, a delivery waits for the last version that it may see.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 6)
      >>> jasgd.plan.assign_lanes(schedule, 2)[0]
      array([0, 0, 1, 1, 2, 2], dtype=int32)
    """
    count = len(schedule)
    if lanes == 1:
        return np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int32)
    most = 2 * lanes
    made = [0] * (schedule.updates + 1)  # the first step that may read a version
    # Of each step: the lanes taken, and a later step to look at once it is full (union-find with path halving).
    # A full step links forward, so at most ceil(K / W) steps are full and the lists never need more than K + 1.
    taken = [0] * (count + 1)
    link = list(range(1, count + 2))
    step, applied = [0] * count, [0] * count
    now = in_step = version = 0
    newest = np.minimum(schedule.read + window, schedule.version).tolist()
    for k, (last, apply) in enumerate(zip(newest, schedule.apply.tolist(), strict=True)):
        s = made[last]
        while taken[s] == lanes:
            nearer = link[s]
            if taken[nearer] == lanes:
                nearer = link[s] = link[nearer]
            s = nearer
        taken[s] += 1
        step[k] = s
        if s > now:
            now, in_step = s, 1
        elif in_step == most:
            now, in_step = now + 1, 1
        else:
            in_step += 1
        applied[k] = now
        if apply:
            version += 1
            made[version] = now + 1
    return np.array(step, np.int32), np.array(applied, np.int32)


def _assign_slots(
    schedule: Schedule,
    step: np.ndarray,
    applied: np.ndarray,
    first: np.ndarray,
    chunk_steps: int,
    records: np.ndarray,
    window: int,
) -> dict[str, Any]:
    """Give every snapshot and every waiting gradient a slot for as long as it lives.

    Steps and deliveries are put on one line: step ``s`` (which reads snapshots, then stores gradients) at
    ``s + first[s]``, delivery ``k`` (which reads its gradient, then stores a version) at ``k + applied[k] + 1``.
    """
    count, updates = len(schedule), schedule.updates
    at_step = np.arange(len(first)) + first
    at_delivery = np.arange(count) + applied + 1
    # Lives of versions: from the delivery that makes them to the step of their last reader, or the end of the chunk.
    born = np.concatenate([[-1], at_delivery[schedule.apply]])
    dies = np.full(updates + 1, -1, np.int64)
    for later in range(window + 1):
        np.maximum.at(dies, np.minimum(schedule.read + later, schedule.version), at_step[step])
    if len(records):
        made = np.concatenate([[-1], applied[schedule.apply]])[records]
        chunk_end = (made // chunk_steps + 1) * chunk_steps
        kept = np.where(chunk_end < len(first) - 1, at_step[np.minimum(chunk_end, len(first) - 1)], _NEVER)
        np.maximum.at(dies, records, kept)
    read_later = dies >= 0
    # Lives of gradients that wait.
    waits = applied > step
    lives_born = np.concatenate([born[read_later], at_step[step[waits]]])
    lives_die = np.concatenate([dies[read_later], at_delivery[waits]])
    slot, slots = colour(lives_born, lives_die)
    versions = int(np.count_nonzero(read_later))
    version_slot = np.full(updates + 1, slots, np.int32)
    version_slot[read_later] = slot[:versions]
    gradient_slot = np.full(count, -1, np.int32)
    gradient_slot[waits] = slot[versions:]
    return {
        "slots": slots,
        "read_slot": version_slot[schedule.read],
        "gradient_slot": gradient_slot,
        "write_slot": np.where(schedule.apply, version_slot[schedule.version + 1], slots).astype(np.int32)
        if updates
        else np.full(count, slots, np.int32),
        "version_slot": version_slot,
        "record_slots": version_slot[records],
    }


def colour(born: np.ndarray, dies: np.ndarray) -> tuple[np.ndarray, int]:
    """Slots for lives [born, dies): first come, first served; at one instant, deaths come before births.

    With S slots, the i-th birth takes a fresh slot if i < S, else the slot of the (i - S)-th death: a forest of
    pointers that is resolved by doubling, without a loop over the lives.

    Example:
      >>> colour(np.array([0, 1, 5]), np.array([4, 9, 9]))
      (array([0, 1, 0], dtype=int32), 2)
    """
    if np.any(dies < born):
        raise ValueError("a life must not end before it begins.")
    by_birth, by_death = np.argsort(born, kind="stable"), np.argsort(dies, kind="stable")
    dead = np.searchsorted(dies[by_death], born[by_birth], side="right")
    slots = int((np.arange(1, len(born) + 1) - dead).max())
    rank = np.empty(len(born), np.int64)
    rank[by_birth] = np.arange(len(born))
    parent = np.arange(len(born))
    parent[slots:] = rank[by_death[: len(born) - slots]]
    while True:
        grandparent = parent[parent]
        if np.array_equal(grandparent, parent):
            break
        parent = grandparent
    return parent[rank].astype(np.int32), slots


def _validate(plan: Plan) -> None:
    """Every slot that is read holds what is meant. A wrong slot would only give a plausible wrong curve."""
    schedule, count = plan.schedule, len(plan.schedule)
    at_step = np.arange(len(plan.first)) + plan.first
    at_delivery = np.arange(count) + plan.applied + 1
    waits, makes = plan.gradient_slot >= 0, plan.write_slot < plan.slots
    # All writes: what (version v as v, the gradient of row k as -1 - k), where, when. Version 0 is there from the start.
    # Times are doubled: at one instant reading (even) comes before writing (odd).
    what = np.concatenate([[0], schedule.version[makes].astype(np.int64) + 1, -1 - np.flatnonzero(waits)])
    where = np.concatenate([[0], plan.write_slot[makes], plan.gradient_slot[waits]]).astype(np.int64)
    when = np.concatenate([[-1], 2 * at_delivery[makes] + 1, 2 * at_step[plan.step[waits]] + 1])
    span = 2 * (len(plan.first) + count + 2)
    order = np.argsort(where * span + when + 1)
    written = (where * span + when + 1)[order]

    def holds(slot: np.ndarray, time: np.ndarray) -> np.ndarray:
        return what[order][np.searchsorted(written, slot.astype(np.int64) * span + time + 1, side="right") - 1]

    right = np.array_equal(holds(plan.read_slot, 2 * at_step[plan.step]), schedule.read)
    for later, slots in enumerate(plan.seen_slots(slice(None)).T):
        seen = np.minimum(schedule.read + later, schedule.version)
        right &= np.array_equal(holds(slots, 2 * at_step[plan.step]), seen)
    right &= np.array_equal(holds(plan.gradient_slot[waits], 2 * at_delivery[waits]), -1 - np.flatnonzero(waits))
    chunk_end = np.minimum((plan.record_chunks + 1) * plan.chunk_steps, len(plan.first) - 1)
    right &= np.array_equal(holds(plan.record_slots, 2 * at_step[chunk_end]), plan.record_versions)
    right &= bool((plan.step <= plan.applied).all() and (np.diff(plan.applied) >= 0).all())
    right &= bool((np.bincount(plan.step) <= plan.lanes).all()) and bool((waits | (plan.step == plan.applied)).all())
    if not right:
        raise RuntimeError("the plan is wrong: a slot does not hold what is read from it. Please report this schedule.")
