"""The part of a plan that one call of the compiled loop needs, in arrays of fixed shape."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jasgd.plan import Plan

if TYPE_CHECKING:
    from jasgd.engine import Loop


def ring_rows(plan: Plan) -> int:
    """Rows of the ring: the slots, rounded up so that similar plans share a shape, and one for what nobody reads."""
    rounded = _power_of_two(plan.slots)
    # Workers with one job each need one slot each; drawn delays may need more.
    tight = min(plan.schedule.num_workers, rounded) + _power_of_two(plan.records_per_chunk)
    return (tight if tight >= plan.slots else rounded) + 1


def _power_of_two(count: int) -> int:
    """The smallest power of two that is not below ``count``; 0 for 0."""
    return 1 << (count - 1).bit_length() if count else 0


def chunk_arrays(loop: "Loop", plan: Plan, index: int) -> dict[str, Any]:
    """The part of a plan that one call of :func:`jasgd.engine.step` needs, in arrays of fixed shape.

    Per lane (blocks, block, W): ``worker``, ``job`` and, of several lanes, ``read_slot``. Per delivery (rows,):
    ``write_slot``, ``weight``, ``apply``, what the rule asks for, and ``read_slot`` of one lane or ``lane`` of several.
    With a read model also ``delay`` and ``seen_slots`` (rows, 1 + window), per delivery of one lane, per lane of several.
    Per step (blocks * block + 1,): ``first``, the rows applied before it. If gradients wait, per step also which lanes
    are stored where, and whether all its rows are ``fresh``; per row ``fresh`` and ``waiting_slot``.
    A loop that applies the deliveries of a step at once has no rows but what :func:`_at_once` makes.
    """
    schedule, width = plan.schedule, plan.lanes
    steps = -(-plan.chunk_steps // loop.block) * loop.block
    begin, end = (min(i * plan.chunk_steps, plan.steps) for i in (index, index + 1))
    blocks = (steps // loop.block, loop.block)
    computed = np.arange(begin, end) if width == 1 else plan.computed_between(begin, end)
    step, lane = plan.step[computed] - begin, plan.lane[computed]

    def per_lane(column: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        padded = np.zeros((steps, width, *column.shape[1:]), np.int32)
        padded[where] = column
        return padded.reshape(*blocks, *padded.shape[1:])

    lanes = {name: per_lane(getattr(schedule, name)[computed], (step, lane)) for name in ("worker", "job")}
    if width > 1:
        lanes["read_slot"] = per_lane(plan.read_slot[computed], (step, lane))
        if loop.read_model is not None:
            lanes["seen_slots"] = per_lane(plan.seen_slots(computed), (step, lane))
            lanes["delay"] = per_lane(schedule.delay[computed], (step, lane))
    rows = slice(int(plan.first[begin]), int(plan.first[end]))
    fresh = plan.gradient_slot[rows] < 0
    if loop.linear is not None:
        lanes["computed"] = np.bincount(step, minlength=steps).astype(np.int32).reshape(blocks)
    elif loop.stores:
        stored = np.flatnonzero(plan.gradient_slot[computed] >= 0)
        counts = np.bincount(step[stored], minlength=steps)
        place = _places(step[stored])
        lanes["store_slot"] = per_lane(plan.gradient_slot[computed[stored]], (step[stored], place))
        lanes["store_lane"] = per_lane(lane[stored], (step[stored], place))
        lanes["stores"] = counts.astype(np.int32).reshape(blocks)
        all_fresh = np.ones(steps, np.bool_)
        all_fresh[plan.applied[rows][~fresh] - begin] = False
        lanes["all_fresh"] = all_fresh.reshape(blocks)
    first = np.full(steps + 1, plan.first[end], np.int64)
    first[: end - begin + 1] = plan.first[begin : end + 1]
    nobody = ring_rows(plan) - 1
    columns = {
        "write_slot": np.where(plan.write_slot[rows] < plan.slots, plan.write_slot[rows], nobody),
        "worker": schedule.worker[rows],
        "delay": schedule.delay[rows],
        "step": schedule.version[rows],
        "duration": schedule.duration[rows],
        "time": schedule.time[rows],
        "apply": schedule.apply[rows],
    }
    needed: dict[str, np.ndarray] = {name: columns[name] for name in ("write_slot", *loop.extra_args)}
    if loop.linear is not None:
        told = {name: columns[name] for name in loop.extra_args}
        if loop.weighted:
            told["weight"] = schedule.weight[rows]
        if loop.gathers:
            told["apply"] = schedule.apply[rows]
        called = columns["apply"] | ("apply" in loop.extra_args)  # the deliveries for which the rule is called
        slots, ahead = _at_once(plan, told, called, begin, end, blocks)
        return {"lanes": lanes | slots, "ahead": ahead, "steps": np.int32(end - begin)}
    if width == 1:
        needed["read_slot"] = plan.read_slot[rows]
        if loop.read_model is not None:
            needed |= {"seen_slots": plan.seen_slots(rows), "delay": schedule.delay[rows]}
    else:
        needed["lane"] = plan.lane[rows]
    if loop.stores:
        needed |= {"fresh": fresh, "waiting_slot": np.maximum(plan.gradient_slot[rows], 0)}
    if loop.weighted or loop.whole_rounds:
        needed["weight"] = schedule.weight[rows]
    if loop.gathers:
        needed["apply"] = schedule.apply[rows]
    return {
        "lanes": lanes,
        "rows": {name: _padded(column, plan.rows_per_chunk) for name, column in needed.items()},
        "first": (first - first[0]).astype(np.int32),
        "steps": np.int32(end - begin),
    }


def _at_once(
    plan: Plan, told: dict[str, np.ndarray], called: np.ndarray, begin: int, end: int, blocks: tuple[int, int]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What a step takes from the ring and what it writes, and what that is made of; (blocks, block, ...) of all steps.

    Slots: ``waiting_slot`` of the gradients that have waited, and ``write_slot`` (V,), beyond the ring for nothing.
    Ahead, per step: of its D deliveries what the rule is told, their ``count``, and ``updates_before``, those of the block;
    ``delivered_as``, which of them uses each lane and each gradient that has waited, D for none; ``write_row`` (V,), the
    delivery that makes what is written, or D + the lane of a gradient that is to wait.
    Ahead, per block: the number of ``updates``, and of the ``last_update`` its step times D + its place.
    """
    deliveries, waiting, written = map(_power_of_two, plan.widths)
    steps, nobody = blocks[0] * blocks[1], ring_rows(plan) - 1
    rows = slice(int(plan.first[begin]), int(plan.first[end]))
    step = plan.applied[rows].astype(np.int64) - begin
    place = _places(step)

    def table(fill: Any, where: tuple[np.ndarray, np.ndarray], values: np.ndarray, width: int = deliveries) -> np.ndarray:
        narrow = values.astype(np.int32) if values.dtype.kind == "i" else values
        result = np.full((steps, width), fill, jax.dtypes.canonicalize_dtype(narrow.dtype))
        result[where] = narrow
        return result.reshape(*blocks, width)

    block = step // blocks[1]
    before = np.cumsum(called) - called
    last = np.zeros(blocks[0], np.int64)
    last[block[called]] = ((step % blocks[1]) * deliveries + place)[called]

    waits, makes = plan.gradient_slot[rows] >= 0, plan.write_slot[rows] < plan.slots
    turn = _places(step[waits])
    source = plan.lane[rows].astype(np.int64)
    source[waits] = plan.lanes + turn

    computed = plan.computed_between(begin, end)
    stored = computed[plan.gradient_slot[computed] >= 0]
    into = np.concatenate([step[makes], plan.step[stored].astype(np.int64) - begin])
    order = np.argsort(into, kind="stable")
    at = (into[order], _places(into[order]))
    slot = np.concatenate([plan.write_slot[rows][makes], plan.gradient_slot[stored]])[order]
    made_by = np.concatenate([place[makes], deliveries + plan.lane[stored]])[order]
    slots = {
        "waiting_slot": table(nobody, (step[waits], turn), plan.gradient_slot[rows][waits], waiting),
        "write_slot": table(nobody + 1 + np.arange(written), at, slot, written),
    }
    of_steps = {name: table(0, (step, place), column) for name, column in told.items()} | {
        "updates_before": table(0, (step, place), before - before[np.searchsorted(block, block)]),
        "count": np.bincount(step, minlength=steps).astype(np.int32).reshape(blocks),
        "delivered_as": table(deliveries, (step, source), place, plan.lanes + waiting),
        "write_row": table(0, at, made_by, written),
    }
    updates = np.bincount(block[called], minlength=blocks[0])
    return slots, {"steps": of_steps, "updates": updates.astype(np.int32), "last_update": last.astype(np.int32)}


def _places(step: np.ndarray) -> np.ndarray:
    """Of things in the order of their steps, how many of the same step come before."""
    return np.arange(len(step)) - np.searchsorted(step, step)


def stacked_chunks(loop: "Loop", plans: Sequence[Plan], index: int, rows: int) -> list[dict[str, Any]]:
    """The same for several plans of one lane, in arrays that fit together; of the rows, the ``real`` ones are deliveries.

    ``rows`` is the number of rows of the largest ring: what is not real writes into its last one.
    """
    chunks = [chunk_arrays(loop, plan, index) for plan in plans]
    most = max(int(chunk["steps"]) for chunk in chunks)
    window = max(plan.window for plan in plans)
    for chunk, plan in zip(chunks, plans, strict=True):
        columns = chunk["rows"]
        real = np.arange(len(columns["write_slot"])) < chunk["steps"]
        nobody = columns["write_slot"] == ring_rows(plan) - 1
        columns["write_slot"] = np.where(real & ~nobody, columns["write_slot"], rows - 1).astype(np.int32)
        if loop.read_model is not None:
            columns["seen_slots"] = np.pad(columns["seen_slots"], [(0, 0), (0, window - plan.window)], mode="edge")
        if loop.padded:
            columns["real"] = real
        if loop.gathers:
            columns["apply"] = columns["apply"] & real
        chunk["steps"] = np.int32(most)
        del chunk["first"]  # of one lane, nobody asks
    return chunks


def _padded(column: np.ndarray, length: int) -> np.ndarray:
    narrow = column.astype(np.int32) if column.dtype.kind == "i" else column
    padded = np.zeros((length, *column.shape[1:]), jax.dtypes.canonicalize_dtype(narrow.dtype))
    padded[: len(column)] = narrow
    return padded
