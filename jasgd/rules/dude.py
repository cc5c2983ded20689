r"""DuDe-ASGD: the mean of the latest gradient of *every* worker, at every step.

Wang, Sun, Wai, Zhang, "Dual-Delayed Asynchronous SGD for Arbitrarily Heterogeneous Data",
https://arxiv.org/abs/2405.16966, also called IA2SGD; with one arrival per step it is ACE
(https://arxiv.org/abs/2511.19066), with fresh gradients SAG or IAG. Algorithm recalled, checked against public code of ACE.

The mean is always over all N workers, so that slow workers weigh as much as fast ones. It is updated incrementally and taken
anew from the table every N updates; its rounding errors do not grow with the length of a run.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import require_count
from jasgd.rules import _rows
from jasgd.rules._learning_rate import scale_by_learning_rate
from jasgd.rules.when_applied import when_applied

CITATION = """\
@article{wang2024dual,
  title={Dual-Delayed Asynchronous {SGD} for Arbitrarily Heterogeneous Data},
  author={Wang, Xiaolu and Sun, Yuchang and Wai, Hoi-To and Zhang, Jun},
  journal={arXiv:2405.16966}, year={2024}}
"""

Start = Literal["wait", "zero"]


class DuDeState(NamedTuple):
    """State of :func:`scale_by_dude`."""

    gradient_table: optax.Updates  # leaves (N, *leaf.shape)
    table_mean: optax.Updates  # like the parameters, in single precision at least
    table_seen: jax.Array  # (N,), bool, workers that have an entry
    table_count: jax.Array  # (), int32, arrivals so far


def scale_by_dude(
    num_workers: int, *, start: Start = "wait", table: optax.Updates | None = None
) -> optax.GradientTransformationExtraArgs:
    r""":math:`G_i \leftarrow g`, :math:`g \mapsto \frac1n \sum_j G_j`, with :math:`i` the worker that delivers.

    Args:
      num_workers: n.
      start: what to do until every worker has delivered once: "wait" (return zero) or take missing entries for "zero".
        Under ``protocols.asynchronous(..., first_round="together")`` waiting is the paper's synchronous first round.
      table: entries to start with, leaves (n, \*leaf.shape), e.g. all workers' gradients at the starting point.

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``. A worker outside the table gives NaN.

    Example:
      >>> rule = jasgd.rules.scale_by_dude(num_workers=2)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=0)
      >>> update, state = rule.update(3 * jnp.ones(1), state, worker=1)
      >>> float(update[0])
      2.0
    """
    require_count("num_workers", num_workers)
    if start not in ("wait", "zero"):
        raise ValueError(f"`start` must be 'wait' or 'zero', got {start!r}.")

    def init_fn(params: optax.Params) -> DuDeState:
        entries = _rows.initial(params, num_workers, table)
        return DuDeState(
            gradient_table=entries,
            table_mean=_rows.mean(entries),
            table_seen=jnp.full((num_workers,), table is not None or start == "zero"),
            table_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: DuDeState, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        old = _rows.row(state.gradient_table, worker)
        average = _rows.moved(state.table_mean, _rows.difference(updates, old), num_workers)
        entries = _rows.replace(state.gradient_table, worker, updates, after=average)
        average = _rows.refreshed(average, entries, state.table_count)
        seen = state.table_seen.at[worker].set(True)
        full = jnp.all(seen)
        out = jax.tree.map(lambda m, g: jnp.where(full, m, jnp.zeros_like(m)).astype(g.dtype), average, updates)
        return out, DuDeState(
            gradient_table=entries,
            table_mean=average,
            table_seen=seen,
            table_count=optax.safe_increment(state.table_count),
        )

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def dude(
    learning_rate: optax.ScalarOrSchedule,
    num_workers: int,
    *,
    start: Start = "wait",
    table: optax.Updates | None = None,
) -> optax.GradientTransformationExtraArgs:
    """DuDe-ASGD, one step per arrival, which is also ACE and IA2SGD; needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.dude(0.01, num_workers=100)
    """
    return optax.chain(scale_by_dude(num_workers, start=start, table=table), scale_by_learning_rate(learning_rate))


def semi_asynchronous_dude(
    learning_rate: optax.ScalarOrSchedule,
    num_workers: int,
    *,
    start: Start = "wait",
    table: optax.Updates | None = None,
) -> optax.GradientTransformationExtraArgs:
    """DuDe-ASGD with one step per gathered set of workers; needs the keywords ``worker`` and ``apply``.

    Example:
      >>> rule = jasgd.rules.semi_asynchronous_dude(0.01, num_workers=100)
    """
    return optax.chain(
        scale_by_dude(num_workers, start=start, table=table), when_applied(scale_by_learning_rate(learning_rate))
    )
