"""A problem and a rule as programs without numbers, and the numbers."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd._checks import explained, require_host
from jasgd.extra_args import EXTRA_ARGS, trace_rule
from jasgd.precision import checked_dtype, rounding, snapshots_of
from jasgd.problems.problem import Problem
from jasgd.program import Program, trace
from jasgd.read_models import ReadModel
from jasgd.rules.sent import sent_offset
from jasgd.worker_range import require_rows

if TYPE_CHECKING:
    from jasgd.linear import Linear


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """The arrays that the programs were traced with."""

    sample: list[jax.Array]
    gradient: list[jax.Array]
    rule: list[jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Traced:
    """A problem and a rule as programs, and what they need to start."""

    sample: Program
    gradient: Program
    rule: Program
    extra_args: tuple[str, ...]
    needs_stale_params: bool
    sends: bool
    read_model: ReadModel | None
    numbers: Numbers
    params: optax.Params
    rule_state: optax.OptState
    batch_bytes: int
    snapshot_dtype: np.dtype[Any] | None = None  # None: that of the parameters, see :mod:`jasgd.precision`
    linear: "Linear | None" = None  # set where parameters are vectors, see :mod:`jasgd.flat`

    @property
    def snapshots(self) -> Any:
        """What a snapshot looks like."""
        return snapshots_of(self.params, self.snapshot_dtype)


def traced(
    problem: Problem,
    rule: optax.GradientTransformation,
    params: optax.Params,
    key: jax.Array,
    *,
    lift_numbers: bool = False,
    snapshot_dtype: DTypeLike | None = None,
) -> Traced:
    """Trace a problem's sample and gradient and a rule's update; on request problems that differ in numbers are alike."""
    dtype = checked_dtype(snapshot_dtype, params)
    worker = jax.ShapeDtypeStruct((), jnp.int32)
    drawn = _drawn()
    with explained("problem.sample(key, worker)", key, worker):
        sample, sample_numbers = trace(problem.sample, key, worker, lift_numbers=lift_numbers)
        batch = jax.eval_shape(problem.sample, key, worker)
    if _drawn() != drawn:
        raise ValueError(
            "`problem.sample` draws from np.random, once for all jobs: use jax.random and the `key` of the job."
        )
    snapshots, sent = snapshots_of(params, dtype), problem.gradient if dtype is None else rounding(problem.gradient)
    hint = "" if dtype is None else f"; with `snapshot_dtype` its parameters are {dtype.name}"
    with explained("problem.gradient(params, batch)", snapshots, batch, hint=hint):
        gradients = jax.eval_shape(problem.gradient, snapshots, batch)
    _require_alike(gradients, snapshots, in_dtype=dtype is None)
    gradient, gradient_numbers = trace(sent, snapshots, batch, lift_numbers=lift_numbers)
    rule_state = rule.init(params)
    program, rule_numbers, asked = trace_rule(rule, params)
    require_host(sample_numbers, gradient_numbers, rule_numbers)
    return Traced(
        sample=sample,
        gradient=gradient,
        rule=program,
        extra_args=tuple(name for name in EXTRA_ARGS if name in asked),
        needs_stale_params="stale_params" in asked,
        sends=sent_offset(rule_state) is not None,
        read_model=problem.read_model,
        numbers=Numbers(sample=sample_numbers, gradient=gradient_numbers, rule=rule_numbers),
        params=params,
        rule_state=rule_state,
        batch_bytes=tree_bytes(batch),
        snapshot_dtype=dtype,
    )


def with_rule(program: Traced, rule: optax.GradientTransformation) -> Traced:
    """The same problem under another rule."""
    traced_rule, numbers, asked = trace_rule(rule, program.params)
    rule_state = rule.init(program.params)
    return dataclasses.replace(
        program,
        rule=traced_rule,
        extra_args=tuple(name for name in EXTRA_ARGS if name in asked),
        needs_stale_params="stale_params" in asked,
        sends=sent_offset(rule_state) is not None,
        numbers=dataclasses.replace(program.numbers, rule=numbers),
        rule_state=rule_state,
    )


def _drawn() -> int:
    """How far NumPy's global generator has got."""
    return int(np.random.get_state(legacy=False)["state"]["pos"])  # noqa: NPY002


def require_workers(program: Traced, worker: int) -> None:
    """The data of the problem and the tables of the rule reach the last worker that delivers."""
    require_rows("problem.sample", "it needs data for {} workers", program.sample, -1, worker)
    at = -1 - len(jax.tree.leaves(program.params))  # the worker is the last of the extra arguments, before `stale_params`
    require_rows("rule", "make it for {} workers", program.rule, at, worker)


def _require_alike(gradients: Any, params: Any, *, in_dtype: bool) -> None:
    """A gradient has the structure, the shapes and the dtypes of the parameters; where it is rounded, any real dtype."""
    (expected, tree), (got, other) = (jax.tree_util.tree_flatten_with_path(t) for t in (params, gradients))
    if str(tree) != str(other):
        raise ValueError(f"the gradient must have the structure of the parameters {tree}, got {other}.")
    for (path, leaf), (_, gradient) in zip(expected, got, strict=True):
        alike = leaf.dtype == gradient.dtype or (not in_dtype and jnp.issubdtype(gradient.dtype, jnp.floating))
        if leaf.shape != gradient.shape or not alike:
            raise ValueError(
                f"the gradient of params{jax.tree_util.keystr(path)} must be {leaf.dtype}{list(leaf.shape)}, "
                f"got {gradient.dtype}{list(gradient.shape)}."
            )


def tree_bytes(tree: Any) -> int:
    """Bytes of all arrays of a tree."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
