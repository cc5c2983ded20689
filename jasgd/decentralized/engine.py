"""The compiled loop for replicas: steps of W gradients, then the rows that are due.

All vectors are flat rows of one pool; rule states have an axis of nodes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from jasgd import ring
from jasgd.decentralized.plan import Plan
from jasgd.extra_args import EXTRA_ARGS
from jasgd.keys import job_key
from jasgd.program import Program
from jasgd.traced import Numbers, Traced


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What the next step needs."""

    pool: jax.Array  # (slots + 1 + W, d): vectors and gradients that somebody still needs; what nobody reads; this step's
    rule_state: optax.OptState  # leaves (N, ...)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything that makes a compiled loop another one."""

    sample: Program
    gradient: Program
    rule: Program
    shapes: tuple[tuple[int, ...], ...]
    tree: Any
    lanes: int
    always: bool  # every row asks the rule
    plain: bool  # every row goes on from one vector, as it is


def loop_of(program: Traced, plan: Plan) -> Loop:
    """The loop that computes a plan."""
    execution = plan.execution
    leaves, tree = jax.tree.flatten(program.params)
    return Loop(
        sample=program.sample,
        gradient=program.gradient,
        rule=program.rule,
        shapes=tuple(leaf.shape for leaf in leaves),
        tree=tree,
        lanes=plan.lanes,
        always=bool(np.all(np.diff(execution.push_first) > 0)),
        plain=bool(np.all(np.diff(execution.mix_first) == 1) and np.all(execution.mix_weight == 1)),
    )


def init(program: Traced, plan: Plan) -> State:
    """All nodes at the same point."""
    flat, _ = ravel_pytree(program.params)
    pool = jnp.zeros((plan.slots + 1 + plan.lanes, flat.size), flat.dtype).at[plan.initial_slot].set(flat)
    n = plan.execution.num_nodes
    states = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], n, axis=0), program.rule_state)
    return State(pool=pool, rule_state=states)


def unravel(loop: Loop, flat: jax.Array) -> Any:
    """A vector as parameters."""
    ends = np.cumsum([int(np.prod(shape)) for shape in loop.shapes])
    leaves = [part.reshape(shape) for part, shape in zip(jnp.split(flat, ends[:-1]), loop.shapes, strict=True)]
    return jax.tree.unflatten(loop.tree, leaves)


def _ravel(tree: Any) -> jax.Array:
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


@functools.partial(jax.jit, static_argnames="loop", donate_argnames="state")
def run(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:
    """Compute some steps."""
    lanes, rows = chunk["lanes"], chunk["rows"]

    def gradients(pool: jax.Array, lane: Mapping[str, jax.Array]) -> jax.Array:
        def one(worker: jax.Array, job: jax.Array, slot: jax.Array) -> jax.Array:
            batch = loop.sample(numbers.sample, job_key(key, worker, job), worker)
            return _ravel(loop.gradient(numbers.gradient, unravel(loop, ring.take(pool, slot)), batch))

        return jax.vmap(one)(lane["worker"], lane["job"], lane["read_slot"])

    def step(index: jax.Array, state: State) -> State:
        lane = {name: ring.take(column, index) for name, column in lanes.items()}
        fresh = gradients(state.pool, lane)
        pool = jax.lax.dynamic_update_slice(state.pool, fresh, (chunk["lane_slot"], jnp.int32(0)))

        def store(which: jax.Array, pool: jax.Array) -> jax.Array:
            return ring.write(pool, lane["store_slot"][which], ring.take(fresh, lane["store_lane"][which]))

        pool = jax.lax.fori_loop(0, lane["stores"], store, pool)
        first = chunk["first"]
        state = State(pool=pool, rule_state=state.rule_state)
        return jax.lax.fori_loop(first[index], first[index + 1], functools.partial(_row, loop, numbers, rows), state)

    return jax.lax.fori_loop(0, chunk["steps"], step, state)


def _row(loop: Loop, numbers: Numbers, rows: Mapping[str, jax.Array], index: jax.Array, state: State) -> State:
    def at(name: str) -> jax.Array:
        return ring.take(rows[name], index)

    def total(name: str, single: bool) -> jax.Array:
        slot, weight = rows[f"{name}_slot"], rows[f"{name}_weight"]
        begin, end = ring.take(rows[f"{name}_first"], index), ring.take(rows[f"{name}_first"], index + 1)
        if single:
            return ring.take(state.pool, ring.take(slot, begin))

        def add(term: jax.Array, total: jax.Array) -> jax.Array:
            return total + ring.take(weight, term).astype(total.dtype) * ring.take(state.pool, ring.take(slot, term))

        return jax.lax.fori_loop(begin, end, add, jnp.zeros_like(state.pool[0]))

    base = total("mix", loop.plain)
    node = at("node")
    mine = jax.tree.map(lambda leaf: ring.take(leaf, node), state.rule_state)
    zero = jnp.zeros((), jnp.int32)
    told = {"worker": node, "step": at("step"), "time": at("time"), "duration": at("duration")}
    extra = dict.fromkeys(EXTRA_ARGS, zero) | told
    point = unravel(loop, base)
    updates, changed = loop.rule(numbers.rule, unravel(loop, total("push", False)), mine, point, extra, point)
    new = base + _ravel(updates)
    if not loop.always:
        asks = at("asks")
        new = jnp.where(asks, new, base)
        changed = jax.tree.map(lambda a, b: jnp.where(asks, a, b), changed, mine)
    return State(
        pool=ring.write(state.pool, at("write_slot"), new),
        rule_state=jax.tree.map(lambda leaf, row: ring.write(leaf, node, row), state.rule_state, changed),
    )


@functools.partial(jax.jit, static_argnames=("loop", "metrics"))
def measure(
    loop: Loop, metrics: Program, numbers: list[jax.Array], pool: jax.Array, slots: jax.Array
) -> tuple[Mapping[str, jax.Array], jax.Array]:
    """Metrics of the mean of the replicas, their distance from it, and whether all are finite."""
    replicas = pool[slots]
    mean = jnp.mean(replicas, axis=0)
    found = metrics(numbers, unravel(loop, mean))
    consensus = jnp.mean(jnp.sum((replicas - mean[None]) ** 2, axis=1))
    return {**found, "consensus": consensus}, jnp.all(jnp.isfinite(replicas))


def chunk_of(plan: Plan, begin: int, end: int, shape: Mapping[str, int]) -> dict[str, Any]:
    """The part of a plan that one call of :func:`run` needs, padded to a shape."""
    execution, width = plan.execution, plan.lanes
    computes = np.flatnonzero((execution.job >= 0) & (plan.step >= begin) & (plan.step < end))
    where = (plan.step[computes] - begin, plan.lane[computes])

    def per_lane(column: np.ndarray, where: tuple[np.ndarray, np.ndarray] = where) -> np.ndarray:
        padded = np.zeros((shape["steps"], width), np.int32)
        padded[where] = column
        return padded

    stored = computes[plan.store_slot[computes] < plan.slots]
    stored = stored[np.argsort(plan.step[stored], kind="stable")]
    its_step = plan.step[stored] - begin
    counts: np.ndarray = np.bincount(its_step, minlength=shape["steps"]).astype(np.int32)
    place = (its_step, np.arange(len(stored)) - (np.cumsum(counts) - counts)[its_step])
    rows = slice(int(plan.first[begin]), int(plan.first[end]))
    first = np.full(shape["steps"] + 1, rows.stop - rows.start, np.int32)
    first[: end - begin + 1] = plan.first[begin : end + 1] - rows.start

    def padded(column: np.ndarray, length: int) -> np.ndarray:
        narrow = np.zeros(length, jax.dtypes.canonicalize_dtype(column.dtype))
        narrow[: len(column)] = column
        return narrow

    real = np.float64
    columns = {
        "node": execution.node[rows],
        "step": _calls_before(plan)[rows],
        "time": execution.time[rows].astype(real),
        "duration": (execution.time - execution.start)[rows].astype(real),
        "asks": np.diff(execution.push_first)[rows] > 0,
        "write_slot": plan.write_slot[rows],
    }
    table = {name: padded(column, shape["rows"]) for name, column in columns.items()}
    for name in ("mix", "push"):
        starts = getattr(execution, f"{name}_first")[rows.start : rows.stop + 1]
        inside = slice(int(starts[0]), int(starts[-1]))
        ends = np.full(shape["rows"] + 1, inside.stop - inside.start, np.int32)
        ends[: len(starts)] = starts - inside.start
        table[f"{name}_first"] = ends
        table[f"{name}_slot"] = padded(getattr(plan, f"{name}_slot")[inside], shape[name])
        table[f"{name}_weight"] = padded(getattr(execution, f"{name}_weight")[inside], shape[name])
    return {
        "lanes": {
            "worker": per_lane(execution.node[computes]),
            "job": per_lane(execution.job[computes]),
            "read_slot": per_lane(plan.read_slot[computes]),
            "store_slot": per_lane(plan.store_slot[stored], place),
            "store_lane": per_lane(plan.lane[stored], place),
            "stores": counts,
        },
        "rows": table,
        "first": first,
        "lane_slot": np.int32(plan.slots + 1),
        "steps": np.int32(end - begin),
    }


@functools.lru_cache(maxsize=4)
def _calls_before(plan: Plan) -> np.ndarray:
    """(K,) how often each row's node has asked the rule before."""
    asks = np.diff(plan.execution.push_first) > 0
    order = np.argsort(plan.execution.node, kind="stable")
    counts: np.ndarray = np.cumsum(asks[order]) - asks[order]
    node = plan.execution.node[order]
    begins = np.searchsorted(node, np.arange(plan.execution.num_nodes))
    before = np.empty(len(order), np.int32)
    before[order] = counts - counts[np.minimum(begins, len(order) - 1)][node]
    return before
