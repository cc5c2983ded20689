"""Parameters as one long vector per dtype, so that an operation on them is one operation, however many leaves there are.

A traced problem and a rule with a linear form (:mod:`jasgd.linear`) become the same over such vectors. The engine does not
know the difference; results are taken apart again where people see them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd.extra_args import extra_types
from jasgd.linear import Linear, linear_form
from jasgd.precision import snapshots_of
from jasgd.program import Program, trace
from jasgd.state_format import StateFormat, dtype_groups, state_format
from jasgd.traced import Traced


class FlatState(NamedTuple):
    """The state of a linear rule: parts like the parameters, each a vector per dtype, and the rest."""

    like_params: tuple[tuple[jax.Array, ...], ...]
    rest: tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flat:
    """A program over vectors, and the way back to trees.

    Attributes:
      program: the problem and the rule over vectors.
      structure, shapes: of the parameters.
      groups: for every vector the leaves that lie in it, one after the other.
      state: which parts of the rule's state are like the parameters.
    """

    program: Traced
    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    state: StateFormat

    def trees(self, params: Sequence[jax.Array], state: FlatState) -> tuple[optax.Params, optax.OptState]:
        """The parameters and the rule's state again."""
        return self.params(params), self.state.join([self.params(vectors) for vectors in state.like_params], state.rest)

    def params(self, vectors: Sequence[jax.Array]) -> optax.Params:
        """The parameters, or anything like them, again."""
        return _tree(self.structure, self.shapes, self.groups, vectors)

    def vectors(self, tree: optax.Params) -> tuple[jax.Array, ...]:
        """Parameters, or anything like them, as vectors."""
        return _vectors(self.groups, tree)

    def rule_state(self, state: optax.OptState) -> FlatState:
        """The state of the rule as vectors."""
        return _flat_state(self.groups, self.state, state)

    def over_params(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program of the parameters, as one of the vectors; it takes the same numbers."""
        return _traced(lambda numbers, vectors: function(numbers, self.params(vectors)), numbers, self.program.snapshots)

    def start(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program that makes parameters from a key, as one that makes vectors."""
        key = function.closed.in_avals[-1]
        return _traced(lambda numbers, key: self.vectors(function(numbers, key)), numbers, key)

    def rule_start(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program that makes the rule's state from parameters, as one of vectors."""

        def start(numbers: Any, vectors: Any) -> FlatState:
            return self.rule_state(function(numbers, self.params(vectors)))

        return _traced(start, numbers, self.program.params)


def launches_cost() -> bool:
    """Whether the default device pays for every operation that it starts, so that few wide ones are worth it: no CPU does.

    Example:
      >>> launches_cost()
      False
    """
    return jax.default_backend() != "cpu"


def flattened(program: Traced) -> Flat | None:
    """The same over vectors, if the rule has a linear form.

    Example:
      >>> params = {"w": jnp.ones((3, 4)), "b": jnp.ones(4)}
      >>> problem = jasgd.Problem(
      ...     init=lambda key: params,
      ...     loss=lambda p, batch: jnp.sum(p["w"] ** 2) + jnp.sum(p["b"]),
      ...     sample=lambda key, worker: worker,
      ...     metrics=lambda p: {"loss": 0.0, "grad_norm": 0.0},
      ... )
      >>> flat = flattened(jasgd.engine.traced(problem, optax.sgd(0.1), params, jax.random.key(0)))
      >>> flat.program.params[0].shape
      (16,)
    """
    linear = linear_form(program)
    if linear is None:
        return None
    leaves, structure = jax.tree.flatten(program.params)
    shapes, groups = tuple(leaf.shape for leaf in leaves), tuple(dtype_groups(leaves))
    state = state_format(program.rule_state, program.params)
    vectors, flat_state = _vectors(groups, program.params), _flat_state(groups, state, program.rule_state)
    batch = jax.tree.unflatten(program.sample.out_tree, program.sample.closed.out_avals)

    def gradient(numbers: Any, vectors: Any, batch: Any) -> Any:
        return _vectors(groups, program.gradient(numbers, _tree(structure, shapes, groups, vectors), batch))

    return Flat(
        program=dataclasses.replace(
            program,
            gradient=_traced(gradient, program.numbers.gradient, snapshots_of(vectors, program.snapshot_dtype), batch),
            rule=_rule(linear, program.numbers.rule, vectors, flat_state),
            linear=linear,
            params=vectors,
            rule_state=flat_state,
        ),
        structure=structure,
        shapes=shapes,
        groups=groups,
        state=state,
    )


def _rule(linear: Linear, numbers: list[jax.Array], params: tuple[jax.Array, ...], state: FlatState) -> Program:
    """The rule's update, from its linear form."""

    def update(numbers: Any, gradients: Any, state: FlatState, params: Any, extra: Any, stale_params: Any) -> Any:
        del stale_params  # linear rules do not look at them
        matrices, new = linear.coefficients(numbers, extra, state.rest)
        updates, like_params = [], []
        for i, (matrix, gradient) in enumerate(zip(matrices, gradients, strict=True)):
            columns = [params[i], *(tree[i] for tree in state.like_params), gradient]
            rows = [
                sum(entry * column.astype(entry.dtype) for entry, column in zip(row, columns, strict=True)) for row in matrix
            ]
            updates.append(rows[0].astype(gradient.dtype))
            like_params.append([row.astype(column.dtype) for row, column in zip(rows[1:], columns[1:-1], strict=True)])
        return tuple(updates), FlatState(tuple(zip(*like_params, strict=True)), linear.rest_after(state.rest, 1, new))

    return _traced(update, numbers, params, state, params, extra_types(), params)


def _traced(function: Any, numbers: list[jax.Array], *args: Any) -> Program:
    """A program of other programs: their numbers are its first argument, and it has none of its own."""
    program, own = trace(function, numbers, *args)
    if own:
        raise RuntimeError("a constant appeared while parameters were laid out as vectors. Please report this problem.")
    return program


def _vectors(groups: Sequence[Sequence[int]], tree: Any) -> tuple[jax.Array, ...]:
    leaves = jax.tree.leaves(tree)
    return tuple(jnp.concatenate([jnp.ravel(leaves[i]) for i in group]) for group in groups)


def _flat_state(groups: Sequence[Sequence[int]], state: StateFormat, tree: optax.OptState) -> FlatState:
    like_params, rest = state.split(tree)
    return FlatState(tuple(_vectors(groups, part) for part in like_params), tuple(map(jnp.asarray, rest)))


def _tree(structure: Any, shapes: Sequence[tuple[int, ...]], groups: Sequence[Sequence[int]], vectors: Any) -> Any:
    leaves: list[Any] = [None] * len(shapes)
    for group, vector in zip(groups, vectors, strict=True):
        ends = np.cumsum([0, *(int(np.prod(shapes[i])) for i in group)])
        for i, begin, end in zip(group, ends[:-1], ends[1:], strict=True):
            leaves[i] = vector[begin:end].reshape(shapes[i])
    return jax.tree.unflatten(structure, leaves)
