"""Snapshots in a narrower dtype than the parameters, as in mixed-precision training.

The server keeps its parameters, what a rule remembers and all sums in the dtype of the parameters, say single precision.
What workers read, and the gradients that they send, are rounded to ``snapshot_dtype``, say ``bfloat16``: the gradient of the
problem is called at parameters of that dtype, and what comes back is rounded to it and then added up in that of the
parameters. So the ring, which holds versions and gradients that wait for their turn, takes half the memory, and small
updates are not lost, as they would be in parameters of that dtype.

Whether a gradient has waited makes no difference: it is rounded once in any case, and nothing that is stored is rounded
again. ``stale_params``, recorded metrics and the mixtures of a read model are made of rounded snapshots, in the dtype of the
parameters. Points that a rule sends its workers to are rounded, too. Where a run ends, ``run.params``, is not.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd._checks import said


def checked_dtype(asked: DTypeLike | None, params: optax.Params) -> np.dtype[Any] | None:
    """The dtype of the snapshots of these parameters; None if it is that of the parameters.

    A wider one is refused: snapshots would hold nothing more, and take more memory.

    Example:
      >>> checked_dtype("bfloat16", {"w": jnp.ones(3)})
      dtype(bfloat16)
      >>> checked_dtype(jnp.float32, {"w": jnp.ones(3)}) is None
      True
    """
    if asked is None:
        return None
    try:
        dtype = jnp.dtype(asked)
    except (TypeError, ValueError):
        dtype = jnp.dtype(bool)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"`snapshot_dtype` must be a dtype of floating point such as jnp.bfloat16, got {said(asked)}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = f"params{jax.tree_util.keystr(path)}"
        if dtype.itemsize > leaf.dtype.itemsize:
            raise ValueError(
                f"`snapshot_dtype` must not be wider than the parameters, got {dtype.name} where {name} is {leaf.dtype}; "
                f"give `params` in {dtype.name} if the server is to keep more digits than the model's own parameters have."
            )
    if all(leaf.dtype == dtype for leaf in jax.tree.leaves(params)):
        return None
    if not _finite(params, dtype):
        raise ValueError(f"`snapshot_dtype` is {dtype.name}, whose largest number the parameters exceed at the start.")
    return dtype


@functools.partial(jax.jit, static_argnames="dtype")
def _finite(params: optax.Params, dtype: np.dtype[Any]) -> jax.Array:
    return jnp.all(jnp.array([jnp.isfinite(leaf.astype(dtype)).all() for leaf in jax.tree.leaves(params)]))


def snapshots_of(params: optax.Params, dtype: np.dtype[Any] | None) -> Any:
    """What a snapshot looks like: the parameters, or their shapes with another dtype.

    Example:
      >>> snapshots_of({"w": jnp.ones(3)}, jnp.dtype("bfloat16"))
      {'w': ShapeDtypeStruct(shape=(3,), dtype=bfloat16)}
    """
    return params if dtype is None else jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype), params)


def as_dtypes(tree: Any, like: Any) -> Any:
    """The numbers of a tree in the dtypes of another one; nothing happens where these are the same.

    Example:
      >>> as_dtypes(jnp.ones(2, jnp.bfloat16), jnp.zeros(2)).dtype
      dtype('float32')
    """
    return jax.tree.map(lambda leaf, other: leaf if leaf.dtype == other.dtype else leaf.astype(other.dtype), tree, like)


def rounded(tree: Any, like: Any) -> Any:
    """The same, and whatever is computed from the result is computed from the rounded numbers.

    XLA computes in single precision where a device has no arithmetic for short numbers, and leaves out conversions there and
    back again, which are all that rounds.

    Example:
      >>> float(rounded(jnp.float32(1.001), jnp.bfloat16(0)))
      1.0
    """
    if all(leaf.dtype == other.dtype for leaf, other in zip(*map(jax.tree.leaves, (tree, like)), strict=True)):
        return tree
    return jax.lax.optimization_barrier(as_dtypes(tree, like))


def rounding(gradient: Callable[..., optax.Updates]) -> Callable[..., optax.Updates]:
    """A gradient whose result is rounded to the dtypes of the point where it is taken.

    Example:
      >>> half = rounding(lambda x, batch: x + batch)
      >>> half(jnp.ones((), jnp.bfloat16), jnp.float32(0.001)).dtype
      dtype(bfloat16)
    """

    def sent(snapshot: optax.Params, batch: Any) -> optax.Updates:
        # Also where it has the dtype already: its last operation is a rounding that XLA may leave out.
        return jax.lax.optimization_barrier(as_dtypes(gradient(snapshot, batch), snapshot))

    return sent


def at_snapshots(
    function: Callable[[optax.Params], Any], params: optax.Params, dtype: np.dtype[Any] | None
) -> Callable[[optax.Params], Any]:
    """A function of parameters like these, as one of their snapshots; itself if they have the same dtype.

    Example:
      >>> of_snapshots = at_snapshots(lambda x: {"x": x}, jnp.ones(2), jnp.dtype("bfloat16"))
      >>> of_snapshots(jnp.ones(2, jnp.bfloat16))["x"].dtype
      dtype('float32')
    """
    if dtype is None:
        return function
    types = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    return lambda snapshot: function(as_dtypes(snapshot, types))
