"""Parameters as one long vector per dtype, so that an operation on them is one operation, however many leaves there are.

A traced problem and a rule with a linear form (:mod:`jasgd.linear`) become the same over such vectors. The engine does not
know the difference; results are taken apart again where people see them.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaves:
    """How the leaves of the parameters lie in vectors.

    Attributes:
      structure, shapes: of the parameters.
      groups: for every vector the leaves that lie in it, one after the other.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: optax.Params) -> "Leaves":
        """A vector for every dtype."""
        leaves, structure = jax.tree.flatten(params)
        return cls(structure=structure, shapes=tuple(leaf.shape for leaf in leaves), groups=tuple(dtype_groups(leaves)))

    def vectors(self, tree: optax.Params) -> tuple[jax.Array, ...]:
        """Parameters, or anything like them, as vectors."""
        leaves = jax.tree.leaves(tree)
        return tuple(jnp.concatenate([jnp.ravel(leaves[i]) for i in group]) for group in self.groups)

    def tree(self, vectors: Sequence[jax.Array]) -> optax.Params:
        """The parameters, or anything like them, again."""
        leaves: list[Any] = [None] * len(self.shapes)
        for group, vector in zip(self.groups, vectors, strict=True):
            ends = np.cumsum([0, *(int(np.prod(self.shapes[i])) for i in group)])
            for i, begin, end in zip(group, ends[:-1], ends[1:], strict=True):
                leaves[i] = vector[begin:end].reshape(self.shapes[i])
        return jax.tree.unflatten(self.structure, leaves)

    def state(self, state_format: StateFormat, state: optax.OptState) -> FlatState:
        """The state of a rule as vectors."""
        like_params, rest = state_format.split(state)
        return FlatState(tuple(map(self.vectors, like_params)), tuple(map(jnp.asarray, rest)))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Flat:
    """A program over vectors, and the way back to trees.

    Attributes:
      program: the problem and the rule over vectors.
      leaves: where the leaves of the parameters lie.
      state: which parts of the rule's state are like the parameters.
    """

    program: Traced
    leaves: Leaves
    state: StateFormat

    def trees(self, params: Sequence[jax.Array], state: FlatState) -> tuple[optax.Params, optax.OptState]:
        """The parameters and the rule's state again."""
        return self.params(params), self.state.join(list(map(self.params, state.like_params)), state.rest)

    def params(self, vectors: Sequence[jax.Array]) -> optax.Params:
        """The parameters, or anything like them, again."""
        return self.leaves.tree(vectors)

    def over_params(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program of the parameters as they are stored, as one of the vectors; it takes the same numbers."""
        return _traced(_OfParams(function, self.leaves), numbers, self.program.snapshots)

    def start(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program that makes parameters from a key, as one that makes vectors."""
        return _traced(_Start(function, self.leaves), numbers, function.closed.in_avals[-1])

    def rule_start(self, function: Program, numbers: list[jax.Array]) -> Program:
        """A program that makes the rule's state from parameters, as one of vectors."""
        return _traced(_RuleStart(function, self.leaves, self.state), numbers, self.program.params)


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
    leaves, state = Leaves.of(program.params), state_format(program.rule_state, program.params)
    params, rule_state = leaves.vectors(program.params), leaves.state(state, program.rule_state)
    snapshots = snapshots_of(params, program.snapshot_dtype)
    batch = jax.tree.unflatten(program.sample.out_tree, program.sample.closed.out_avals)
    rule_arguments = (params, rule_state, params, extra_types(), params)
    flat = dataclasses.replace(
        program,
        gradient=_traced(_Gradient(program.gradient, leaves), program.numbers.gradient, snapshots, batch),
        rule=_traced(_Update(linear), program.numbers.rule, *rule_arguments),
        linear=linear,
        params=params,
        rule_state=rule_state,
    )
    return Flat(program=flat, leaves=leaves, state=state)


# What is traced, with all that it depends on, so that the same is traced once however many rules a sweep has.


@dataclasses.dataclass(frozen=True)
class _Gradient:
    gradient: Program
    leaves: Leaves

    def __call__(self, numbers: Any, vectors: Any, batch: Any) -> Any:
        return self.leaves.vectors(self.gradient(numbers, self.leaves.tree(vectors), batch))


@dataclasses.dataclass(frozen=True)
class _OfParams:
    function: Program
    leaves: Leaves

    def __call__(self, numbers: Any, vectors: Any) -> Any:
        return self.function(numbers, self.leaves.tree(vectors))


@dataclasses.dataclass(frozen=True)
class _Start:
    function: Program
    leaves: Leaves

    def __call__(self, numbers: Any, key: jax.Array) -> Any:
        return self.leaves.vectors(self.function(numbers, key))


@dataclasses.dataclass(frozen=True)
class _RuleStart:
    function: Program
    leaves: Leaves
    state: StateFormat

    def __call__(self, numbers: Any, vectors: Any) -> FlatState:
        return self.leaves.state(self.state, self.function(numbers, self.leaves.tree(vectors)))


@dataclasses.dataclass(frozen=True)
class _Update:
    """The rule's update, from its linear form."""

    linear: Linear

    def __call__(self, numbers: Any, gradients: Any, state: FlatState, params: Any, extra: Any, stale_params: Any) -> Any:
        del stale_params  # linear rules do not look at them
        matrices, new = self.linear.coefficients(numbers, extra, state.rest)
        updates, like_params = [], []
        for i, (matrix, gradient) in enumerate(zip(matrices, gradients, strict=True)):
            columns = [params[i], *(tree[i] for tree in state.like_params), gradient]
            rows = [
                sum(entry * column.astype(entry.dtype) for entry, column in zip(row, columns, strict=True)) for row in matrix
            ]
            updates.append(rows[0].astype(gradient.dtype))
            like_params.append([row.astype(column.dtype) for row, column in zip(rows[1:], columns[1:-1], strict=True)])
        return tuple(updates), FlatState(tuple(zip(*like_params, strict=True)), self.linear.rest_after(state.rest, 1, new))


def _traced(function: Callable[..., Any], numbers: list[jax.Array], *args: Any) -> Program:
    """A program of other programs: their numbers are its first argument, and it has none of its own."""
    leaves, structure = jax.tree.flatten((numbers, *args))
    types = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=leaf.weak_type) for leaf in leaves)
    return _traced_once(function, structure, types)


@functools.lru_cache(maxsize=256)
def _traced_once(function: Callable[..., Any], structure: Any, types: tuple[jax.ShapeDtypeStruct, ...]) -> Program:
    program, own = trace(function, *jax.tree.unflatten(structure, types))
    if own:
        raise RuntimeError("a constant appeared while parameters were laid out as vectors. Please report this problem.")
    return program
