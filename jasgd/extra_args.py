"""What the simulator tells a rule, and which of it a rule asks for."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import explained
from jasgd.program import Program, trace

# `step` is the server version before the step, `delay` that version minus the one the gradient was computed at; `duration`
# and `time` are in seconds; `apply` says whether the server steps after this gradient.
EXTRA_ARGS = ("worker", "delay", "step", "duration", "time", "apply")


def extra_types() -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of the extra arguments.

    Example:
      >>> extra_types()["delay"].dtype
      dtype('int32')
    """
    real = jnp.zeros(()).dtype
    types = {"duration": real, "time": real, "apply": jnp.bool_}
    return {name: jax.ShapeDtypeStruct((), types.get(name, jnp.int32)) for name in EXTRA_ARGS}


def trace_rule(rule: optax.GradientTransformation, params: optax.Params) -> tuple[Program, list[jax.Array], frozenset[str]]:
    """A rule's update as a program, its numbers, and the extra arguments that it looks at, ``stale_params`` among them.

    The program is called with gradients, state, parameters, a dict of :data:`EXTRA_ARGS` and the stale parameters.

    Example:
      >>> trace_rule(jasgd.rules.rescaled_sgd(0.1, [1.0, 2.0]), jnp.ones(3))[2]
      frozenset({'worker'})
    """
    rule = optax.with_extra_args_support(rule)
    extra = extra_types()

    def update(gradients: Any, state: Any, params: Any, extra: Any, stale_params: Any) -> Any:
        return rule.update(gradients, state, params, **extra, stale_params=stale_params)

    with explained(
        "rule.update(gradients, state, params)", params, hint="; look at the arguments that `rule` was made with"
    ):
        state = jax.eval_shape(rule.init, params)
        program, numbers = trace(update, params, state, params, extra, params, lift_numbers=True)
    used_extra, used_stale = jax.tree.unflatten(
        jax.tree.structure((extra, params)), program.used[-len(extra) - len(jax.tree.leaves(params)) :]
    )
    asked = {name for name in EXTRA_ARGS if used_extra[name]}
    return program, numbers, frozenset(asked | ({"stale_params"} if any(jax.tree.leaves(used_stale)) else set()))
