"""What simulations and sweeps are given, checked before anything is compiled: each mistake is refused in one sentence."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd import traffic
from jasgd._checks import explained, require_count, require_host, require_type, said
from jasgd.jobs import require_same_jobs
from jasgd.keys import require_key
from jasgd.oracles.oracle import Oracle
from jasgd.problems.problem import Problem
from jasgd.recorder import all_finite
from jasgd.schedule import Schedule


def seen_through(oracle: Any, problem: Any) -> Any:
    """The problem as workers see it."""
    if oracle is None or not isinstance(problem, Problem):
        return problem
    require_type("oracle", oracle, Oracle, "a jasgd.oracles.Oracle such as jasgd.oracles.gradient()")
    return oracle.of(problem)


def check_parts(problem: Any, rule: Any, key: Any, lanes: Any) -> None:
    """What simulations with and without a server are given."""
    require_host(key)
    require_type("problem", problem, Problem, "a jasgd.Problem such as jasgd.problems.quadratic(10)")
    require_type("rule", rule, optax.GradientTransformation, "an Optax transformation such as optax.sgd(0.1)")
    require_key(key)
    if lanes is not None:
        require_count("lanes", lanes)


def check_simulation(problem: Any, rule: Any, schedule: Any, key: Any, lanes: Any = None) -> None:
    """Refuse what cannot be simulated."""
    check_parts(problem, rule, key, lanes)
    check_schedule(schedule)
    if problem.num_workers is not None and schedule.num_workers > problem.num_workers:
        raise ValueError(
            f"the schedule has {schedule.num_workers} workers but the problem has data for {problem.num_workers}; "
            "make the problem with as many shards as workers."
        )
    require_same_jobs(problem, schedule)


def check_schedule(schedule: Any) -> None:
    """A schedule that obeys its laws and has something to deliver."""
    require_type("schedule", schedule, Schedule, "a jasgd.Schedule, e.g. jasgd.protocols.asynchronous(fleet, 100)")
    if not len(schedule):
        raise ValueError("the schedule is empty: it must end with a server step.")
    schedule.verify()


def check_records(every: Any, times: Any) -> None:
    """At most one of them; beyond the last version ``every`` leaves the first record and the last."""
    if every is not None and times is not None:
        raise ValueError("give either `every` or `times`, not both.")
    if every is not None:
        require_count("every", every)


def starting_point(problem: Problem, key: jax.Array, params: optax.Params | None) -> optax.Params:
    """The parameters that were given, or those of the problem: finite real numbers."""
    require_host(params)
    if params is None:
        with explained("problem.init(key)", key):
            params = problem.init(key)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = f"params{jax.tree_util.keystr(path)}"
        dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
        if not jnp.issubdtype(dtype, jnp.floating):
            what = dtype if hasattr(leaf, "dtype") else said(leaf)
            raise TypeError(f"parameters must be real numbers of floating point, but {name} is {what}; give jnp.float32.")
        if hasattr(leaf, "dtype") and dtype.itemsize > jnp.zeros(()).dtype.itemsize:
            raise TypeError(
                f"{name} is {dtype}, which JAX would round to float32: give float32, or call "
                "jax.config.update('jax_enable_x64', True) at the start of the program."
            )
    if not jax.tree.leaves(params):
        raise ValueError(f"parameters must hold at least one array, got {said(params)}.")
    arrays = jax.tree.map(jnp.asarray, params)
    if not all_finite(arrays):  # one program for all leaves
        leaves = jax.tree_util.tree_leaves_with_path(arrays)
        path = next(path for path, leaf in leaves if not jnp.isfinite(leaf).all())
        raise ValueError(f"parameters must be finite at the start, but params{jax.tree_util.keystr(path)} is not.")
    return arrays


def check_metrics(problem: Problem, params: optax.Params) -> None:
    """Metrics must be scalars, the loss and the gradient norm among them."""
    with explained("problem.metrics(params)", params):
        metrics = jax.eval_shape(problem.metrics, params)
    if not isinstance(metrics, Mapping) or not {"loss", "grad_norm"} <= set(metrics):
        what = f"a dict with {', '.join(map(str, metrics))}" if isinstance(metrics, Mapping) else said(metrics)
        raise ValueError(f"`problem.metrics` must return a dict with at least `loss` and `grad_norm`, got {what}.")
    taken = ("version", "time", *traffic.UNITS)
    for name, value in metrics.items():
        if name in taken:
            raise ValueError(f"`problem.metrics` must not return {name!r}: the history has {', '.join(taken)} already.")
        if getattr(value, "shape", None) != ():
            raise ValueError(f"`problem.metrics` must return scalars, but {name!r} has the shape {value.shape}.")
