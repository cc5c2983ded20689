r"""DANA: Nesterov momentum of many workers, each of which computes at an estimate of where the others will have gone.

Hakimi, Barkai, Gabel, Schuster, "Taming Momentum in a Distributed Asynchronous Environment",
https://arxiv.org/abs/1907.11612. *Zero* sends an estimate of the future point, *Slim* moves there, so that nothing else is
sent. With a constant learning rate Slim's points are the ones that Zero sends. Formulas recalled, checked by that identity.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_momentum, require_not_negative
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@article{hakimi2019taming,
  title={Taming Momentum in a Distributed Asynchronous Environment},
  author={Hakimi, Ido and Barkai, Saar and Gabel, Moshe and Schuster, Assaf},
  journal={arXiv:1907.11612}, year={2019}}
"""


class DanaSlimState(NamedTuple):
    """State of :func:`scale_by_dana_slim`."""

    slim_velocity: optax.Updates  # leaves (N, *leaf.shape)


def scale_by_dana_slim(momentum: ArrayLike, num_workers: int) -> optax.GradientTransformationExtraArgs:
    r""":math:`v_i \leftarrow \gamma v_i + g`, :math:`g \mapsto \gamma v_i + g`.

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.scale_by_dana_slim(momentum=0.5, num_workers=2)
      >>> update, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0)
      >>> float(update[0])
      1.5
    """
    require_momentum(momentum)
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> DanaSlimState:
        return DanaSlimState(slim_velocity=_rows.zeros(params, num_workers))

    def update_fn(updates: Any, state: DanaSlimState, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        table, velocity = _rows.change(state.slim_velocity, worker, lambda v, g: momentum * v + g, updates)
        ahead = jax.tree.map(lambda v, g: (momentum * v + g).astype(g.dtype), velocity, updates)
        return ahead, DanaSlimState(table)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def dana_slim(
    learning_rate: optax.ScalarOrSchedule, momentum: ArrayLike, num_workers: int
) -> optax.GradientTransformationExtraArgs:
    """DANA-Slim; needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.dana_slim(0.01, momentum=0.9, num_workers=16)
    """
    return optax.chain(scale_by_dana_slim(momentum, num_workers), scale_by_learning_rate(learning_rate))


class DanaZeroState(NamedTuple):
    """State of :func:`scale_by_dana_zero`."""

    zero_velocity: optax.Updates  # leaves (N, *leaf.shape)
    mean_velocity: optax.Updates  # like the parameters, in single precision at least
    sent_offset: optax.Updates  # like the parameters: what is sent, minus the parameters
    zero_count: jax.Array  # (), int32


def scale_by_dana_zero(
    momentum: ArrayLike, num_workers: int, *, learning_rate: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r""":math:`v_i \leftarrow \gamma v_i + g`, :math:`g \mapsto v_i`; workers are sent :math:`w - \eta \gamma \sum_j v_j`.

    Args:
      momentum: :math:`\gamma` in [0, 1).
      num_workers: N.
      learning_rate: the constant :math:`\eta` by which the result is scaled afterwards; here it only enters what is sent.

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``. Compute gradients at
      :func:`jasgd.rules.sent_params`, as the simulator does.

    Example:
      >>> rule = jasgd.rules.scale_by_dana_zero(0.5, num_workers=2, learning_rate=0.1)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0)
      >>> round(float(state.sent_offset[0]), 3)
      -0.05
    """
    require_momentum(momentum)
    require_count("num_workers", num_workers)
    require_not_negative("learning_rate", learning_rate)

    def init_fn(params: optax.Params) -> DanaZeroState:
        zeros = optax.tree.zeros_like(params)
        return DanaZeroState(
            zero_velocity=_rows.zeros(params, num_workers),
            mean_velocity=jax.tree.map(lambda z: z.astype(_rows.sum_dtype(z)), zeros),
            sent_offset=zeros,
            zero_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: DanaZeroState, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        old = _rows.row(state.zero_velocity, worker)
        new = jax.tree.map(lambda v, g: (momentum * v + g).astype(g.dtype), old, updates)
        average = _rows.moved(state.mean_velocity, _rows.difference(new, old), num_workers)
        table = _rows.replace(state.zero_velocity, worker, new, after=average)
        average = _rows.refreshed(average, table, state.zero_count)
        ahead = -1.0 * learning_rate * momentum * num_workers
        return _rows.row(table, worker), DanaZeroState(
            zero_velocity=table,
            mean_velocity=average,
            sent_offset=jax.tree.map(lambda m, o: (ahead * m).astype(o.dtype), average, state.sent_offset),
            zero_count=optax.safe_increment(state.zero_count),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def dana_zero(learning_rate: ArrayLike, momentum: ArrayLike, num_workers: int) -> optax.GradientTransformationExtraArgs:
    """DANA-Zero; needs the keyword ``worker``, and gradients at :func:`jasgd.rules.sent_params`.

    Example:
      >>> rule = jasgd.rules.dana_zero(0.01, momentum=0.9, num_workers=16)
    """
    return optax.chain(
        scale_by_dana_zero(momentum, num_workers, learning_rate=learning_rate),
        scale_by_learning_rate(learning_rate),
    )
