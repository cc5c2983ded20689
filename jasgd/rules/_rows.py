"""One entry per worker: tables whose leaves are (N, *leaf.shape).

A table lives once, in the rule's state, and one row is replaced per arrival, in place when the state is donated.
A worker outside the table reads NaN, so that a wrong index cannot pass for a plausible curve.
"""

from typing import Any

import jax
import jax.numpy as jnp


def zeros(params: Any, rows: int) -> Any:
    """A table of zeros."""
    return jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (rows, *p.shape)), params)


def row(table: Any, worker: jax.Array) -> Any:
    """The entry of one worker."""
    return jax.tree.map(lambda rows: rows.at[worker].get(mode="fill", fill_value=jnp.nan), table)


def replace(table: Any, worker: jax.Array, entry: Any) -> Any:
    """The table with another entry for one worker."""
    return jax.tree.map(lambda rows, new: rows.at[worker].set(new.astype(rows.dtype)), table, entry)


def sum_dtype(leaf: jax.Array) -> Any:
    """Sums are kept in single precision at least."""
    return jnp.promote_types(leaf.dtype, jnp.float32)


def mean(table: Any) -> Any:
    """Mean over the workers."""
    return jax.tree.map(lambda rows: jnp.mean(rows, axis=0, dtype=sum_dtype(rows)), table)


def move_mean(average: Any, table: Any, old: Any, new: Any, updates_before: jax.Array) -> Any:
    """The mean after one entry went from ``old`` to ``new``; ``table`` holds the new one already.

    Every N updates it is taken from the table again, which costs one row per update on average. The rounding errors of
    at most N additions can add up in between, however long the run is.
    """
    count = jax.tree.leaves(table)[0].shape[0]

    def moved() -> Any:
        return jax.tree.map(
            lambda m, before, after: m + (after.astype(m.dtype) - before.astype(m.dtype)) / count, average, old, new
        )

    return jax.lax.cond(updates_before % count == count - 1, lambda: mean(table), moved)


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
