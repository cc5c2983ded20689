r"""Worker momentum, or shifted momentum: one momentum per worker.

Giladi, Nacson, Hoffer, Soudry, "At Stability's Edge: How to Adjust Hyperparameters to Preserve Minima Selection in
Asynchronous Training of Neural Networks?", ICLR 2020, https://arxiv.org/abs/1909.12340. With equal speeds this is the
paper's shifted momentum :math:`v_{t+1} = m v_{t-\tau} - \eta g(w_{t-\tau})`.
"""

from typing import Any, NamedTuple

import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_momentum
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@inproceedings{giladi2020stability,
  title={At Stability's Edge: How to Adjust Hyperparameters to Preserve Minima Selection in Asynchronous Training of Neural Networks?},
  author={Giladi, Niv and Nacson, Mor Shpigel and Hoffer, Elad and Soudry, Daniel},
  booktitle={ICLR}, year={2020}, note={arXiv:1909.12340}}
"""  # noqa: E501


class WorkerMomentumState(NamedTuple):
    """State of :func:`scale_by_worker_momentum`."""

    worker_velocity: optax.Updates  # leaves (N, *leaf.shape)


def scale_by_worker_momentum(
    momentum: ArrayLike, num_workers: int, *, dampening: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    r""":math:`v_i \leftarrow m v_i + (1 - d) g`, :math:`g \mapsto v_i`, with :math:`i` the worker that delivers.

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.scale_by_worker_momentum(momentum=0.5, num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=1)
      >>> update, state = rule.update(jnp.ones(1), state, worker=1)
      >>> float(update[0])
      1.5
    """
    require_momentum(momentum)
    require_momentum(dampening, "dampening")
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> WorkerMomentumState:
        return WorkerMomentumState(worker_velocity=_rows.zeros(params, num_workers))

    def update_fn(updates: Any, state: WorkerMomentumState, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        table, velocity = _rows.change(
            state.worker_velocity, worker, lambda v, g: momentum * v + (1 - dampening) * g, updates
        )
        return velocity, WorkerMomentumState(table)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def worker_momentum(
    learning_rate: optax.ScalarOrSchedule, momentum: ArrayLike, num_workers: int, *, dampening: ArrayLike = 0.0
) -> optax.GradientTransformationExtraArgs:
    """SGD with one momentum per worker; needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.worker_momentum(0.01, momentum=0.9, num_workers=16)
    """
    return optax.chain(
        scale_by_worker_momentum(momentum, num_workers, dampening=dampening),
        scale_by_learning_rate(learning_rate),
    )
