"""A copy for every run of what the runs of a seed share.

XLA merges the products of many runs' parameters with one batch into a single large one, for which it first transposes the
parameters of every run. On a CPU that pays only where the parameters are smaller than the batch: with copies, sweeps of
larger perceptrons were 1 to 1.4 times as fast, those of smaller ones 0.5 to 1.
"""

from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_batching.custom_vmap
def copied(batch: Any, run: Any) -> Any:
    """The batch; mapped over runs that share it, its arrays for each of them: ``run`` is what differs.

    Example:
      >>> jax.vmap(copied, in_axes=(None, 0))(jnp.ones(2), jnp.zeros(3)).shape
      (3, 2)
    """
    del run
    return batch


@copied.def_vmap
def _(runs: int, mapped: Any, batch: Any, run: Any) -> tuple[Any, Any]:
    del run
    shared = jax.tree.map(lambda leaf, own: leaf.ndim > 0 and not own, batch, mapped[0])

    def of(leaf: jax.Array, copy: bool) -> jax.Array:
        return jax.lax.optimization_barrier(jnp.broadcast_to(leaf, (runs, *leaf.shape))) if copy else leaf

    return jax.tree.map(of, batch, shared), jax.tree.map(lambda own, copy: own or copy, mapped[0], shared)
