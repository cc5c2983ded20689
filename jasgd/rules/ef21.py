r"""EF21: workers send compressed changes of what the server knows of their gradients.

Richtárik, Sokolov, Fatkhullin, "EF21: A New, Simpler, Theoretically Better, and Practically Faster Error Feedback", NeurIPS
2021, https://arxiv.org/abs/2106.05203. Algorithm recalled, checked against the authors' public code
(IgorSokoloff/ef21_experiments_source_code).

The paper's server steps once per round in which all workers send. Then the start below, zero, is the paper's
:math:`g_i^0 = C(\nabla f_i(x^0))`, one of those that it allows (recalled, not verified); the authors' code starts with whole
gradients. Stale and noisy gradients, and a step at every delivery, are not the paper's.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd._checks import require_count
from jasgd.keys import job_key
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.when_applied import when_applied

if TYPE_CHECKING:
    from jasgd.compressors import Compressor

CITATION = """\
@inproceedings{richtarik2021ef21,
  title={{EF21}: A New, Simpler, Theoretically Better, and Practically Faster Error Feedback},
  author={Richt{\\'a}rik, Peter and Sokolov, Igor and Fatkhullin, Ilyas},
  booktitle={Advances in Neural Information Processing Systems}, year={2021}, note={arXiv:2106.05203}}
"""


class Ef21State(NamedTuple):
    """State of :func:`scale_by_ef21`."""

    ef21_table: optax.Updates  # g_i, leaves (N, *leaf.shape)
    ef21_mean: optax.Updates  # mean of the table, like the parameters, in single precision at least
    ef21_change: optax.Updates  # what the last message changed in the table, like the mean
    ef21_sent: jax.Array  # (N,), int32, messages of each worker
    ef21_count: jax.Array  # (), int32, messages of all workers
    ef21_seed: jax.Array  # (), int32
    bytes_per_message: jax.Array  # (), float32 (float64 in double precision)


def scale_by_ef21(num_workers: int, compressor: "Compressor", *, seed: int = 0) -> optax.GradientTransformationExtraArgs:
    r"""The mean of a table that workers keep up to date by compressed messages.

    .. math::
        c_i = C(g - g_i), \qquad g_i \leftarrow g_i + c_i, \qquad g \mapsto \frac1n \sum_j g_j ,

    where :math:`i` is the worker that delivers and all :math:`g_j` start at zero. The mean is returned where the server
    steps; gradients that are only gathered change the table. An error of C is not lost: it is part of the next difference.

    Args:
      num_workers: n.
      compressor: C, from :mod:`jasgd.compressors`. It must contract: an unbiased one does if its :math:`\omega < 1`, with
        :math:`\alpha = 1 - \omega`, so the identity may be used; others belong into
        :func:`jasgd.compressors.scaled_down`. The parameters are compressed as one vector; its bytes, the state's
        ``bytes_per_message``, are those of the widest dtype among the leaves.
      seed: of random compressors. The key of a worker's j-th message is a function of seed, worker and j alone.

    Returns:
      A transformation whose ``update`` needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.scale_by_ef21(2, jasgd.compressors.top_k(1))
      >>> update, state = rule.update(jnp.array([3.0, 1.0]), rule.init(jnp.ones(2)), worker=0, apply=True)
      >>> update, state = rule.update(jnp.array([3.0, 1.0]), state, worker=0, apply=True)
      >>> update, float(state.bytes_per_message)
      (Array([1.5, 0.5], dtype=float32), 5.0)
    """
    require_count("num_workers", num_workers)
    if not hasattr(compressor, "message_bytes"):
        raise ValueError(f"`compressor` must be one of jasgd.compressors, such as top_k(10), got {compressor!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**31:
        raise ValueError(f"`seed` must be a whole number from 0 to 2**31 - 1, got {seed!r}.")

    def init_fn(params: optax.Params) -> Ef21State:
        table = _rows.zeros(params, num_workers)
        average = _rows.mean(table)
        return Ef21State(
            ef21_table=table,
            ef21_mean=average,
            ef21_change=optax.tree.zeros_like(average),
            ef21_sent=jnp.zeros((num_workers,), jnp.int32),
            ef21_count=jnp.zeros([], jnp.int32),
            ef21_seed=jnp.full([], seed, jnp.int32),
            bytes_per_message=jnp.full([], _message_bytes(compressor, params), jnp.zeros([]).dtype),
        )

    def update_fn(updates: Any, state: Ef21State, params: Any = None, *, worker: Any, apply: Any, **extra_args: Any) -> Any:
        del params, extra_args
        old = _rows.row(state.ef21_table, worker)
        missing = _rows.cast_like(_rows.difference(updates, old), updates)
        sent = state.ef21_sent.at[worker].add(1)  # first, and read back after: in place
        key = _message_key(state.ef21_seed, worker, sent[worker] - 1)
        message = compressor.compress(key, missing) if _dimension(missing) else missing
        entry = jax.tree.map(lambda g, c: g + c.astype(g.dtype), old, message)
        changed = _rows.difference(entry, old)
        table = _rows.replace(state.ef21_table, worker, entry, after=changed)
        average = _rows.refreshed(_rows.moved(state.ef21_mean, changed, num_workers), table, state.ef21_count)
        out = jax.tree.map(lambda m, g: jnp.where(jnp.asarray(apply), m, 0).astype(g.dtype), average, updates)
        return out, Ef21State(
            ef21_table=table,
            ef21_mean=average,
            ef21_change=changed,
            ef21_sent=sent,
            ef21_count=optax.safe_increment(state.ef21_count),
            ef21_seed=state.ef21_seed,
            bytes_per_message=state.bytes_per_message,
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def ef21(
    learning_rate: optax.ScalarOrSchedule, num_workers: int, compressor: "Compressor", *, seed: int = 0
) -> optax.GradientTransformationExtraArgs:
    """EF21; needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.ef21(0.01, num_workers=100, compressor=jasgd.compressors.top_k(10))
    """
    return optax.chain(
        scale_by_ef21(num_workers, compressor, seed=seed), when_applied(scale_by_learning_rate(learning_rate))
    )


def _message_key(seed: jax.Array, worker: Any, message: jax.Array) -> jax.Array:
    """Of a worker's j-th message. With the same seed, :func:`jasgd.split_key` makes keys 0 and 1: this is the next one."""
    return job_key(jax.random.fold_in(jax.random.key(seed), 2), worker, message)


def _dimension(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _message_bytes(compressor: "Compressor", params: Any) -> float:
    """Of one message; compressors that cannot contract vectors of this many coordinates are refused."""
    dim = _dimension(params)
    if not dim:  # the empty part of a partition
        return 0.0
    omega, name = compressor.omega, compressor.name
    if omega is not None and omega(dim) >= 1:
        raise ValueError(
            f"EF21 needs a compressor that contracts, but {name} is unbiased with omega = {omega(dim):g}: "
            f"use jasgd.compressors.scaled_down({name})."
        )
    return float(compressor.message_bytes(dim, jnp.result_type(*jax.tree.leaves(params))))
