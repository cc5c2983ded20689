"""A pytree as one vector of d coordinates."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike


def dimension(tree: Any) -> int:
    """d, the number of coordinates of all leaves; leaves that are not floating-point arrays are refused."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            where = jax.tree_util.keystr(path) or "the message"
            raise ValueError(f"a message must hold real floating-point numbers, but {where} is {jnp.result_type(leaf)}.")
    return sum(np.size(leaf) for leaf in jax.tree.leaves(tree))


def wide(dtype: DTypeLike) -> Any:
    """The dtype to compute in: single precision at least."""
    return jnp.promote_types(dtype, jnp.float32)


def weigh(tree: Any, weights: jax.Array, factor: ArrayLike) -> Any:
    """Each coordinate times its weight, (d,), and a common factor; exactly 0 where the weight is, whatever stood there."""
    leaves, structure = jax.tree.flatten(tree)
    ends = np.cumsum([0, *map(np.size, leaves)])

    def one(leaf: jax.Array, weight: jax.Array) -> jax.Array:
        x = leaf.astype(wide(leaf.dtype))
        weight = weight.reshape(x.shape)
        return jnp.where(weight > 0, x * weight.astype(x.dtype) * factor, 0.0).astype(leaf.dtype)

    parts = [weights[begin:end] for begin, end in itertools.pairwise(ends)]
    return jax.tree.unflatten(structure, map(one, map(jnp.asarray, leaves), parts))


def magnitudes(leaves: list[jax.Array]) -> tuple[list[jax.Array], jax.Array]:
    """Moduli divided by the largest, which makes norms safe from over- and underflow, and the largest, 1 if all are 0."""
    moduli = [jnp.abs(leaf.astype(wide(leaf.dtype))) for leaf in leaves]
    largest = jnp.stack([modulus.max(initial=0.0) for modulus in moduli]).max()
    largest = jnp.where(largest == 0, jnp.ones_like(largest), largest)
    return [modulus / largest for modulus in moduli], largest
