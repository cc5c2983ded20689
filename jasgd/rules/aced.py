r"""ACED: the mean of the latest gradients that are not too old.

https://arxiv.org/abs/2511.19066 and its public code (xchang1121/AsyncFL), stepping at every arrival. Without a limit on
the age, and once every worker has an entry, it is ACE, which is :func:`jasgd.rules.dude`. The mean is taken from the table
at every step: it costs N rows, where the others cost one, and has no drift.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_not_negative
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@misc{ace2025, note={arXiv:2511.19066}, year={2025}}
"""

_NEVER = -(2**30)


class AcedState(NamedTuple):
    """State of :func:`scale_by_aced`."""

    aged_table: optax.Updates  # leaves (N, *leaf.shape)
    aged_read: jax.Array  # (N,), int32, the version at which each entry was computed


def scale_by_aced(
    num_workers: int, max_age: ArrayLike, *, table: optax.Updates | None = None
) -> optax.GradientTransformationExtraArgs:
    r""":math:`G_i \leftarrow g`, :math:`g \mapsto \frac1{|A|} \sum_{i \in A} G_i`, over entries computed at most ``max_age`` versions ago.

    If there is none the update is zero.

    Args:
      num_workers: N.
      max_age: largest age, in server versions, of an entry that is used; an arrival older than this is stored, not used.
      table: all workers' gradients at version 0, leaves (N, \*leaf.shape); by default no worker has an entry.

    Returns:
      A transformation whose ``update`` needs the keywords ``worker``, ``step`` and ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_aced(num_workers=2, max_age=1)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0, step=0, delay=0)
      >>> update, state = rule.update(3 * jnp.ones(1), state, worker=1, step=1, delay=0)
      >>> float(update[0])
      2.0
    """  # noqa: E501
    require_count("num_workers", num_workers)
    require_not_negative("max_age", max_age)

    def init_fn(params: optax.Params) -> AcedState:
        read = jnp.full((num_workers,), _NEVER if table is None else 0, jnp.int32)
        return AcedState(aged_table=_rows.initial(params, num_workers, table), aged_read=read)

    def update_fn(
        updates: Any, state: AcedState, params: Any = None, *, worker: Any, step: Any, delay: Any, **extra_args: Any
    ) -> Any:
        del params, extra_args
        entries, _ = _rows.change(state.aged_table, worker, lambda old, g: jnp.where(jnp.isnan(old), old, g), updates)
        read = state.aged_read.at[worker].set(jnp.asarray(step - delay, jnp.int32))
        active = (read > _NEVER) & (step - read <= max_age)
        inside = (jnp.asarray(worker) >= 0) & (jnp.asarray(worker) < num_workers)
        count = jnp.where(inside, jnp.maximum(jnp.sum(active), 1), jnp.nan)

        def average(rows: jax.Array, g: jax.Array) -> jax.Array:
            used = jnp.where(jnp.expand_dims(active, range(1, rows.ndim)), rows, 0).astype(_rows.sum_dtype(rows))
            return (jnp.sum(used, axis=0) / count.astype(used.dtype)).astype(g.dtype)

        return jax.tree.map(average, entries, updates), AcedState(aged_table=entries, aged_read=read)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def aced(
    learning_rate: optax.ScalarOrSchedule,
    num_workers: int,
    max_age: ArrayLike,
    *,
    table: optax.Updates | None = None,
) -> optax.GradientTransformationExtraArgs:
    """SGD on the mean of entries that are not too old; needs ``worker``, ``step`` and ``delay``.

    Example:
      >>> rule = jasgd.rules.aced(0.01, num_workers=100, max_age=50)
    """
    return optax.chain(scale_by_aced(num_workers, max_age, table=table), scale_by_learning_rate(learning_rate))
