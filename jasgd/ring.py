"""The delay buffer: a ring array of stale parameter snapshots.

Every leaf of the parameters has one array of shape (rows, *leaf.shape). Which slot holds which version is decided on the
host, where it is also checked: nothing here may clamp an index that is out of range into a plausible wrong answer.
The last row takes what nobody reads.

Numbers of ``bfloat16`` are stored by their bits, as integers: XLA on CPUs would convert the whole ring to single precision
and back again for every row that is written.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax


def init(params: optax.Params, rows: int) -> optax.Params:
    """A ring whose slot 0 holds ``params``, version 0."""
    bits = jax.tree.map(_bits, params)
    return jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype).at[0].set(leaf), bits)


def numbers(content: Any) -> optax.Params:
    """What has been read out of a ring, as numbers."""

    def of(leaf: jax.Array) -> jax.Array:
        return jax.lax.bitcast_convert_type(leaf, jnp.bfloat16) if leaf.dtype == jnp.uint16 else leaf

    return jax.tree.map(of, content)


def stored(values: Any, ring: optax.Params) -> Any:
    """Values as a ring holds them, rounded to its dtypes."""

    def of(leaf: jax.Array, rows: jax.Array) -> jax.Array:
        dtype = jnp.bfloat16 if rows.dtype == jnp.uint16 else rows.dtype
        return _bits(leaf if leaf.dtype == dtype else leaf.astype(dtype))

    return jax.tree.map(of, values, ring)


def _bits(leaf: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(leaf, jnp.uint16) if leaf.dtype == jnp.bfloat16 else leaf


def read(ring: optax.Params, slot: jax.Array) -> optax.Params:
    """The content of one slot."""
    return jax.tree.map(lambda rows: take(rows, slot), ring)


def take(rows: jax.Array, index: jax.Array) -> jax.Array:
    """One row. The index has no sign, so that XLA does not look for negative ones wherever the row is used."""
    start = (index.astype(jnp.uint32), *(jnp.uint32(0),) * (rows.ndim - 1))
    return jax.lax.dynamic_slice(rows, start, (1, *rows.shape[1:]))[0]


def gather(ring: optax.Params, slots: jax.Array) -> optax.Params:
    """The contents of several slots, stacked."""
    return jax.tree.map(lambda rows: rows.at[slots].get(mode="promise_in_bounds"), ring)


def write(ring: optax.Params, slot: jax.Array, value: optax.Params) -> optax.Params:
    """Replace the content of one slot."""

    def put(rows: jax.Array, leaf: jax.Array) -> jax.Array:
        start = (slot.astype(jnp.uint32), *(jnp.uint32(0),) * leaf.ndim)
        return jax.lax.dynamic_update_slice(rows, leaf[None], start)

    return jax.tree.map(put, ring, value)


def scatter(ring: optax.Params, slots: jax.Array, values: optax.Params) -> optax.Params:
    """Replace the contents of several slots, all different; what is meant for a slot beyond the last is dropped."""

    def put(rows: jax.Array, leaf: jax.Array) -> jax.Array:
        return rows.at[slots.astype(jnp.uint32)].set(leaf, mode="drop", unique_indices=True)

    return jax.tree.map(put, ring, values)
