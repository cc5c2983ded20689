r"""FedVARP: the update of absent clients is taken from a table.

Jhunjhunwala, Sharma, Nagarkatti, Joshi, "FedVARP: Tackling the Variance Due to Partial Client Participation in Federated
Learning", UAI 2022, https://arxiv.org/abs/2207.14130. Formula recalled.
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
@inproceedings{jhunjhunwala2022fedvarp,
  title={{FedVARP}: Tackling the Variance Due to Partial Client Participation in Federated Learning},
  author={Jhunjhunwala, Divyansh and Sharma, Pranay and Nagarkatti, Aushim and Joshi, Gauri},
  booktitle={UAI}, year={2022}, note={arXiv:2207.14130}}
"""


class FedVarpState(NamedTuple):
    """State of :func:`scale_by_fedvarp`."""

    varp_table: optax.Updates  # y, leaves (N, *leaf.shape)
    varp_mean: optax.Updates  # mean of the table, like the parameters, in single precision at least
    varp_mean_before: optax.Updates  # the same when the round began
    varp_change: optax.Updates  # D_i - y_i of the last arrival
    varp_sum: optax.Updates  # the sum of these in this round
    varp_arrivals: jax.Array  # (), int32, in this round
    varp_count: jax.Array  # (), int32, in all rounds


def scale_by_fedvarp(num_workers: int) -> optax.GradientTransformationExtraArgs:
    r""":math:`v = \frac1{|S|} \sum_{i \in S} (D_i - y_i) + \frac1n \sum_j y_j`; then :math:`y_i \leftarrow D_i` for :math:`i \in S`.

    Args:
      num_workers: n. A worker delivers at most once per round; if it may do so more often, see
        :func:`jasgd.rules.scale_by_ca2fl`.

    Returns:
      A transformation whose ``update`` needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.scale_by_fedvarp(num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0, apply=False)
      >>> update, state = rule.update(3 * jnp.ones(1), state, worker=1, apply=True)
      >>> float(update[0])
      2.0
    """  # noqa: E501
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> FedVarpState:
        table = _rows.zeros(params, num_workers)
        zero = _rows.mean(table)
        return FedVarpState(
            varp_table=table,
            varp_mean=zero,
            varp_mean_before=optax.tree.zeros_like(zero),
            varp_change=optax.tree.zeros_like(zero),
            varp_sum=optax.tree.zeros_like(zero),
            varp_arrivals=jnp.zeros([], jnp.int32),
            varp_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(
        updates: Any, state: FedVarpState, params: Any = None, *, worker: Any, apply: Any, **extra_args: Any
    ) -> Any:
        del params, extra_args
        apply = jnp.asarray(apply)
        changed = _rows.difference(updates, _rows.row(state.varp_table, worker))
        table = _rows.replace(state.varp_table, worker, updates, after=changed)
        average = _rows.refreshed(_rows.moved(state.varp_mean, changed, num_workers), table, state.varp_count)
        total = optax.tree.add(state.varp_sum, changed)
        arrivals = state.varp_arrivals + 1
        out = jax.tree.map(
            lambda h, s, g: jnp.where(apply, h + s / arrivals.astype(s.dtype), jnp.zeros_like(s)).astype(g.dtype),
            state.varp_mean_before,
            total,
            updates,
        )
        return out, FedVarpState(
            varp_table=table,
            varp_mean=average,
            varp_mean_before=optax.tree.where(apply, average, state.varp_mean_before),
            varp_change=changed,
            varp_sum=optax.tree.where(apply, optax.tree.zeros_like(total), total),
            varp_arrivals=jnp.where(apply, 0, arrivals),
            varp_count=optax.safe_increment(state.varp_count),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def fedvarp(learning_rate: optax.ScalarOrSchedule, num_workers: int) -> optax.GradientTransformationExtraArgs:
    """FedVARP; needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.fedvarp(0.01, num_workers=100)
    """
    return optax.chain(scale_by_fedvarp(num_workers), when_applied(scale_by_learning_rate(learning_rate)))
