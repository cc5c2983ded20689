"""Gradients that are held: in which order they come in and are used, and the ring in which they lie.

The order of a schedule is worked out, and checked, on the host: nothing in the compiled loop may clamp an index that is out
of range into a plausible wrong answer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jasgd import ring
from jasgd.extra_args import EXTRA_ARGS
from jasgd.plan import colour
from jasgd.schedule import Schedule


class Order(NamedTuple):
    """Which gradient comes in, and which is used, in every call of an optimizer; all are functions of a number."""

    slots: int  # S, most gradients held at once, the newest included
    slot: Callable[[jax.Array], jax.Array]  # of a call: where its gradient is put
    job: Callable[[jax.Array], tuple[jax.Array, jax.Array]]  # of a call: worker and job
    delivers: Callable[[jax.Array], jax.Array | bool]  # of a call: whether the server steps
    row: Callable[[jax.Array], dict[str, jax.Array]]  # of a row: `slot`, extra arguments, and `weight` if it is not 1
    rows: Callable[[jax.Array], tuple[jax.Array, jax.Array]] | None = None  # of a version; None: row v alone makes v + 1


def constant(delay: int) -> Order:
    """The schedule of ``delay + 1`` equal workers who take turns, as formulas: it has no end.

    Example:
      >>> int(constant(2).row(7)["delay"]), int(constant(2).row(7)["worker"])
      (2, 1)
    """
    n = delay + 1

    def row(version: jax.Array) -> dict[str, jax.Array]:
        return {
            "slot": version % n,
            "worker": version % n,
            "delay": jnp.minimum(version, delay),
            "duration": jnp.ones(()),
            "time": jnp.asarray(version // n + 1, float),
            "apply": jnp.asarray(True),
        }

    return Order(
        slots=n,
        slot=lambda call: call % n,
        job=lambda call: (call % n, call // n),
        delivers=lambda call: delay == 0 or call >= delay,
        row=row,
    )


def scheduled(schedule: Schedule) -> Order:
    """The order of a schedule, from tables.

    They stay NumPy arrays outside the optimizer's state: constants of the program, which vmap and donation do not copy.

    Example:
      >>> order = scheduled(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 3))
      >>> [int(order.job(call)[0]) for call in range(4)], bool(order.delivers(0)), bool(order.delivers(1))
      ([0, 1, 0, 1], False, True)
    """
    calls = tables(schedule)
    columns = {name: getattr(schedule, name) for name in EXTRA_ARGS if name != "step"} | {"slot": calls.row_slot}
    if np.any(schedule.weight != 1):
        columns["weight"] = schedule.weight

    def at(column: np.ndarray, index: jax.Array) -> jax.Array:
        return ring.take(jnp.asarray(column), jnp.minimum(index, len(column) - 1))  # the last entry: after the end

    return Order(
        slots=calls.slots,
        slot=lambda call: at(calls.slot, call),
        job=lambda call: (at(calls.worker, call), at(calls.job, call)),
        delivers=lambda call: at(calls.delivers, call),
        row=lambda row: {name: at(column, row) for name, column in columns.items()},
        rows=None if schedule.apply.all() else lambda version: (at(calls.first, version), at(calls.first, version + 1)),
    )


class Tables(NamedTuple):
    """C calls, K rows, U server steps, S slots. The entry of index C is for all calls after the end."""

    worker: np.ndarray  # (C + 1,) int32, whose data
    job: np.ndarray  # (C + 1,) int32
    slot: np.ndarray  # (C + 1,) int32, where the gradient is put
    delivers: np.ndarray  # (C + 1,) bool, whether the server steps
    row_slot: np.ndarray  # (K,) int32, where the gradient of each row lies when it is used
    first: np.ndarray  # (U + 1,) int32, rows used before each server step
    slots: int  # S


def tables(schedule: Schedule) -> Tables:
    """Order gradients by the version that they read, then by use; give each a slot until it is used.

    Example:
      >>> tables(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 3)).slot[:-1]
      array([0, 1, 0, 1], dtype=int32)
    """
    rows, updates = len(schedule), schedule.updates
    unread = np.setdiff1d(np.arange(updates), schedule.read)
    worker, job = _unused_jobs(schedule, unread)
    read = np.concatenate([schedule.read, unread])
    order = np.argsort(read, kind="stable")  # of each call its gradient: a row, or rows + a place in `unread`
    call = np.empty(len(order), np.int64)
    call[order] = np.arange(len(order))
    last = np.searchsorted(read[order], np.arange(updates), side="right") - 1  # the last call at each version
    used = np.concatenate([last[schedule.version], call[rows:]])
    slot, slots = colour(call, used + 1)
    result = Tables(
        worker=np.append(np.concatenate([schedule.worker, worker])[order], 0).astype(np.int32),
        job=np.append(np.concatenate([schedule.job, job])[order], 0).astype(np.int32),
        slot=np.append(slot[order], 0).astype(np.int32),
        delivers=np.isin(np.arange(len(order) + 1), last),
        row_slot=slot[:rows],
        first=np.append(0, np.flatnonzero(schedule.apply) + 1).astype(np.int32),
        slots=slots,
    )
    _validate(result, call[:rows], used[:rows])
    return result


def _unused_jobs(schedule: Schedule, versions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A job for each version that no row reads: of a worker that is at it when the schedule ends, or else of worker 0."""
    worker = np.zeros(schedule.updates + 1, np.int32)
    if schedule.ledger is not None:
        worker[schedule.ledger.pending_read] = schedule.ledger.pending_worker
    next_job = np.zeros(schedule.num_workers, np.int32)
    np.maximum.at(next_job, schedule.worker, schedule.job + 1)
    return worker[versions], next_job[worker[versions]]


def _validate(calls: Tables, computed: np.ndarray, used: np.ndarray) -> None:
    """No slot is overwritten before its gradient is used."""
    slot = calls.slot[:-1]
    order = np.argsort(slot, kind="stable")
    again = np.flatnonzero(np.diff(slot[order]) == 0)
    overwritten = np.full(len(slot), len(slot))
    overwritten[order[again]] = order[again + 1]
    right = np.array_equal(slot[computed], calls.row_slot) and bool(((slot >= 0) & (slot < calls.slots)).all())
    right &= bool((computed <= used).all() and (used < overwritten[computed]).all() and calls.delivers[used].all())
    if not right:
        raise RuntimeError("a gradient would be lost before it is used. Please report this schedule.")


def empty(leaf: jax.Array, slots: int) -> jax.Array:
    """Room for one leaf, (S, *leaf.shape); one slot would only hold the newest gradient, so it is left out."""
    return jnp.broadcast_to(jnp.zeros_like(leaf), (slots if slots > 1 else 0, *leaf.shape))


# Both go leaf by leaf: in an nnx.State, gradients are variables, and what is held are the arrays in them.
def put(held: Any, slot: jax.Array, newest: Any) -> Any:
    """Keep the newest gradient. A ring that is read *before* it is written would be copied whole by XLA in every call."""
    rings, structure = jax.tree.flatten(held)
    pairs = zip(rings, jax.tree.leaves(newest), strict=True)
    written = [ring.write(rows, slot, g.astype(rows.dtype)) if len(rows) else rows for rows, g in pairs]
    return jax.tree.unflatten(structure, written)


def take(held: Any, slot: jax.Array, newest: Any) -> Any:
    """What a slot holds, as a tree like the newest gradient; where nothing is ever held, that one."""
    gradients, structure = jax.tree.flatten(newest)
    pairs = zip(jax.tree.leaves(held), gradients, strict=True)
    found = [ring.take(rows, slot).astype(g.dtype) if len(rows) else g for rows, g in pairs]
    return jax.tree.unflatten(structure, found)


def slots_of_leaves(delay: Any, params: Any) -> Any:
    """For every leaf of the parameters its delay + 1; trees are compared by their paths, so a dict fits an nnx.State."""
    given = dict(jax.tree_util.tree_leaves_with_path(delay))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]

    def slots(path: Any, _: Any) -> int:
        found = [given[path[:depth]] for depth in range(len(path) + 1) if path[:depth] in given]
        if not found:
            raise ValueError(f"`delay` has no number for params{jax.tree_util.keystr(path)}.")
        return int(found[0]) + 1

    for start in given if paths else ():  # no leaves: Optax asks which fields of the state are like the parameters
        if not any(path[: len(start)] == start for path in paths):
            raise ValueError(f"delay{jax.tree_util.keystr(start)} belongs to no leaf of the parameters.")
    return jax.tree_util.tree_map_with_path(slots, params)
