"""One entry per worker: tables whose leaves are (N, *leaf.shape).

A table lives once, in the rule's state, and one row of it changes per arrival. XLA does that in place only if nothing reads
the old row after the new one is written, and it may compute a cheap reader again wherever its result is used. So a rule
either changes the row and reads it back (:func:`change`), or makes the new row depend on what was computed from the old
one and is kept in the state (:func:`replace`).

A worker outside the table reads NaN, so that a wrong index cannot pass for a plausible curve.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def zeros(params: Any, rows: int) -> Any:
    """A table of zeros."""
    return jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (rows, *p.shape)), params)


def row(table: Any, worker: jax.Array) -> Any:
    """The entry of one worker."""
    index = _index(worker)

    def read(rows: jax.Array) -> jax.Array:
        return jnp.where(index < rows.shape[0], _slice(rows, index), jnp.nan)

    return jax.tree.map(read, table)


def change(table: Any, worker: jax.Array, function: Callable[..., jax.Array], *trees: Any) -> tuple[Any, Any]:
    """The table with ``function(entry, *leaves)`` as the entry of one worker, and that entry."""
    new = jax.tree.map(
        lambda rows, old, *leaves: function(old, *leaves).astype(rows.dtype), table, row(table, worker), *trees
    )
    table = jax.tree.map(lambda rows, entry: _write(rows, worker, entry), table, new)
    return table, row(table, worker)


def replace(table: Any, worker: jax.Array, entry: Any, *, after: Any) -> Any:
    """The table with another entry for one worker, NaN where ``after`` is.

    Args:
      table: the table.
      worker: whose entry it is.
      entry: the new one.
      after: what was computed from the old one; it must be part of the state that the rule returns.
    """

    def put(rows: jax.Array, new: jax.Array, computed: jax.Array) -> jax.Array:
        return _write(rows, worker, jnp.where(jnp.isnan(computed), jnp.nan, new).astype(rows.dtype))

    return jax.tree.map(put, table, entry, after)


def _index(worker: jax.Array) -> jax.Array:
    return jnp.asarray(worker).astype(jnp.uint32)


def _slice(rows: jax.Array, index: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(rows, _start(rows, index), (1, *rows.shape[1:]))[0]


def _write(rows: jax.Array, worker: jax.Array, entry: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice(rows, entry[None], _start(rows, _index(worker)))


def _start(rows: jax.Array, index: jax.Array) -> tuple[jax.Array, ...]:
    return (index, *(jnp.uint32(0),) * (rows.ndim - 1))


def sum_dtype(leaf: jax.Array) -> Any:
    """Sums are kept in single precision at least."""
    return jnp.promote_types(leaf.dtype, jnp.float32)


def sums_like(params: Any) -> Any:
    """Zeros like the parameters, in single precision at least: squares of small numbers are zero in half precision."""
    return jax.tree.map(lambda p: jnp.zeros_like(p, sum_dtype(p)), params)


def mean(table: Any) -> Any:
    """Mean over the workers."""
    return jax.tree.map(lambda rows: jnp.mean(rows, axis=0, dtype=sum_dtype(rows)), table)


def difference(new: Any, old: Any) -> Any:
    """``new - old`` in single precision at least."""
    return jax.tree.map(lambda a, b: a.astype(sum_dtype(a)) - b.astype(sum_dtype(a)), new, old)


def moved(average: Any, changed: Any, count: int) -> Any:
    """The mean over ``count`` entries after one of them changed."""
    return jax.tree.map(lambda m, d: m + d / count, average, changed)


def refreshed(average: Any, table: Any, updates_before: jax.Array) -> Any:
    """The mean, every N updates taken from the table again.

    That costs one row per update on average. The rounding errors of at most N additions can add up in between, however
    long the run is.
    """
    count = next((rows.shape[0] for rows in jax.tree.leaves(table)), 1)  # no leaves: the empty part of a partition
    return jax.lax.cond(updates_before % count == count - 1, lambda: mean(table), lambda: average)


def cast_like(tree: Any, like: Any) -> Any:
    """The same numbers in the dtypes of another tree."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype), tree, like)


def initial(params: Any, rows: int, table: Any) -> Any:
    """A copy of the table that was given, or zeros."""
    if table is None:
        return zeros(params, rows)
    return jax.tree.map(_entry, params, table, jax.tree.map(lambda _: rows, params))


def _entry(param: Any, entry: Any, rows: int) -> jax.Array:
    if jnp.shape(entry) != (rows, *param.shape):
        raise ValueError(
            f"`table` must hold one entry per worker, shape {(rows, *param.shape)}, got shape {jnp.shape(entry)}."
        )
    return jnp.array(entry, param.dtype)
