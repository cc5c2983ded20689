"""What one gradient costs: operations, and memory while it is computed."""

import functools

import jax
import jax.extend.core as jex

from jasgd.program import Program

_WORTH_COMPILING = 2**22  # bytes that a gradient touches, below which what it needs at a time is too little to matter


def operations(gradient: Program) -> float:
    """Floating-point operations of one gradient, as XLA counts them before it compiles.

    Example:
      >>> problem, key = jasgd.problems.quadratic(dim=10), jax.random.key(0)
      >>> operations(jasgd.engine.traced(problem, optax.sgd(0.1), problem.init(key), key).gradient) > 10
      True
    """
    return _counted(gradient)[0]


@functools.lru_cache(maxsize=64)
def working_bytes(gradient: Program) -> int:
    """Memory for what lies between the parameters and the gradient: as XLA plans it; of small ones a bound.

    Whatever is between is written and read, so half of what is touched is never too little.

    Example:
      >>> problem, key = jasgd.problems.quadratic(dim=10), jax.random.key(0)
      >>> working_bytes(jasgd.engine.traced(problem, optax.sgd(0.1), problem.init(key), key).gradient) < 1000
      True
    """
    touched = _counted(gradient)[1]
    if touched > _WORTH_COMPILING:
        planned = _lowered(gradient).compile().memory_analysis()
        if planned is not None:
            return int(planned.temp_size_in_bytes)
    return int(touched / 2)


@functools.lru_cache(maxsize=64)
def _counted(gradient: Program) -> tuple[float, float]:
    """Operations, and bytes that are touched without any fusion."""
    costs = _lowered(gradient).cost_analysis() or {}
    return float(costs.get("flops", 0.0)), float(costs.get("bytes accessed", 0.0))


def _lowered(gradient: Program) -> jax.stages.Lowered:
    return jax.jit(jex.jaxpr_as_fun(gradient.closed)).lower(*gradient.closed.in_avals)
