r"""Ringleader ASGD: a table of averages, and rounds in which every worker causes one step.

Maranjyan, Richtarik, "Ringleader ASGD: The First Asynchronous SGD with Optimal Time Complexity under Data Heterogeneity",
ICLR 2026, https://arxiv.org/abs/2509.22860. Who is sent which model, and when, is the protocol's part; from the order of
the arrivals this rule knows in which table each gradient belongs.
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
@inproceedings{maranjyan2026ringleader,
  title={{Ringleader ASGD}: The First Asynchronous {SGD} with Optimal Time Complexity under Data Heterogeneity},
  author={Maranjyan, Artavazd and Richt{\\'a}rik, Peter},
  booktitle={ICLR}, year={2026}, note={arXiv:2509.22860}}
"""


class RingleaderState(NamedTuple):
    """State of :func:`scale_by_ringleader`. Of each pair one is the table of this round, the other that of the next."""

    ringleader_tables: optax.Updates  # leaves (2 N, *leaf.shape), means of each worker's gradients
    ringleader_counts: jax.Array  # (2, N), int32, how many gradients each mean has
    ringleader_means: optax.Updates  # leaves (2, *leaf.shape), means over the workers, in single precision at least
    ringleader_marked: jax.Array  # (N,), bool, workers that have caused their step of this round
    ringleader_round: jax.Array  # (), int32


def scale_by_ringleader(num_workers: int) -> optax.GradientTransformationExtraArgs:
    r""":math:`\frac1n \sum_i G_i / b_i`, over all gradients that arrived for this round.

    Phase 1 collects until every worker has an entry; then each worker that is not marked yet joins the table, causes a
    step and is marked. Gradients of marked workers go to the table of the next round.

    Returns:
      A transformation whose ``update`` needs the keywords ``worker`` and ``apply``: the server steps where the arrivals say
      so. If the schedule says otherwise, the update is zero.

    Example:
      >>> rule = jasgd.rules.scale_by_ringleader(num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0, apply=False)
      >>> update, state = rule.update(3 * jnp.ones(1), state, worker=1, apply=True)
      >>> float(update[0])
      2.0
    """
    require_count("num_workers", num_workers)

    def init_fn(params: optax.Params) -> RingleaderState:
        zero = _rows.sums_like(params)
        return RingleaderState(
            ringleader_tables=_rows.zeros(params, 2 * num_workers),
            ringleader_counts=jnp.zeros((2, num_workers), jnp.int32),
            ringleader_means=_rows.zeros(zero, 2),
            ringleader_marked=jnp.zeros((num_workers,), jnp.bool_),
            ringleader_round=jnp.zeros([], jnp.int32),
        )

    def update_fn(
        updates: Any, state: RingleaderState, params: Any = None, *, worker: Any, apply: Any, **extra_args: Any
    ) -> Any:
        del params, extra_args
        now = state.ringleader_round % 2
        worker = jnp.asarray(worker)
        joins = jnp.logical_not(state.ringleader_marked[worker])
        side = jnp.where(joins, now, 1 - now)
        count = state.ringleader_counts.at[side, worker].get(mode="fill", fill_value=1)  # so that its entry is NaN
        inside = (worker >= 0) & (worker < num_workers)
        # Entries with count 0 are left over from the round before last: they count as zero.
        place = jnp.where(inside, side * num_workers + worker, 2 * num_workers)
        tables, entry = _rows.change(
            state.ringleader_tables,
            place,
            lambda old, g: jnp.where(count > 0, old, 0) + (g - jnp.where(count > 0, old, 0)) / (count + 1).astype(g.dtype),
            updates,
        )
        # With count gradients before, the entry moved by (g - entry) / count, the first one by g.
        change = jax.tree.map(
            lambda d, g: jnp.where(count > 0, d / jnp.maximum(count, 1).astype(d.dtype), g.astype(d.dtype)),
            _rows.difference(updates, entry),
            updates,
        )
        means, _ = _rows.change(state.ringleader_means, side, lambda m, c: m + c / num_workers, change)
        counts = state.ringleader_counts.at[side, worker].add(1)
        steps = joins & jnp.all(counts[now] > 0)
        marked = state.ringleader_marked.at[worker].set(state.ringleader_marked[worker] | steps)
        out = jax.tree.map(
            lambda m, g: jnp.where(steps & jnp.asarray(apply), m, 0).astype(g.dtype), _rows.row(means, now), updates
        )
        ends = jnp.all(marked)  # the next table becomes this round's, and this round's is cleared
        means, _ = _rows.change(means, now, lambda m: jnp.where(ends, 0, m))
        return out, RingleaderState(
            ringleader_tables=tables,
            ringleader_counts=jnp.where(ends, counts.at[now].set(0), counts),
            ringleader_means=means,
            ringleader_marked=marked & jnp.logical_not(ends),
            ringleader_round=state.ringleader_round + ends.astype(jnp.int32),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def ringleader(learning_rate: optax.ScalarOrSchedule, num_workers: int) -> optax.GradientTransformationExtraArgs:
    """Ringleader ASGD's table; needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.ringleader(0.01, num_workers=100)
    """
    return optax.chain(scale_by_ringleader(num_workers), when_applied(scale_by_learning_rate(learning_rate)))
