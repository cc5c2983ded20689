"""Which parts of a rule's state are like the parameters, and which leaves have the same dtype."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class StateFormat(NamedTuple):
    """Which parts of a rule's state are like the parameters; the others are called the rest."""

    structure: Any
    like_params: tuple[bool, ...]

    def split(self, state: Any) -> tuple[list[Any], list[Any]]:
        """Trees like the parameters, and the rest."""
        nodes = list(zip(self.structure.flatten_up_to(state), self.like_params, strict=True))
        return [node for node, like in nodes if like], [node for node, like in nodes if not like]

    def join(self, trees: Sequence[Any], rest: Sequence[Any]) -> Any:
        """The state again."""
        of_params, others = iter(trees), iter(rest)
        return self.structure.unflatten([next(of_params) if like else next(others) for like in self.like_params])


def state_format(state: Any, params: optax.Params) -> StateFormat:
    """Find the parts of a rule's state that have the structure and the shapes of the parameters.

    Example:
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
      >>> state_format(optax.adam(0.1).init(params), params).like_params
      (False, True, True)
    """
    structure: Any = jax.tree.structure(params)
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]

    def like(node: Any) -> bool:
        leaves, tree = jax.tree.flatten(node)
        if structure != tree:
            return False
        return [leaf.shape for leaf in leaves] == shapes and all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)

    nodes, tree = jax.tree.flatten(state, is_leaf=like)
    return StateFormat(structure=tree, like_params=tuple(map(like, nodes)))


def dtype_groups(leaves: Sequence[jax.Array]) -> list[tuple[int, ...]]:
    """The leaves of every dtype, in order of first appearance.

    Example:
      >>> dtype_groups([jnp.ones(2), jnp.ones(3, jnp.bfloat16), jnp.ones(4)])
      [(0, 2), (1,)]
    """
    groups: dict[Any, list[int]] = {}
    for i, leaf in enumerate(leaves):
        groups.setdefault(leaf.dtype, []).append(i)
    return [tuple(group) for group in groups.values()]
