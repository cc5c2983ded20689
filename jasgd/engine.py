"""The compiled loop: a pair of pure functions, ``init`` and ``step``.

One call of :func:`step` runs one chunk of a plan. Within it, jobs are sampled in blocks ahead of time (a sample never
depends on the parameters), then each step computes the gradients of its lanes together and applies, in order, the
deliveries that are ready; for linear rules on accelerators all at once (:mod:`jasgd.at_once`). Nothing depends on the
number of workers except the sizes of arrays.

Compiled once per structure: of the gradient, the rule and the shapes. Step sizes, data, seeds and schedules are arguments.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import at_once, ring
from jasgd.chunks import ring_rows
from jasgd.copied import copied
from jasgd.extra_args import EXTRA_ARGS
from jasgd.flat import launches_cost
from jasgd.keys import job_key
from jasgd.layout import Layout
from jasgd.linear import Linear
from jasgd.plan import Plan
from jasgd.precision import as_dtypes, rounded, snapshots_of
from jasgd.program import Program
from jasgd.read_models import ReadModel, read_key
from jasgd.rules._rows import sum_dtype
from jasgd.rules.sent import sent_params
from jasgd.traced import Numbers, Traced, traced, tree_bytes, with_rule

__all__ = ["Loop", "Numbers", "State", "Traced", "init", "loop_of", "step", "traced", "tree_bytes", "with_rule"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What the next step needs."""

    params: optax.Params  # the server's current point
    rule_state: optax.OptState
    ring: optax.Params  # leaves (rows, *leaf.shape): snapshots and gradients that somebody still needs, in their dtype
    sent: optax.Params | None  # the same slots, for a rule that sends workers elsewhere than to the server's point
    gathered: optax.Updates | None  # weighted sum of the gradients of an unfinished step, for rules that see only sums


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loop:
    """Everything that makes a compiled loop another one; equal loops are compiled once.

    Attributes:
      sample, gradient, rule: the programs of a problem and a rule.
      extra_args: names of the extra arguments that the rule looks at.
      lanes: gradients per step.
      block: steps that are sampled together.
      stores: some gradients are computed before their turn.
      gathers: some rows do not step by themselves.
      weighted: some weights are not one.
      whole_rounds: every step is one server step.
      common_point: and all its gradients are taken at the server's current point.
      padded: some rows are no deliveries: other runs of the same batch are longer.
      copies: runs of one lane that share their samples have copies of them (:mod:`jasgd.copied`).
      read_model: what a worker reads, if not one version.
      layout: how lanes and parameters lie on several devices.
      linear: the rule's linear form, if the deliveries of a step are applied at once.
    """

    sample: Program
    gradient: Program
    rule: Program
    extra_args: tuple[str, ...]
    lanes: int
    block: int
    stores: bool
    gathers: bool
    weighted: bool
    whole_rounds: bool
    common_point: bool
    padded: bool = False
    copies: bool = False
    read_model: ReadModel | None = None
    layout: Layout | None = None
    linear: Linear | None = None


def init(program: Traced, plan: Plan, *, layout: Layout | None = None) -> State:
    """The state at version 0. Arrays are copied, so that later states may reuse the memory of earlier ones."""
    rows = ring_rows(plan)
    if rows <= plan.slots:
        raise RuntimeError(f"the ring has {rows} rows for {plan.slots} slots. Please report this schedule.")
    sizes = {"rows": rows, "gathers": gathers(program, plan), "sends": program.sends}
    return _init(program.params, program.rule_state, **sizes, dtype=program.snapshot_dtype, layout=layout)


@functools.partial(jax.jit, static_argnames=("rows", "gathers", "sends", "dtype", "layout"))
def _init(params: optax.Params, rule_state: optax.OptState, *, layout: Layout | None, **static: Any) -> State:
    state = state_of(*jax.tree.map(jnp.copy, (params, rule_state)), **static)
    if layout is None:
        return state
    return dataclasses.replace(
        state,
        params=layout.of_params(state.params),
        rule_state=layout.of_params(state.rule_state),
        ring=layout.of_params(state.ring, stacked=1),
        sent=layout.of_params(state.sent, stacked=1),
        gathered=layout.of_params(state.gathered),
    )


def state_of(
    params: optax.Params,
    rule_state: optax.OptState,
    *,
    rows: int,
    gathers: bool,
    sends: bool,
    dtype: np.dtype[Any] | None = None,
) -> State:
    """The state at version 0; ``dtype`` is that of the snapshots."""
    stored = functools.partial(as_dtypes, like=snapshots_of(params, dtype))
    return State(
        params=params,
        rule_state=rule_state,
        ring=ring.init(stored(params), rows),
        sent=ring.init(stored(sent_params(rule_state, params)), rows) if sends else None,
        gathered=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, sum_dtype(leaf)), params) if gathers else None,
    )


def loop_of(
    program: Traced,
    plan: Plan,
    *,
    sample_bytes: int = 2**19,
    most_samples: int = 64,
    layout: Layout | None = None,
    runs: int = 1,
) -> Loop:
    """The loop that computes a plan, of so many runs; samples are drawn in blocks that fit into a cache."""
    jobs = max(1, min(most_samples, sample_bytes // max(program.batch_bytes, 1)))
    linear = program.linear if plan.lanes > 1 and not _whole_rounds(program, plan) else None
    block = jobs // plan.lanes if linear is None else at_once.steps_ahead(program, plan) // runs
    return Loop(
        sample=program.sample,
        gradient=program.gradient,
        rule=program.rule,
        extra_args=program.extra_args,
        lanes=plan.lanes,
        block=max(1, min(block, plan.chunk_steps)),
        stores=bool((plan.gradient_slot >= 0).any()),
        gathers=gathers(program, plan),
        weighted=not (_whole_rounds(program, plan) or _sees_every_row(program)) and bool((plan.schedule.weight != 1).any()),
        whole_rounds=_whole_rounds(program, plan),
        common_point=_whole_rounds(program, plan) and not program.sends and not plan.schedule.delay.any(),
        copies=runs > 1 and plan.lanes == 1 and not launches_cost() and program.batch_bytes < tree_bytes(program.params),
        read_model=program.read_model if plan.window else None,
        layout=layout,
        linear=linear,
    )


def _sees_every_row(program: Traced) -> bool:
    """A rule that asks for ``apply`` gets every gradient as it came; the others the weighted sum of a server step."""
    return "apply" in program.extra_args


def _whole_rounds(program: Traced, plan: Plan) -> bool:
    return plan.whole_rounds and not _sees_every_row(program)


def gathers(program: Traced, plan: Plan) -> bool:
    """Some rows do not step by themselves, and the rule is only to see their sum."""
    return not (plan.whole_rounds or _sees_every_row(program) or bool(plan.schedule.apply.all()))


@functools.partial(jax.jit, static_argnames="loop", donate_argnames="state")
def step(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:
    """Run one chunk of a plan."""
    return run_chunk(loop, numbers, key, state, chunk)


def run_chunk(loop: Loop, numbers: Numbers, key: jax.Array, state: State, chunk: Mapping[str, Any]) -> State:
    """What :func:`step` compiles."""
    lanes = chunk["lanes"]

    def block(index: jax.Array, state: State) -> State:
        mine = jax.tree.map(lambda a: ring.take(a, index), lanes)
        batches = _sample(loop, numbers, key, mine["worker"], mine["job"])
        begin = index * loop.block
        if loop.linear is not None:
            ahead = jax.tree.map(lambda a: ring.take(a, index), chunk["ahead"])
            mine["made_of"], rest = at_once.coefficients(loop, loop.linear, numbers, state.rule_state.rest, ahead)
            state = dataclasses.replace(state, rule_state=state.rule_state._replace(rest=rest))

        def one(inner: jax.Array, state: State) -> State:
            now, batch = begin + inner, jax.tree.map(lambda a: ring.take(a, inner), batches)
            if loop.lanes == 1:
                return _single(loop, numbers, state, _row(chunk["rows"], now), batch)
            lane = jax.tree.map(lambda a: ring.take(a, inner), mine)
            if loop.linear is not None:
                return at_once.step(loop, numbers, state, lane, batch)
            first = chunk["first"]
            if loop.whole_rounds:
                return _round(loop, numbers, state, chunk["rows"], first[now], lane, batch)
            return _lanes(loop, numbers, state, chunk["rows"], first[now], first[now + 1], lane, batch)

        return jax.lax.fori_loop(0, jnp.minimum(loop.block, chunk["steps"] - begin), one, state)

    return jax.lax.fori_loop(0, -(-chunk["steps"] // loop.block), block, state)


def _sample(loop: Loop, numbers: Numbers, key: jax.Array, worker: jax.Array, job: jax.Array) -> Any:
    """Batches of all lanes of a block; leaves (block, W, ...). A job's randomness is (key, worker, job)."""

    def one(worker: jax.Array, job: jax.Array) -> Any:
        mine = job_key(key, worker, job)
        batch = loop.sample(numbers.sample, mine, worker)
        return batch if loop.read_model is None else (batch, read_key(mine))

    flat = jax.vmap(one)(worker.ravel(), job.ravel())
    flat = jax.lax.optimization_barrier(flat)  # XLA on CPU would draw the numbers again wherever they are used
    return jax.tree.map(lambda leaf: leaf.reshape(*worker.shape, *leaf.shape[1:]), flat)


def _computed_at(state: State) -> optax.Params:
    """The ring with the points at which workers compute."""
    return state.ring if state.sent is None else state.sent


def _read(loop: Loop, state: State, at: Mapping[str, jax.Array], batch: Any) -> tuple[optax.Params, Any]:
    """The point at which a job computes, and its batch."""
    if loop.read_model is None:
        return ring.numbers(ring.read(_computed_at(state), at["read_slot"])), batch
    batch, key = batch
    versions = as_dtypes(ring.numbers(ring.gather(_computed_at(state), at["seen_slots"])), state.params)
    return rounded(loop.read_model.form(key, versions, at["delay"]), _snapshots(state)), batch


def _snapshots(state: State) -> Any:
    """The dtypes of snapshots."""
    return jax.eval_shape(ring.numbers, state.ring)


def _read_all(loop: Loop, state: State, lane: Mapping[str, jax.Array], batch: Any) -> tuple[optax.Params, Any]:
    """The same for all lanes."""
    if loop.read_model is None:
        return ring.numbers(ring.gather(_computed_at(state), lane["read_slot"])), batch
    at = {name: lane[name] for name in ("seen_slots", "delay")}
    return jax.vmap(functools.partial(_read, loop, state))(at, batch)


def _row(rows: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
    return {name: ring.take(column, index) for name, column in rows.items()}


def _single(loop: Loop, numbers: Numbers, state: State, row: Mapping[str, jax.Array], batch: Any) -> State:
    """One lane: step k computes and delivers the k-th gradient."""
    batch = jax.tree.map(lambda leaf: leaf[0], batch)
    if loop.copies:
        batch = copied(batch, state.params)
    snapshot, batch = _read(loop, state, row, batch)
    gradient = loop.gradient(numbers.gradient, snapshot, batch)
    new = _deliver(loop, numbers, state, row, gradient, snapshot)
    if not loop.padded:
        return new
    # What a row that is no delivery writes into the ring goes where nobody looks.
    keep = functools.partial(jax.tree.map, functools.partial(jnp.where, row["real"]))
    return dataclasses.replace(
        new,
        params=keep(new.params, state.params),
        rule_state=keep(new.rule_state, state.rule_state),
        gathered=keep(new.gathered, state.gathered),
    )


def _lanes(
    loop: Loop, numbers: Numbers, state: State, rows: Any, begin: jax.Array, end: jax.Array, lane: Any, batch: Any
) -> State:
    """W gradients at once, then all deliveries that are ready, one after the other."""
    snapshots, batch = _read_all(loop, state, lane, batch)
    if loop.layout is not None:
        snapshots, batch = loop.layout.of_params(snapshots, stacked=1, over_lanes=True), loop.layout.over_lanes(batch)
    gradients = jax.vmap(functools.partial(loop.gradient, numbers.gradient))(snapshots, batch)
    if loop.layout is not None:
        gradients = loop.layout.of_params(gradients, stacked=1)

    def deliver_fresh(index: jax.Array, state: State) -> State:
        row = _row(rows, index)
        return _deliver(loop, numbers, state, row, ring.read(gradients, row["lane"]), None)

    if not loop.stores:
        return jax.lax.fori_loop(begin, end, deliver_fresh, state)

    def store(index: jax.Array, slots: optax.Params) -> optax.Params:
        slot, gradient = lane["store_slot"][index], ring.read(gradients, lane["store_lane"][index])
        return ring.write(slots, slot, ring.stored(gradient, slots))

    def deliver_any(index: jax.Array, state: State) -> State:
        row = _row(rows, index)
        fresh, waiting = ring.read(gradients, row["lane"]), ring.numbers(ring.read(state.ring, row["waiting_slot"]))
        gradient = jax.tree.map(functools.partial(jnp.where, row["fresh"]), fresh, waiting)
        return _deliver(loop, numbers, state, row, gradient, None)

    # Few steps have gradients that wait: these loops mostly run zero times, which costs next to nothing.
    state = dataclasses.replace(state, ring=jax.lax.fori_loop(0, lane["stores"], store, state.ring))
    middle = jnp.where(lane["all_fresh"], end, begin)
    state = jax.lax.fori_loop(begin, middle, deliver_fresh, state)
    return jax.lax.fori_loop(middle, end, deliver_any, state)


def _round(loop: Loop, numbers: Numbers, state: State, rows: Any, begin: jax.Array, lane: Any, batch: Any) -> State:
    """A whole server step: the weighted sum of W gradients, each at its own snapshot."""
    gradient_at = functools.partial(loop.gradient, numbers.gradient)
    if loop.layout is not None:
        batch = loop.layout.over_lanes(batch)
    if loop.common_point:  # one point for all lanes: many small products become one large one
        gradients = jax.vmap(gradient_at, in_axes=(None, 0))(rounded(state.params, _snapshots(state)), batch)
    else:
        gradients = jax.vmap(gradient_at)(*_read_all(loop, state, lane, batch))
    gradients = as_dtypes(gradients, state.params)
    if loop.layout is not None:
        gradients = loop.layout.of_params(gradients, stacked=1, over_lanes=True)
    weight = jax.lax.dynamic_slice_in_dim(rows["weight"], begin, loop.lanes)

    def weighted_sum(g: jax.Array) -> jax.Array:  # not a product: XLA fuses sums with what makes the gradients
        w = weight.astype(sum_dtype(g)).reshape(-1, *(1,) * (g.ndim - 1))
        return jnp.sum(w * g.astype(sum_dtype(g)), axis=0).astype(g.dtype)

    gradient = jax.tree.map(weighted_sum, gradients)
    row = _row({name: column for name, column in rows.items() if name != "weight"}, begin + loop.lanes - 1)
    return _deliver(loop, numbers, state, row, gradient, None)


def _deliver(
    loop: Loop, numbers: Numbers, state: State, row: Mapping[str, jax.Array], gradient: Any, snapshot: Any
) -> State:
    """Use one gradient: gather it, or step with it and keep the new version where its readers will look."""
    gradient = as_dtypes(gradient, state.params)
    if not loop.gathers:
        if "weight" in row:
            gradient = jax.tree.map(lambda g: (row["weight"] * g.astype(sum_dtype(g))).astype(g.dtype), gradient)
        return _update(loop, numbers, state, row, gradient, snapshot)
    weight = row.get("weight", jnp.float32(1))
    gathered = jax.tree.map(
        lambda total, g: total + weight.astype(total.dtype) * g.astype(total.dtype), state.gathered, gradient
    )

    def apply() -> State:
        whole = jax.tree.map(lambda total, g: total.astype(g.dtype), gathered, gradient)
        new = _update(loop, numbers, state, row, whole, snapshot)
        return dataclasses.replace(new, gathered=jax.tree.map(jnp.zeros_like, gathered))

    return jax.lax.cond(row["apply"], apply, lambda: dataclasses.replace(state, gathered=gathered))


def _update(loop: Loop, numbers: Numbers, state: State, row: Mapping[str, jax.Array], gradient: Any, snapshot: Any) -> State:
    zero = jnp.zeros(())
    extra = {name: row.get(name, zero) for name in EXTRA_ARGS}
    stale = state.params if snapshot is None else as_dtypes(snapshot, state.params)
    updates, rule_state = loop.rule(numbers.rule, gradient, state.rule_state, state.params, extra, stale)
    if "apply" in loop.extra_args:  # such a rule returns zero for rows that are only gathered; here they are
        updates = jax.tree.map(lambda u: jnp.where(row["apply"], u, jnp.zeros_like(u)), updates)
    params = optax.apply_updates(state.params, updates)
    if loop.layout is not None:
        params = loop.layout.of_params(params)
    versions, sent = ring.write(state.ring, row["write_slot"], ring.stored(params, state.ring)), state.sent
    if sent is not None:
        sent = ring.write(sent, row["write_slot"], ring.stored(sent_params(rule_state, params), sent))
    return State(
        params=params,
        rule_state=rule_state,
        ring=versions,
        sent=sent,
        gathered=state.gathered,
    )
