"""The loops in JAX that the engine is measured against.

Each function compiles a loop and returns it: a function without arguments that runs all of it once, waits until it is
done, and returns where it ended. Samples pass an optimization barrier, without which XLA on CPU would draw the same
random numbers again wherever a gradient uses them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jasgd
from jasgd.keys import job_key

Run = Callable[[], optax.Params]


def lanes_limit(problem: jasgd.Problem, width: int, steps: int, *, params: optax.Params, key: jax.Array) -> Run:
    """Bare gradients, ``width`` per step at as many snapshots: no delays, no order, no rule; only their sum is kept.

    What the engine could reach if everything but the gradients and their samples were free.
    """
    data_of = jnp.arange(width) % (problem.num_workers or width)

    def run(snapshots: optax.Params, key: jax.Array) -> optax.Updates:
        def step(carry: tuple, index: jax.Array) -> tuple[tuple, None]:
            # Tied to the index: snapshots that never change would let the compiler move gradients out of the loop.
            snapshots, index = jax.lax.optimization_barrier((carry[0], index))

            def sample(lane: jax.Array, worker: jax.Array) -> jasgd.problems.problem.Batch:
                return problem.sample(job_key(key, lane, index), worker)

            batches = jax.lax.optimization_barrier(_mapped(sample, width)(jnp.arange(width), data_of))
            gradients = _mapped(problem.gradient, width)(snapshots, batches)
            total = jax.tree.map(lambda t, g: t + g.sum(0), carry[1], gradients)
            return (snapshots, total), None

        zeros = jax.tree.map(lambda rows: jnp.zeros_like(rows[0]), snapshots)
        return jax.lax.scan(step, (snapshots, zeros), jnp.arange(steps))[0][1]

    return _compiled(run, _rows(params, width), key)


def jax_scan(
    problem: jasgd.Problem,
    rule: optax.GradientTransformation,
    schedule: jasgd.Schedule,
    *,
    params: optax.Params,
    key: jax.Array,
    job_keys: bool = False,
) -> Run:
    """Asynchronous SGD in one scan over the deliveries, whose order is known, with a snapshot of every worker.

    Args:
      problem, rule: what is minimised, and how.
      schedule: one of ``asynchronous``, each worker starting anew from the version that its delivery made.
      params: where to start.
      key: of the samples.
      job_keys: use the keys of the engine, so that both end at the same point; else one key per delivery.
    """

    def run(params: optax.Params, key: jax.Array, deliveries: tuple) -> optax.Params:
        def step(carry: tuple, delivery: tuple) -> tuple[tuple, None]:
            params, state, snapshots = carry
            k, worker, job = delivery
            mine = job_key(key, worker, job) if job_keys else jax.random.fold_in(key, k)
            batch = jax.lax.optimization_barrier(problem.sample(mine, worker))
            snapshot = jax.tree.map(lambda rows: jax.lax.dynamic_index_in_dim(rows, worker, keepdims=False), snapshots)
            updates, state = rule.update(problem.gradient(snapshot, batch), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state, _write(snapshots, worker, params)), None

        start = (params, rule.init(params), _rows(params, schedule.num_workers))
        return jax.lax.scan(step, start, deliveries)[0][0]

    order = (np.arange(len(schedule), dtype=np.int32), schedule.worker, schedule.job)
    return _compiled(run, params, key, jax.device_put(order))


def jax_rounds(
    problem: jasgd.Problem,
    rule: optax.GradientTransformation,
    schedule: jasgd.Schedule,
    *,
    params: optax.Params,
    key: jax.Array,
    job_keys: bool = False,
) -> Run:
    """Drawn delays in one scan over the server steps: all workers at once, each at a recent version, and their mean."""
    workers, versions = jnp.arange(schedule.num_workers), int(schedule.delay.max()) + 1

    def run(params: optax.Params, key: jax.Array, reads: jax.Array) -> optax.Params:
        def step(carry: tuple, item: tuple) -> tuple[tuple, None]:
            params, state, recent = carry
            k, read = item

            def sample(worker: jax.Array) -> jasgd.problems.problem.Batch:
                mine = job_key(key, worker, k) if job_keys else jax.random.fold_in(key, k * len(workers) + worker)
                return problem.sample(mine, worker)

            batches = jax.lax.optimization_barrier(jax.vmap(sample)(workers))
            snapshots = jax.tree.map(lambda rows: rows.at[read % versions].get(mode="promise_in_bounds"), recent)
            mean = jax.tree.map(lambda g: g.mean(0), jax.vmap(problem.gradient)(snapshots, batches))
            updates, state = rule.update(mean, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state, _write(recent, (k + 1) % versions, params)), None

        start = (params, rule.init(params), _rows(params, versions))
        return jax.lax.scan(step, start, (jnp.arange(schedule.updates), reads))[0][0]

    return _compiled(run, params, key, jnp.asarray(schedule.read.reshape(schedule.updates, -1)))


def flattened(problem: jasgd.Problem, params: optax.Params) -> tuple[jasgd.Problem, jax.Array]:
    """The same problem with all parameters in one vector, and that vector."""
    vector, restore = ravel_pytree(params)
    flat = jasgd.Problem(
        init=lambda key: ravel_pytree(problem.init(key))[0],
        loss=lambda x, batch: problem.loss(restore(x), batch),
        sample=problem.sample,
        metrics=lambda x: problem.metrics(restore(x)),
        gradient=lambda x, batch: ravel_pytree(problem.gradient(restore(x), batch))[0],
        num_workers=problem.num_workers,
    )
    return flat, vector


def _mapped(function: Callable, width: int) -> Callable:
    """``vmap``; a lone lane is computed without the axis, which the compiler would not see through."""
    if width > 1:
        return jax.vmap(function)
    return lambda *args: jax.tree.map(lambda leaf: leaf[None], function(*jax.tree.map(lambda leaf: leaf[0], args)))


def _rows(params: optax.Params, count: int) -> optax.Params:
    return jax.tree.map(lambda leaf: jnp.tile(leaf, (count,) + (1,) * leaf.ndim), params)


def _write(rows: optax.Params, index: jax.Array, value: optax.Params) -> optax.Params:
    return jax.tree.map(lambda r, leaf: jax.lax.dynamic_update_index_in_dim(r, leaf, index, 0), rows, value)


def _compiled(function: Callable, *args: object) -> Run:
    executable = jax.jit(function).lower(*args).compile()
    return lambda: jax.block_until_ready(executable(*args))
