r"""FADAS: a buffered server with AMSGrad, whose step shrinks with the largest delay in the buffer.

Wang, Wang, Lu, Chen, "FADAS: Towards Federated Adaptive Asynchronous Optimization", ICML 2024,
https://arxiv.org/abs/2407.18365; constants of its public code. The maximum is taken before the bias correction, unlike
``optax.amsgrad``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_momentum, require_not_negative, require_positive
from jasgd.rules import _rows, delay_weights
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules._rows import cast_like
from jasgd.rules.when_applied import when_applied

CITATION = """\
@inproceedings{wang2024fadas,
  title={{FADAS}: Towards Federated Adaptive Asynchronous Optimization},
  author={Wang, Yujia and Wang, Shiqiang and Lu, Songtao and Chen, Jinghui},
  booktitle={ICML}, year={2024}, note={arXiv:2407.18365}}
"""


class FadasState(NamedTuple):
    """State of :func:`scale_by_fadas`."""

    fadas_sum: optax.Updates  # the buffer, like the parameters, in single precision at least
    fadas_arrivals: jax.Array  # (), int32, in the buffer
    buffer_delay: jax.Array  # (), int32, largest delay in the buffer
    fadas_mean: optax.Updates  # m, like the buffer: squares of small numbers are zero in half precision
    fadas_square: optax.Updates  # u
    fadas_largest: optax.Updates  # largest u so far
    fadas_round: jax.Array  # (), int32


def scale_by_fadas(
    *, b1: ArrayLike = 0.9, b2: ArrayLike = 0.99, eps: ArrayLike = 1e-8, critical_delay: ArrayLike | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""AMSGrad on the mean of a buffer, times 1 if its largest delay m is at most critical, else :math:`1 / m`.

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) \Delta, \quad u \leftarrow \beta_2 u + (1 - \beta_2) \Delta^2,
        \quad \hat u \leftarrow \max(\hat u, u),
        \quad \Delta \mapsto \frac{m / (1 - \beta_1^r)}{\sqrt{\hat u} / \sqrt{1 - \beta_2^r} + \epsilon}

    Args:
      b1, b2, eps: constants.
      critical_delay: None leaves the step alone; the paper's adaptive rule has 1.

    Returns:
      A transformation whose ``update`` needs the keywords ``delay`` and ``apply``; zero until the buffer is full.

    Example:
      >>> rule = jasgd.rules.scale_by_fadas(critical_delay=1)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), delay=4, apply=True)
      >>> round(float(update[0]), 4)
      0.25
    """
    require_momentum(b1, "b1")
    require_momentum(b2, "b2")
    require_positive("eps", eps)
    if critical_delay is not None:
        require_not_negative("critical_delay", critical_delay)

    def init_fn(params: optax.Params) -> FadasState:
        zeros = _rows.sums_like(params)
        return FadasState(
            fadas_sum=zeros,
            fadas_arrivals=jnp.zeros([], jnp.int32),
            buffer_delay=jnp.zeros([], jnp.int32),
            fadas_mean=optax.tree.zeros_like(zeros),
            fadas_square=optax.tree.zeros_like(zeros),
            fadas_largest=optax.tree.zeros_like(zeros),
            fadas_round=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: FadasState, params: Any = None, *, delay: Any, apply: Any, **extra_args: Any) -> Any:
        del params, extra_args
        total = jax.tree.map(lambda s, g: s + g.astype(s.dtype), state.fadas_sum, updates)
        largest_delay = jnp.maximum(state.buffer_delay, jnp.asarray(delay, jnp.int32))

        arrivals = state.fadas_arrivals + 1

        def flush() -> Any:
            delta = jax.tree.map(lambda t: t / arrivals.astype(t.dtype), total)
            r = optax.safe_increment(state.fadas_round)
            m = jax.tree.map(lambda m, d: (b1 * m + (1 - b1) * d).astype(m.dtype), state.fadas_mean, delta)
            u = jax.tree.map(lambda u, d: (b2 * u + (1 - b2) * d * d).astype(u.dtype), state.fadas_square, delta)
            largest = jax.tree.map(jnp.maximum, state.fadas_largest, u)
            damp = jnp.ones([])
            if critical_delay is not None:
                damp = delay_weights.reciprocal_beyond(critical_delay)(largest_delay)
            on_m, on_u = damp / (1 - jnp.asarray(b1) ** r), jnp.sqrt(1 - jnp.asarray(b2) ** r)
            out = jax.tree.map(
                lambda m, u: (on_m.astype(m.dtype) * m / (jnp.sqrt(u) / on_u.astype(m.dtype) + eps)).astype(m.dtype),
                m,
                largest,
            )
            return cast_like(out, updates), FadasState(
                fadas_sum=optax.tree.zeros_like(total),
                fadas_arrivals=jnp.zeros([], jnp.int32),
                buffer_delay=jnp.zeros([], jnp.int32),
                fadas_mean=m,
                fadas_square=u,
                fadas_largest=largest,
                fadas_round=r,
            )

        def wait() -> Any:
            return optax.tree.zeros_like(updates), state._replace(
                fadas_sum=total, fadas_arrivals=arrivals, buffer_delay=largest_delay
            )

        return jax.lax.cond(jnp.asarray(apply), flush, wait)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def fadas(
    learning_rate: optax.ScalarOrSchedule, *, critical_delay: ArrayLike | None = 1
) -> optax.GradientTransformationExtraArgs:
    """FADAS with its delay-adaptive step; needs the keywords ``delay`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.fadas(1e-3)
    """
    return optax.chain(scale_by_fadas(critical_delay=critical_delay), when_applied(scale_by_learning_rate(learning_rate)))
