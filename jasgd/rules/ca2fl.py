r"""CA2FL: a buffer of updates, each calibrated by the last one of its client.

Wang, Cao, Wu, Chen, Chen, "Tackling the Data Heterogeneity in Asynchronous Federated Learning with Cached Update
Calibration", ICLR 2024; read in public code. All corrections use the caches as they were before the buffer, also when a
client delivers twice into it; its cache then keeps the last. That takes a second table, of the caches before the buffer.
(Another public code, flgo, corrects a second delivery by the first.)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import require_count
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.when_applied import when_applied

CITATION = """\
@inproceedings{wang2024tackling,
  title={Tackling the Data Heterogeneity in Asynchronous Federated Learning with Cached Update Calibration},
  author={Wang, Yujia and Cao, Yuanpu and Wu, Jingcheng and Chen, Ruoyu and Chen, Jinghui},
  booktitle={ICLR}, year={2024}}
"""


class Ca2flState(NamedTuple):
    """State of :func:`scale_by_ca2fl`."""

    cache: optax.Updates  # latest update of each worker, leaves (N, *leaf.shape)
    cache_before: optax.Updates  # the same before the buffer, where a worker has delivered into it
    cache_touched: jax.Array  # (N,), int32, the buffer into which a worker delivered last
    cache_mean: optax.Updates  # mean of the cache, like the parameters, in single precision at least
    cache_mean_before: optax.Updates  # the same when the buffer began
    cache_change: optax.Updates  # what the last arrival changed in the cache
    cache_sum: optax.Updates  # sum of D_i - h_i in the buffer
    cache_arrivals: jax.Array  # (), int32, in the buffer
    cache_buffer: jax.Array  # (), int32, number of the buffer
    cache_count: jax.Array  # (), int32, arrivals in all


def scale_by_ca2fl(num_workers: int) -> optax.GradientTransformationExtraArgs:
    r""":math:`v = \bar h + \frac1M \sum_{i \in \text{buffer}} (D_i - h_i)`; at the flush :math:`h_i \leftarrow D_i`.

    Args:
      num_workers: N, for :math:`\bar h = \frac1N \sum_j h_j`.

    Returns:
      A transformation whose ``update`` needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.scale_by_ca2fl(num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0, apply=False)
      >>> update, state = rule.update(2 * jnp.ones(1), state, worker=0, apply=True)
      >>> float(update[0])
      1.5
    """
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> Ca2flState:
        table = _rows.zeros(params, num_workers)
        zero = _rows.mean(table)
        return Ca2flState(
            cache=table,
            cache_before=_rows.zeros(params, num_workers),
            cache_touched=jnp.full((num_workers,), -1, jnp.int32),
            cache_mean=zero,
            cache_mean_before=optax.tree.zeros_like(zero),
            cache_change=optax.tree.zeros_like(zero),
            cache_sum=optax.tree.zeros_like(zero),
            cache_arrivals=jnp.zeros([], jnp.int32),
            cache_buffer=jnp.zeros([], jnp.int32),
            cache_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: Ca2flState, params: Any = None, *, worker: Any, apply: Any, **extra_args: Any) -> Any:
        del params, extra_args
        apply = jnp.asarray(apply)
        again = state.cache_touched[worker] == state.cache_buffer
        latest = _rows.row(state.cache, worker)
        cache_before, before = _rows.change(
            state.cache_before, worker, lambda before, latest: jnp.where(again, before, latest), latest
        )
        changed = _rows.difference(updates, latest)
        cache = _rows.replace(state.cache, worker, updates, after=optax.tree.add(changed, before))
        average = _rows.refreshed(_rows.moved(state.cache_mean, changed, num_workers), cache, state.cache_count)
        total = optax.tree.add(state.cache_sum, _rows.difference(updates, before))
        arrivals = state.cache_arrivals + 1
        out = jax.tree.map(
            lambda h, s, g: jnp.where(apply, h + s / arrivals.astype(s.dtype), jnp.zeros_like(s)).astype(g.dtype),
            state.cache_mean_before,
            total,
            updates,
        )
        return out, Ca2flState(
            cache=cache,
            cache_before=cache_before,
            cache_touched=state.cache_touched.at[worker].set(state.cache_buffer),
            cache_mean=average,
            cache_mean_before=optax.tree.where(apply, average, state.cache_mean_before),
            cache_change=changed,
            cache_sum=optax.tree.where(apply, optax.tree.zeros_like(total), total),
            cache_arrivals=jnp.where(apply, 0, arrivals),
            cache_buffer=state.cache_buffer + apply.astype(jnp.int32),
            cache_count=optax.safe_increment(state.cache_count),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def ca2fl(learning_rate: optax.ScalarOrSchedule, num_workers: int) -> optax.GradientTransformationExtraArgs:
    """CA2FL; needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.ca2fl(0.01, num_workers=100)
    """
    return optax.chain(scale_by_ca2fl(num_workers), when_applied(scale_by_learning_rate(learning_rate)))
