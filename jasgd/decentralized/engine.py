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
from jasgd.batch import Shared, whole
from jasgd.decentralized.plan import Plan
from jasgd.extra_args import EXTRA_ARGS
from jasgd.keys import job_key
from jasgd.program import Program
from jasgd.traced import Numbers, Traced

_Columns = Mapping[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What the next step needs."""

    # Leaves (slots + 1 + W, ...): vectors and gradients that somebody still needs; what nobody reads; this step's gradients.
    pool: optax.Params
    rule_state: optax.OptState  # leaves (N + 1, ...); the last one is for places without a row


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything that makes a compiled loop another one."""

    sample: Program
    gradient: Program
    rule: Program
    direct: bool  # each gradient goes to the row at the place that is its lane
    plain: tuple[str, ...]  # which sums are one value, as it is, in all rows


def loop_of(program: Traced, plan: Plan) -> Loop:
    """The loop that computes a plan."""

    def is_plain(name: str, asks: bool) -> bool:
        return bool(np.all(_terms(plan, name, asks)[1] == 1))  # as many terms, and no other weights

    plain = {"mix": is_plain("mix", True), "push": is_plain("push", True), "mixing": is_plain("mix", False)}
    return Loop(
        sample=program.sample,
        gradient=program.gradient,
        rule=program.rule,
        direct=plan.direct,
        plain=tuple(name for name, holds in plain.items() if holds),
    )


def _roomy(count: int) -> int:
    """A little more, three binary digits exact, so that similar executions share a program."""
    unit = 1 << max(0, count.bit_length() - 3)
    return -(-count // unit) * unit


def init(program: Traced, plan: Plan) -> State:
    """All nodes at the same point."""
    rows = _roomy(plan.slots + 1 + (0 if plan.direct else plan.lanes))

    def copies(tree: Any, count: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], count, axis=0), tree)

    return State(pool=copies(program.params, rows), rule_state=copies(program.rule_state, plan.execution.num_nodes + 1))


@functools.partial(jax.jit, static_argnames="loop", donate_argnames="state")
def run(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:
    """Compute some steps."""
    return _steps(loop, numbers, key, state, chunk)


@functools.partial(jax.jit, static_argnames="loop", donate_argnames="states")
def run_many(loop: Loop, numbers: Shared, keys: jax.Array, states: State, chunk: Mapping[str, Any]) -> State:
    """The same steps of several runs, whose keys and states have an axis in front."""

    def one(numbers: Shared, key: jax.Array, state: State) -> State:
        return _steps(loop, whole(numbers), key, state, chunk)

    return jax.vmap(one, in_axes=(Shared(same=None, own=0), 0, 0))(numbers, keys, states)


def _steps(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:

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

        pool = state.pool
        if not loop.direct:
            pool = jax.lax.fori_loop(0, lane["stores"], store, jax.tree.map(keep, pool, fresh))
        asking, mixing = (
            {name: ring.take(column, index) for name, column in chunk[kind].items()} for kind in ("asking", "mixing")
        )
        return _rows(loop, numbers, asking, mixing, State(pool=pool, rule_state=state.rule_state), fresh)

    return jax.lax.fori_loop(0, chunk["steps"], step, state)


def _rows(loop: Loop, numbers: Numbers, asking: _Columns, mixing: _Columns, state: State, fresh: optax.Updates) -> State:
    """Rows that do not need each other: all read before any writes."""

    def total(name: str, slots: jax.Array, weights: jax.Array) -> optax.Params:  # both (rows, M)
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

    def write(place: jax.Array, state: State) -> State:
        # Beyond its end a kind writes its last place once more.
        asks, mixes = (jnp.minimum(place, len(rows["write_slot"]) - 1) for rows in (asking, mixing))
        rule_state = ring.write(state.rule_state, asking["node"][asks], ring.read(changed, asks))
        pool = ring.write(state.pool, asking["write_slot"][asks], ring.read(new, asks))
        if len(mixing["write_slot"]):
            pool = ring.write(pool, mixing["write_slot"][mixes], ring.read(mixed, mixes))
        return State(pool=pool, rule_state=rule_state)

    # Not fused with the update, whose rounding is then that of plain Optax.
    pushed = (
        jax.lax.optimization_barrier(fresh) if loop.direct else total("push", asking["push_slot"], asking["push_weight"])
    )
    told = {"worker": asking["node"], **{name: asking[name] for name in ("step", "time", "duration")}}
    mine = ring.gather(state.rule_state, asking["node"])
    base = total("mix", asking["mix_slot"], asking["mix_weight"])
    new, changed = jax.vmap(update)(base, pushed, mine, told)
    mixed = total("mixing", mixing["mix_slot"], mixing["mix_weight"])
    # One loop for all: with two, XLA would copy the pool, lest the sums be formed too late.
    return jax.lax.fori_loop(0, jnp.maximum(asking["count"], mixing["count"]), write, state)


@functools.partial(jax.jit, static_argnames="metrics")
def measure_many(
    metrics: Program, numbers: Shared, pools: optax.Params, slots: jax.Array
) -> tuple[Mapping[str, jax.Array], jax.Array]:
    """What :func:`measure` finds, of several runs."""

    def one(numbers: Shared, pool: optax.Params) -> tuple[Mapping[str, jax.Array], jax.Array]:
        return measure(metrics, whole(numbers), pool, slots)

    return jax.vmap(one, in_axes=(Shared(same=None, own=0), 0))(numbers, pools)


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
    due = (plan.applied >= begin) & (plan.applied < end)

    def rows_of(asks: bool, width: int, told: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = np.flatnonzero(due & (execution.asks == asks))
        rank, place = (np.cumsum(execution.asks == asks) - 1)[rows], (plan.applied[rows] - begin, plan.place[rows])
        table = {name: padded(column[rows], place, width) for name, column in told.items()}
        table["count"] = np.bincount(place[0], minlength=steps).astype(np.int32)
        table["node"] = padded(execution.node[rows], place, width, execution.num_nodes)
        table["write_slot"] = padded(plan.write_slot[rows], place, width, plan.slots)
        for name in ("mix", "push")[: 1 + asks]:
            slots, weights = _terms(plan, name, asks)
            table[f"{name}_slot"] = padded(slots[rank], place, width, plan.slots)
            table[f"{name}_weight"] = padded(weights[rank], place, width)
        return table

    told = {"step": _calls_before(plan), "time": execution.time, "duration": execution.time - execution.start}
    asking, mixing = rows_of(True, plan.asking, told), rows_of(False, plan.mixing, {})
    return {
        "lanes": lanes,
        "asking": asking,
        "mixing": mixing,
        "lane_slot": np.int32(plan.slots + 1),
        "steps": np.int32(end - begin),
    }


@functools.lru_cache(maxsize=8)
def _terms(plan: Plan, name: str, asks: bool) -> tuple[np.ndarray, np.ndarray]:
    """(rows, M) slots and weights of the values that the rows of a kind add up; slot S with weight 0 where there is none."""
    kind = plan.execution.asks == asks
    first = getattr(plan.execution, f"{name}_first")
    counts, begins = np.diff(first)[kind], first[:-1][kind]
    which = begins[:, None] + np.arange(max(int(counts.max(initial=0)), 1))
    inside = which < (begins + counts)[:, None]
    slots, weights = np.full(which.shape, plan.slots, np.int32), np.zeros(which.shape)
    slots[inside] = getattr(plan, f"{name}_slot")[which[inside]]
    weights[inside] = getattr(plan.execution, f"{name}_weight")[which[inside]]
    # A term that a row does not have is its first one, which lies where the row reads anyway.
    return np.where(inside, slots, slots[:, :1]), weights


@functools.lru_cache(maxsize=4)
def _calls_before(plan: Plan) -> np.ndarray:
    """(K,) how often each row's node has asked the rule before."""
    asks = plan.execution.asks
    order = np.argsort(plan.execution.node, kind="stable")
    counts: np.ndarray = np.cumsum(asks[order]) - asks[order]
    node = plan.execution.node[order]
    begins = np.searchsorted(node, np.arange(plan.execution.num_nodes))
    before = np.empty(len(order), np.int32)
    before[order] = counts - counts[np.minimum(begins, len(order) - 1)][node]
    return before
