r"""Ordered momentum (OrMo): gradients enter the momentum in the order of the points they were computed at.

Shi, Yang, Li, "Ordered Momentum for Asynchronous SGD", NeurIPS 2024, https://arxiv.org/abs/2407.19234.
Gradients computed at versions (b-1)K+1 ... bK form group b, those at version 0 group 0. A late gradient gets the factors of
:math:`\beta` that it missed, and the parameters catch up with the momentum steps that it missed.

The momentum is that of the *sum* of a group's K gradients, and learning rates are kept inside it: the alias puts
``optax.scale_by_learning_rate`` before the transformation, not after it. The threshold of the delay-adaptive form is
recalled, not read; its cap :math:`\kappa / (L \tau)` has no factor :math:`1 - \beta`, set ``kappa`` to add one.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_momentum
from jasgd.rules import delay_weights
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.scale_by_delay import scale_by_delay

CITATION = """\
@inproceedings{shi2024ordered,
  title={Ordered Momentum for Asynchronous {SGD}},
  author={Shi, Chang-Wei and Yang, Yi-Rui and Li, Wu-Jun},
  booktitle={Advances in Neural Information Processing Systems}, year={2024}, note={arXiv:2407.19234}}
"""


class ScaleByOrMoState(NamedTuple):
    """State of :func:`scale_by_ormo`."""

    ordered_momentum: optax.Updates  # u, like the parameters


def scale_by_ormo(
    momentum: ArrayLike, num_workers: int, *, barrier: bool = False, catch_up: bool = True
) -> optax.GradientTransformationExtraArgs:
    r"""Ordered momentum, sign kept.

    With :math:`I = \lceil t / K \rceil` the newest group and :math:`p = I - \lceil \mathrm{read} / K \rceil` the number of
    groups that a gradient is late,

    .. math::
        \begin{aligned} \text{if a new group opens:} \quad & w \leftarrow w - \beta u, \quad u \leftarrow \beta u \cr
        & u \leftarrow u + \beta^p g, \quad w \leftarrow w - (1 + \beta + \dots + \beta^p) \, g. \end{aligned}

    Args:
      momentum: :math:`\beta` in [0, 1).
      num_workers: :math:`K`, gradients per group.
      barrier: the workers wait for each other, as under ``protocols.asynchronous(..., wait_for=num_workers)``: a group
        opens when all of them start. This is heavy ball on the sum of K gradients.
      catch_up: False is the ablation of the paper in which a gradient moves the parameters by :math:`g` alone.

    Returns:
      A transformation whose ``update`` needs the keywords ``step`` and ``delay``. What it returns is the whole change of the
      parameters: scale gradients before it, not after.

    Example:
      >>> rule = jasgd.rules.scale_by_ormo(momentum=0.5, num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), step=0, delay=0)
      >>> update, state = rule.update(2 * jnp.ones(1), state, step=1, delay=0)
      >>> float(update[0])  # half of the momentum, and the gradient
      2.5
    """
    require_momentum(momentum)
    require_count("num_workers", num_workers)
    k = num_workers

    def init_fn(params: optax.Params) -> ScaleByOrMoState:
        return ScaleByOrMoState(ordered_momentum=optax.tree.zeros_like(params))

    def update_fn(
        updates: Any, state: ScaleByOrMoState, params: Any = None, *, step: Any, delay: Any, **extra_args: Any
    ) -> Any:
        del params, extra_args
        step, delay = jnp.asarray(step), jnp.asarray(delay)
        opens = (step >= 1) & ((step - (0 if barrier else 1)) % k == 0)
        newest = step // k if barrier else -(-step // k)
        late = newest + (delay - step) // k  # minus the ceiling of read / k, with read = step - delay
        shift = jnp.where(opens, momentum, 1.0)
        kept = momentum ** jnp.asarray(late)
        catching_up = (1 - momentum * kept) / (1 - momentum) if catch_up else jnp.ones_like(kept)

        def moved(u: jax.Array, g: jax.Array) -> jax.Array:
            shifted = jnp.where(opens, (momentum * u).astype(u.dtype), jnp.zeros_like(u))
            return shifted + catching_up.astype(g.dtype) * g

        def remembered(u: jax.Array, g: jax.Array) -> jax.Array:
            return (shift.astype(u.dtype) * u + kept.astype(u.dtype) * g).astype(u.dtype)

        u = state.ordered_momentum
        return jax.tree.map(moved, u, updates), ScaleByOrMoState(ordered_momentum=jax.tree.map(remembered, u, updates))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def ormo(
    learning_rate: optax.ScalarOrSchedule,
    momentum: ArrayLike,
    num_workers: int,
    *,
    barrier: bool = False,
    catch_up: bool = True,
) -> optax.GradientTransformationExtraArgs:
    """SGD with ordered momentum; needs the keywords ``step`` and ``delay``. Arguments: see :func:`scale_by_ormo`.

    Example:
      >>> rule = jasgd.rules.ormo(0.01, momentum=0.9, num_workers=16)
    """
    return optax.chain(
        scale_by_learning_rate(learning_rate),
        scale_by_ormo(momentum, num_workers, barrier=barrier, catch_up=catch_up),
    )


def ormo_da(
    learning_rate: optax.ScalarOrSchedule,
    momentum: ArrayLike,
    num_workers: int,
    *,
    smoothness: ArrayLike | None = None,
    kappa: float = 0.25,
) -> optax.GradientTransformationExtraArgs:
    r"""Delay-adaptive ordered momentum: gradients with :math:`\tau > 2K` get smaller steps.

    Beyond :math:`2K` the step is :math:`\min(\eta, \kappa / (L \tau))`, or without :math:`L` :math:`\eta \, 2K / \tau`; the
    two are equal if :math:`\eta \, 2K L = \kappa`.

    Args:
      learning_rate: :math:`\eta`; a number if ``smoothness`` is given.
      momentum, num_workers: see :func:`scale_by_ormo`.
      smoothness: :math:`L`, if known.
      kappa: 1/4 in the theory of delay-adaptive steps.

    Example:
      >>> rule = jasgd.rules.ormo_da(0.01, momentum=0.9, num_workers=16)
    """
    require_count("num_workers", num_workers)
    if smoothness is None:
        weight = delay_weights.delay_adaptive(2 * num_workers)
    elif callable(learning_rate):
        raise ValueError("with `smoothness`, `learning_rate` must be a number: a step is compared with kappa / (L delay).")
    else:
        weight = delay_weights.smoothness_capped(learning_rate, smoothness, threshold=2 * num_workers, kappa=kappa)
    return optax.chain(scale_by_delay(weight), ormo(learning_rate, momentum, num_workers))
