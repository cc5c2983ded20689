"""Delays inside an ordinary training loop: any Optax optimizer, fed with gradients that were held back.

The loop stays what it is, a gradient at the current parameters, ``tx.update``, ``optax.apply_updates``; the optimizer keeps
the gradients in a ring in its state until their time has come. With a schedule the state also says whose data comes next,
so that a loop over Flax's ``nnx.Optimizer`` computes exactly what :func:`jasgd.simulate` computes::

    init_key, jobs_key = jasgd.split_key(key)  # the key of `simulate`; the model starts from `problem.init(init_key)`
    tx = jasgd.delayed(optax.adam(1e-3), schedule=schedule)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for _ in range(jasgd.delayed_calls(schedule)):
        worker, job = optimizer.opt_state.next_worker[...], optimizer.opt_state.next_job[...]
        batch = problem.sample(jasgd.job_key(jobs_key, worker, job), worker)
        optimizer.update(model, nnx.grad(loss)(model, batch))

Without nnx it is ``state.next_worker``, and inside ``optax.chain`` ``optax.tree.get(state, "next_worker")``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jasgd._checks import require_type, said
from jasgd._held import Order, constant, empty, put, scheduled, slots_of_leaves, take
from jasgd.extra_args import EXTRA_ARGS
from jasgd.inputs import check_schedule
from jasgd.program import trace
from jasgd.rules._rows import sum_dtype
from jasgd.rules.sent import sent_params
from jasgd.schedule import Schedule


class DelayedState(NamedTuple):
    """State of :func:`delayed`.

    Example:
      >>> state = jasgd.delayed(optax.sgd(0.1), delay=2).init(jnp.ones(5))
      >>> state.held_gradients.shape, int(state.version), int(state.next_worker)
      ((3, 5), 0, 0)
    """

    inner_state: optax.OptState  # of what is delayed
    held_gradients: optax.Updates  # leaves (S, *leaf.shape), dtype of the parameters; S = 0 if nothing is ever held
    held_params: optax.Params | None  # the same for where they were computed; None unless `stale_params`
    calls: jax.Array  # (), int32, gradients that came in so far
    version: jax.Array  # (), int32, steps of the inner optimizer so far
    next_worker: jax.Array | None  # (), int32, whose gradient the next call expects; None where there are no workers
    next_job: jax.Array | None  # (), int32, and which of its jobs


def delayed(
    tx: optax.GradientTransformation,
    *,
    delay: int | Any | Callable[[jax.Array], jax.Array] | None = None,
    max_delay: int | None = None,
    schedule: Schedule | None = None,
    stale_params: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Delay the gradients of any Optax optimizer, in any training loop. Exactly one of ``delay`` and ``schedule``.

    - ``delay=d``: call t gives the optimizer the gradient of call t - d. During the first d calls it is not called: its
      state does not move, updates are zero. This is asynchronous SGD with d + 1 workers of equal speed; the delays are
      :math:`\min(v, d)` at version v. With d = 0 it is the optimizer itself.
    - ``delay=function``: step t uses the gradient of step :math:`\max(t - d(t), 0)`, d(t) in 0, ..., ``max_delay``, for
      papers that draw the staleness itself: a gradient may be used several times or never. One step in every call.
      A value out of range cannot raise in a compiled loop; it makes the updates NaN.
    - ``delay=tree``: whole numbers like the parameters, or like an upper part of their tree, e.g. per pipeline stage.
      Every leaf has its own delay; what is not there yet counts as zero. One step in every call.
    - ``schedule=s``: every gradient is held until the schedule delivers it: the same steps as ``jasgd.simulate``, if the
      loop computes each gradient with the data of ``state.next_worker`` and ``state.next_job``. The jobs that read a
      version are computed one after the other, in the order of their use; in the last of these calls all rows of the
      next server step are delivered, in all others updates are zero and the optimizer's state does not move. A version
      that no row reads takes one call whose gradient is not used: :func:`calls` says how many calls there are. After
      the last one, updates are zero; ``state.version`` has reached ``schedule.updates``. Rows that are gathered are
      summed with their weights, in single precision at least; an optimizer that looks at ``apply`` sees every row.

    Args:
      tx: what is delayed. With ``delay=d`` and ``schedule`` it is offered the extra arguments ``worker``, ``delay``,
        ``step``, ``duration``, ``time`` and ``apply`` that it would see in ``jasgd.simulate``, with a function all of
        them but ``worker``, with a tree ``step`` alone. Other extra arguments of the caller are passed on.
      delay: calls that every gradient is held.
      max_delay: the largest value of a ``delay`` that is a function.
      schedule: who delivers what when.
      stale_params: also offer the point where the gradient was computed, which takes a second ring.

    Returns:
      A transformation with :class:`DelayedState`. Its ring holds d + 1, ``max_delay`` + 1, or as many gradients as the
      schedule has under way at once. Donate the state (``jax.jit(step, donate_argnums=...)``), or every call copies it.

    Example:
      >>> tx = jasgd.delayed(optax.sgd(0.5), delay=1)
      >>> params, path = jnp.float32(1.0), []
      >>> state = tx.init(params)
      >>> for _ in range(4):
      ...     updates, state = tx.update(jax.grad(jnp.square)(params), state, params)
      ...     params = optax.apply_updates(params, updates)
      ...     path.append(float(params))
      >>> path
      [1.0, 0.0, -1.0, -1.0]

      Delays that are drawn, and a schedule:

      >>> key = jax.random.key(0)
      >>> draw = lambda step: jax.random.randint(jax.random.fold_in(key, step), (), 0, 17)
      >>> tx = jasgd.delayed(optax.adam(1e-3), delay=draw, max_delay=16)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 1.7]), 100)
      >>> tx = jasgd.delayed(optax.adam(1e-3), schedule=schedule)
      >>> tx.init(jnp.ones(3)).next_worker, jasgd.delayed_calls(schedule)
      (Array(0, dtype=int32), 101)
    """
    _check(tx, delay, max_delay, schedule, stale_params)
    tx = optax.with_extra_args_support(tx)
    if schedule is not None:
        return _in_order(tx, scheduled(schedule), stale_params)
    if callable(delay):
        return _by_function(tx, delay, int(max_delay or 0), stale_params)
    if isinstance(delay, int | np.integer):
        return _in_order(tx, constant(int(delay)), stale_params)
    return _by_leaf(tx, delay)


def calls(schedule: Schedule) -> int:
    """Calls of ``update`` that a schedule takes in :func:`delayed`: its rows, and one per version that no row reads.

    Example:
      >>> jasgd.delayed_calls(jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100))
      103
    """
    check_schedule(schedule)
    return len(schedule) + schedule.updates - len(np.unique(schedule.read))


def _in_order(
    tx: optax.GradientTransformationExtraArgs, order: Order, stale_params: bool
) -> optax.GradientTransformationExtraArgs:
    """Hold every gradient until it is delivered."""

    def init_fn(params: optax.Params) -> DelayedState:
        return _start(tx, params, order.slots, stale_params, *order.job(jnp.zeros([], jnp.int32)))

    def update_fn(updates: Any, state: DelayedState, params: Any = None, **extra_args: Any) -> Any:
        newest = _newest(updates, state, params, stale_params)
        held = put((state.held_gradients, state.held_params), order.slot(state.calls), newest)

        def weighted(row: dict[str, jax.Array]) -> Any:
            """A row's gradient times its weight, in the precision of sums."""
            gradient = jax.tree.map(lambda g: g.astype(sum_dtype(g)), take(held[0], row["slot"], updates))
            return jax.tree.map(lambda g: row["weight"].astype(g.dtype) * g, gradient) if "weight" in row else gradient

        def as_it_came(row: dict[str, jax.Array]) -> Any:
            return take(held[0], row["slot"], updates)

        def step(row: dict[str, jax.Array], gradient: Any, inner_state: Any) -> Any:
            own: dict[str, Any] = {name: row[name] for name in EXTRA_ARGS if name != "step"} | {"step": state.version}
            if stale_params:
                own["stale_params"] = take(held[1], row["slot"], newest[1])
            gradient = jax.tree.map(lambda g, new: g.astype(new.dtype), gradient, updates)
            return tx.update(gradient, inner_state, params, **(extra_args | own))

        def use() -> Any:
            """One server step: updates and inner state."""
            first_row = order.row(state.version)
            program, _ = trace(
                lambda apply: step(first_row | {"apply": apply}, updates, state.inner_state), jnp.asarray(True)
            )
            sees_every_row = program.used[0]

            def one_row(index: jax.Array, inner_state: Any) -> Any:
                row = order.row(index)
                return step(row, as_it_came(row) if sees_every_row else weighted(row), inner_state)

            if order.rows is None:
                return one_row(state.version, state.inner_state)
            begin, end = order.rows(state.version)
            if sees_every_row:  # it returns zero for all rows but the last
                zero = _zeros(updates, jax.eval_shape(one_row, begin, state.inner_state)[0])
                return jax.lax.fori_loop(begin, end, lambda i, last: one_row(i, last[1]), (zero, state.inner_state))
            zero = jax.tree.map(lambda g: jnp.zeros_like(g, sum_dtype(g)), updates)
            total = jax.lax.fori_loop(begin, end, lambda i, total: optax.tree.add(total, weighted(order.row(i))), zero)
            return step(order.row(end - 1), total, state.inner_state)

        def wait() -> Any:
            return _zeros(updates, jax.eval_shape(use)[0]), state.inner_state

        delivers = order.delivers(state.calls)
        new_updates, inner_state = use() if delivers is True else jax.lax.cond(delivers, use, wait)
        return new_updates, _after(state, inner_state, held, delivers, *order.job(state.calls + 1))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _by_function(
    tx: optax.GradientTransformationExtraArgs, delay: Callable[[jax.Array], jax.Array], max_delay: int, stale_params: bool
) -> optax.GradientTransformationExtraArgs:
    """One step per call, with the gradient of an earlier one."""
    slots = max_delay + 1

    def update_fn(updates: Any, state: DelayedState, params: Any = None, **extra_args: Any) -> Any:
        step = state.calls
        drawn = jnp.asarray(delay(step))
        if drawn.shape != () or not jnp.issubdtype(drawn.dtype, jnp.integer):
            raise ValueError(f"`delay` must return one whole number, got {drawn.dtype}{list(drawn.shape)}.")
        drawn = drawn.astype(jnp.int32)
        age = jnp.minimum(jnp.clip(drawn, 0, max_delay), step)
        newest = _newest(updates, state, params, stale_params)
        held = put((state.held_gradients, state.held_params), step % slots, newest)
        gradient, stale = take(held, (step - age) % slots, newest)
        own: dict[str, Any] = {"delay": age, "step": step, "apply": jnp.asarray(True)}
        own |= {"duration": jnp.asarray(age + 1, float), "time": jnp.asarray(step + 1, float)}
        own |= {"stale_params": stale} if stale_params else {}
        new_updates, inner_state = tx.update(gradient, state.inner_state, params, **(extra_args | own))
        inside = (drawn >= 0) & (drawn <= max_delay)
        return jax.tree.map(lambda u: jnp.where(inside, u, jnp.nan), new_updates), _after(state, inner_state, held)

    return optax.GradientTransformationExtraArgs(lambda params: _start(tx, params, slots, stale_params), update_fn)


def _by_leaf(tx: optax.GradientTransformationExtraArgs, delay: Any) -> optax.GradientTransformationExtraArgs:
    """One step per call, with gradients whose leaves are of different age."""

    def init_fn(params: optax.Params) -> DelayedState:
        pure = nnx.as_pure(params)
        held = jax.tree.map(empty, pure, slots_of_leaves(nnx.as_pure(delay), pure))
        return _start(tx, params, 1, False)._replace(held_gradients=held)

    def update_fn(updates: Any, state: DelayedState, params: Any = None, **extra_args: Any) -> Any:
        def slot(rows: jax.Array, call: jax.Array) -> jax.Array:
            return call % max(len(rows), 1)

        held = jax.tree.map(lambda rows, g: put(rows, slot(rows, state.calls), g), state.held_gradients, updates)
        # The place that is overwritten next holds the oldest, and zero until there is one.
        gradient = jax.tree.map(lambda rows, g: take(rows, slot(rows, state.calls + 1), g), held, updates)
        new_updates, inner_state = tx.update(gradient, state.inner_state, params, **(extra_args | {"step": state.calls}))
        return new_updates, _after(state, inner_state, (held, None))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _start(
    tx: optax.GradientTransformation, params: Any, slots: int, stale_params: bool, worker: Any = None, job: Any = None
) -> DelayedState:
    # Without the annotations of nnx variables: a sharding that they prescribe is for arrays of one dimension less.
    pure = nnx.as_pure(params)
    return DelayedState(
        inner_state=tx.init(params),
        held_gradients=jax.tree.map(lambda p: empty(p, slots), pure),
        held_params=jax.tree.map(lambda p: empty(p, slots), pure) if stale_params else None,
        calls=jnp.zeros([], jnp.int32),
        version=jnp.zeros([], jnp.int32),
        next_worker=worker,
        next_job=job,
    )


def _after(
    state: DelayedState, inner_state: Any, held: Any, stepped: Any = True, worker: Any = None, job: Any = None
) -> DelayedState:
    return DelayedState(
        inner_state=inner_state,
        held_gradients=held[0],
        held_params=held[1],
        calls=optax.safe_increment(state.calls),
        version=state.version + jnp.asarray(stepped, jnp.int32),
        next_worker=worker,
        next_job=job,
    )


def _newest(updates: Any, state: DelayedState, params: Any, stale_params: bool) -> Any:
    """The gradient that comes in, and where it was computed if anybody wants to know."""
    if stale_params and params is None:
        raise ValueError("`stale_params` needs the parameters: update(gradients, state, params).")
    return updates, sent_params(state.inner_state, params) if stale_params else None


def _zeros(like: Any, shapes: Any) -> Any:
    """Zeros with the dtypes of ``shapes``, laid out over devices like ``like``."""
    return jax.tree.map(lambda leaf, shape: jnp.zeros_like(leaf, shape.dtype), like, shapes)


def _check(tx: Any, delay: Any, max_delay: Any, schedule: Any, stale_params: bool) -> None:
    def whole(value: Any) -> bool:
        return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)

    require_type("tx", tx, optax.GradientTransformation, "an Optax transformation such as optax.adam(1e-3)")
    if (delay is None) == (schedule is None):
        raise ValueError("give either `delay` or `schedule`, and not both.")
    if callable(delay):
        if not whole(max_delay):
            raise ValueError(f"a `delay` that is a function needs `max_delay`, a whole number from 0 on, got {max_delay!r}.")
        return
    if max_delay is not None:
        raise ValueError(f"`max_delay` is for a `delay` that is a function, got {delay!r}.")
    if schedule is not None:
        check_schedule(schedule)
        return
    numbers = jax.tree.leaves(delay)
    if not numbers or not all(whole(number) for number in numbers):
        raise ValueError(
            f"`delay` must be a whole number from 0 on, or a tree of them like the parameters, got {said(delay)}."
        )
    if stale_params and not whole(delay):
        raise ValueError("`stale_params` needs one delay for all leaves: with a tree they were not computed at one point.")
