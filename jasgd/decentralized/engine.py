"""The compiled loop for replicas: steps of W gradients, then the rows that are due.

All vectors are rows of one pool; rule states have an axis of nodes.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

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

    pool: (
        optax.Params
    )  # leaves (slots + 1 + W, ...): vectors and gradients that somebody still needs; what nobody reads; this step's
    rule_state: optax.OptState  # leaves (N, ...)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything that makes a compiled loop another one."""

    sample: Program
    gradient: Program
    rule: Program
    always: bool  # every row asks the rule
    plain: tuple[str, ...]  # which of mix and push is one value, as it is, in every row that has it


def loop_of(program: Traced, plan: Plan) -> Loop:
    """The loop that computes a plan."""

    def is_plain(name: str) -> bool:
        each, weights = np.diff(getattr(plan.execution, f"{name}_first")), getattr(plan.execution, f"{name}_weight")
        return bool(np.all(each <= 1) and np.all(weights == 1) and (name == "push" or np.all(each == 1)))

    return Loop(
        sample=program.sample,
        gradient=program.gradient,
        rule=program.rule,
        always=bool(np.all(np.diff(plan.execution.push_first) > 0)),
        plain=tuple(name for name in ("mix", "push") if is_plain(name)),
    )


def _roomy(count: int) -> int:
    """A little more, three binary digits exact, so that similar executions share a program."""
    unit = 1 << max(0, count.bit_length() - 3)
    return -(-count // unit) * unit


def init(program: Traced, plan: Plan) -> State:
    """All nodes at the same point."""
    rows, n = _roomy(plan.slots + 1 + plan.lanes), plan.execution.num_nodes

    def begin(leaf: jax.Array) -> jax.Array:
        return jnp.zeros((rows, *leaf.shape), leaf.dtype).at[plan.initial_slot].set(leaf[None])

    # One more rule state, for places that have no row.
    states = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], n + 1, axis=0), program.rule_state)
    return State(pool=jax.tree.map(begin, program.params), rule_state=states)


@functools.partial(jax.jit, static_argnames="loop", donate_argnames="state")
def run(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:
    """Compute some steps."""

    def gradient(worker: jax.Array, job: jax.Array, point: optax.Params) -> optax.Updates:
        batch = loop.sample(numbers.sample, job_key(key, worker, job), worker)
        return loop.gradient(numbers.gradient, point, batch)

    def step(index: jax.Array, state: State) -> State:
        lane = {name: ring.take(column, index) for name, column in chunk["lanes"].items()}

        def compute() -> optax.Updates:
            return jax.vmap(gradient)(lane["worker"], lane["job"], ring.gather(state.pool, lane["read_slot"]))

        def nothing() -> optax.Updates:
            return jax.tree.map(lambda leaf: jnp.zeros_like(leaf[: lane["worker"].shape[0]]), state.pool)

        fresh = jax.lax.cond(lane["computes"], compute, nothing)

        def keep(rows: jax.Array, new: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice(rows, new, (chunk["lane_slot"], *(jnp.int32(0),) * (rows.ndim - 1)))

        def store(which: jax.Array, pool: optax.Params) -> optax.Params:
            return ring.write(pool, lane["store_slot"][which], ring.read(fresh, lane["store_lane"][which]))

        pool = jax.lax.fori_loop(0, lane["stores"], store, jax.tree.map(keep, state.pool, fresh))
        row = {name: ring.take(column, index) for name, column in chunk["rows"].items()}
        return _rows(loop, numbers, row, State(pool=pool, rule_state=state.rule_state))

    return jax.lax.fori_loop(0, chunk["steps"], step, state)


def _rows(loop: Loop, numbers: Numbers, row: Mapping[str, jax.Array], state: State) -> State:
    """Rows that do not need each other: all read before any writes."""

    def total(name: str) -> optax.Params:
        slots, weights = row[f"{name}_slot"], row[f"{name}_weight"]  # (R, M)
        if name in loop.plain:  # a product with 1 could be rounded together with the update, unlike plain Optax
            return ring.gather(state.pool, slots[:, 0])

        def term(m: int) -> optax.Params:
            def weighted(leaf: jax.Array) -> jax.Array:
                weight = weights[:, m].astype(leaf.dtype).reshape(-1, *(1,) * (leaf.ndim - 1))
                return jnp.where(weight != 0, weight * leaf, 0)  # what a row does not have may be anything

            return jax.tree.map(weighted, ring.gather(state.pool, slots[:, m]))

        return functools.reduce(optax.tree.add, map(term, range(slots.shape[1])))

    def update(point: optax.Params, pushed: optax.Updates, mine: Any, told: dict[str, jax.Array]) -> tuple[Any, Any]:
        extra = dict.fromkeys(EXTRA_ARGS, jnp.zeros((), jnp.int32)) | told
        updates, changed = loop.rule(numbers.rule, pushed, mine, point, extra, point)
        return optax.apply_updates(point, updates), changed

    base, mine = total("mix"), ring.gather(state.rule_state, row["state"])
    told = {"worker": row["node"], **{name: row[name] for name in ("step", "time", "duration")}}
    new, changed = jax.vmap(update)(base, total("push"), mine, told)
    if not loop.always:

        def asked(after: jax.Array, before: jax.Array) -> jax.Array:
            return jnp.where(row["asks"].reshape(-1, *(1,) * (after.ndim - 1)), after, before)

        new, changed = jax.tree.map(asked, new, base), jax.tree.map(asked, changed, mine)

    def write(place: jax.Array, state: State) -> State:
        return State(
            pool=ring.write(state.pool, row["write_slot"][place], ring.read(new, place)),
            rule_state=ring.write(state.rule_state, row["state"][place], ring.read(changed, place)),
        )

    return jax.lax.fori_loop(0, row["count"], write, state)


@functools.partial(jax.jit, static_argnames="metrics")
def measure(
    metrics: Program, numbers: list[jax.Array], pool: optax.Params, slots: jax.Array
) -> tuple[Mapping[str, jax.Array], jax.Array]:
    """Metrics of the mean of the replicas, their squared distance from it, and whether all are finite."""
    replicas = ring.gather(pool, slots)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), replicas)
    apart = jax.tree.map(lambda leaf, middle: jnp.sum((leaf - middle[None]) ** 2), replicas, mean)
    consensus = optax.tree.sum(apart) / len(slots)
    finite = jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(replicas)])
    return {**metrics(numbers, mean), "consensus": consensus}, finite.all()


def chunk_of(plan: Plan, begin: int, end: int, steps: int) -> dict[str, Any]:
    """The part of a plan that one call of :func:`run` needs, padded to ``steps``.

    Per lane (steps, W): ``worker``, ``job``, ``read_slot``, and which lanes are stored where. Per place (steps, R): what the
    rule is told, ``write_slot``, ``state``, ``asks``, and (steps, R, M) the terms. A term that a row does not have is its
    first one with the weight 0.
    """
    execution = plan.execution
    computes = np.flatnonzero((execution.job >= 0) & (plan.step >= begin) & (plan.step < end))
    lane = (plan.step[computes] - begin, plan.lane[computes])
    stored = computes[plan.store_slot[computes] < plan.slots]
    stored = stored[np.argsort(plan.step[stored], kind="stable")]
    its_step = plan.step[stored] - begin
    counts: np.ndarray = np.bincount(its_step, minlength=steps).astype(np.int32)
    turn = (its_step, np.arange(len(stored)) - (np.cumsum(counts) - counts)[its_step])
    rows = np.flatnonzero((plan.applied >= begin) & (plan.applied < end))
    place = (plan.applied[rows] - begin, plan.place[rows])

    def padded(column: np.ndarray, where: tuple[np.ndarray, np.ndarray], width: int, fill: int = 0) -> np.ndarray:
        table = np.full((steps, width, *column.shape[1:]), fill, jax.dtypes.canonicalize_dtype(column.dtype))
        table[where] = column
        return table

    lanes = {
        "worker": padded(execution.node[computes], lane, plan.lanes),
        "job": padded(execution.job[computes], lane, plan.lanes),
        "read_slot": padded(plan.read_slot[computes], lane, plan.lanes),
        "store_slot": padded(plan.store_slot[stored], turn, plan.lanes),
        "store_lane": padded(plan.lane[stored], turn, plan.lanes),
        "stores": counts,
        "computes": np.bincount(lane[0], minlength=steps) > 0,
    }
    columns = {
        "node": execution.node[rows],
        "step": _calls_before(plan)[rows],
        "time": execution.time[rows],
        "duration": (execution.time - execution.start)[rows],
        "asks": np.diff(execution.push_first)[rows] > 0,
    }
    table = {name: padded(column, place, plan.width) for name, column in columns.items()}
    table["write_slot"] = padded(plan.write_slot[rows], place, plan.width, plan.slots)
    # A row that does not ask leaves the state of its node alone, which another row of the step may be changing.
    state = np.where(columns["asks"], columns["node"], execution.num_nodes)
    table["state"] = padded(state.astype(np.int32), place, plan.width, execution.num_nodes)
    table["count"] = np.bincount(place[0], minlength=steps).astype(np.int32)
    for name in ("mix", "push"):
        slots, weights = _terms(plan, name)
        table[f"{name}_slot"] = padded(slots[rows], place, plan.width, plan.slots)
        table[f"{name}_weight"] = padded(weights[rows], place, plan.width)
    return {"lanes": lanes, "rows": table, "lane_slot": np.int32(plan.slots + 1), "steps": np.int32(end - begin)}


@functools.lru_cache(maxsize=4)
def _terms(plan: Plan, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(K, M) slots and weights of the values that each row adds up."""
    first, weight = getattr(plan.execution, f"{name}_first"), getattr(plan.execution, f"{name}_weight")
    slot, counts = getattr(plan, f"{name}_slot"), np.diff(first)
    most = max(int(counts.max(initial=0)), 1)
    if not len(slot):
        return np.full((len(counts), 1), plan.slots, np.int32), np.zeros((len(counts), 1), np.float32)
    which = first[:-1, None] + np.arange(most)
    inside = np.arange(most) < counts[:, None]
    which = np.minimum(np.where(inside, which, first[:-1, None]), len(slot) - 1)
    return np.where(counts[:, None] > 0, slot[which], plan.slots).astype(np.int32), np.where(inside, weight[which], 0)


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
