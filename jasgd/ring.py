"""The delay buffer: a ring array of stale parameter snapshots.

Every leaf of the parameters has one array of shape (rows, *leaf.shape). Which slot holds which version is decided on the
host, where it is also checked: nothing here may clamp an index that is out of range into a plausible wrong answer.
The last row takes what nobody reads.
"""

import jax
import jax.numpy as jnp
import optax


def init(params: optax.Params, rows: int) -> optax.Params:
    """A ring whose slot 0 holds ``params``, version 0."""
    return jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype).at[0].set(leaf), params)


def read(ring: optax.Params, slot: jax.Array) -> optax.Params:
    """The content of one slot."""
    return jax.tree.map(lambda rows: jax.lax.dynamic_index_in_dim(rows, slot, keepdims=False), ring)


def gather(ring: optax.Params, slots: jax.Array) -> optax.Params:
    """The contents of several slots, stacked."""
    return jax.tree.map(lambda rows: rows.at[slots].get(mode="promise_in_bounds"), ring)


def write(ring: optax.Params, slot: jax.Array, value: optax.Params) -> optax.Params:
    """Replace the content of one slot."""
    return jax.tree.map(lambda rows, leaf: jax.lax.dynamic_update_index_in_dim(rows, leaf, slot, 0), ring, value)


def scatter(ring: optax.Params, slots: jax.Array, values: optax.Params) -> optax.Params:
    """Replace the contents of several slots; slots beyond the ring are left out."""
    return jax.tree.map(lambda rows, stack: rows.at[slots].set(stack, mode="drop"), ring, values)
