r"""SAGA over workers: a gradient corrected by a table of the last ones.

Defazio, Bach, Lacoste-Julien, "SAGA: A Fast Incremental Gradient Method With Support for Non-Strongly Convex Composite
Objectives", NIPS 2014, https://arxiv.org/abs/1407.0202, with workers in the place of data points. The direction is unbiased
if the worker is drawn uniformly; where fast workers deliver more often it is not.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import require_count
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@inproceedings{defazio2014saga,
  title={{SAGA}: A Fast Incremental Gradient Method With Support for Non-Strongly Convex Composite Objectives},
  author={Defazio, Aaron and Bach, Francis and Lacoste-Julien, Simon},
  booktitle={Advances in Neural Information Processing Systems}, year={2014}, note={arXiv:1407.0202}}
"""


class SagaState(NamedTuple):
    """State of :func:`scale_by_saga`."""

    saga_table: optax.Updates  # leaves (N, *leaf.shape)
    saga_mean: optax.Updates  # like the parameters, in single precision at least
    saga_change: optax.Updates  # what the last arrival changed in the table, like the mean
    saga_count: jax.Array  # (), int32


def scale_by_saga(num_workers: int, *, table: optax.Updates | None = None) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto (g - G_i) + \frac1n \sum_j G_j` with the table before the arrival; then :math:`G_i \leftarrow g`.

    Args:
      num_workers: n.
      table: entries to start with, leaves (n, \*leaf.shape); by default zero.

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.scale_by_saga(num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0)
      >>> update, state = rule.update(3 * jnp.ones(1), state, worker=0)
      >>> float(update[0])
      2.5
    """
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> SagaState:
        entries = _rows.initial(params, num_workers, table)
        average = _rows.mean(entries)
        return SagaState(
            saga_table=entries,
            saga_mean=average,
            saga_change=optax.tree.zeros_like(average),
            saga_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: SagaState, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        changed = _rows.difference(updates, _rows.row(state.saga_table, worker))
        entries = _rows.replace(state.saga_table, worker, updates, after=changed)
        average = _rows.refreshed(_rows.moved(state.saga_mean, changed, num_workers), entries, state.saga_count)
        return _rows.cast_like(optax.tree.add(changed, state.saga_mean), updates), SagaState(
            saga_table=entries,
            saga_mean=average,
            saga_change=changed,
            saga_count=optax.safe_increment(state.saga_count),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def saga(
    learning_rate: optax.ScalarOrSchedule, num_workers: int, *, table: optax.Updates | None = None
) -> optax.GradientTransformationExtraArgs:
    """SAGA over workers; needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.saga(0.01, num_workers=100)
    """
    return optax.chain(scale_by_saga(num_workers, table=table), scale_by_learning_rate(learning_rate))
