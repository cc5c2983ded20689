r"""Rules that are linear, found in their traced programs.

Most rules of asynchronous SGD are linear: with a parameter x, what the rule remembers of it, and a gradient g,

.. math:: z_{j+1} = A_j z_j + b_j g_j, \qquad z = (x, \text{state}),

with one small matrix for all coordinates, known from the schedule: step sizes, momentum, weights of delays. For these, all
versions of a step can be formed at once (:mod:`jasgd.at_once`).

Whether a rule is linear is not tried out with numbers but read off its program, which is evaluated once on symbols: a value
is either *known* without looking at any parameter, or a combination of the inputs that belong to one leaf of the parameters.
Coefficients are expressions, equal ones are one, so that two leaves are treated alike if and only if their coefficients are
the same expressions of equal numbers. Everything else, a product of two combinations, a norm, a condition on a gradient, is
not linear.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import optax

from jasgd.expressions import Expressions
from jasgd.extra_args import EXTRA_ARGS, extra_types
from jasgd.program import Program, entered, evaluated, trace
from jasgd.rules._rows import sum_dtype
from jasgd.state_format import dtype_groups, state_format
from jasgd.traced import Traced

# Operations that do to every coordinate what they do to a scalar.
_ELEMENTWISE = {
    *("add", "add_any", "sub", "mul", "div", "rem", "neg", "sign", "abs", "max", "min", "pow", "integer_pow", "square"),
    *("sqrt", "rsqrt", "cbrt", "exp", "exp2", "expm1", "log", "log1p", "floor", "ceil", "round", "clamp", "select_n"),
    *("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "xor", "is_finite", "convert_element_type", "copy", "copy_p"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """A rule's linear form.

    Attributes:
      coefficients: ``coefficients(numbers, extra, rest)`` gives, for every dtype of the parameters, the matrix (s, s + 1)
        that makes the update and the new state (rows) out of parameters, state and gradient (columns); and, of the rest of
        the state, those values that only the last update decides.
      rest: of every array of the state that is not like the parameters, what becomes of it: ``"constant"``; a ``"counter"``
        that goes up by one in every update; or ``"last"``, a value that only the last update decides.
      moves_with_gradients_alone: versions differ by multiples of gradients, as in SGD.
    """

    coefficients: Program
    rest: tuple[str, ...]
    moves_with_gradients_alone: bool

    def rest_after(self, rest: Sequence[jax.Array], updates: Any, last: Sequence[jax.Array] = ()) -> tuple[jax.Array, ...]:
        """The rest of the state after so many updates, with what the last one decided (by default: as it was)."""
        decided = iter(last)

        def after(fate: str, old: jax.Array) -> jax.Array:
            if fate == "counter":  # as optax.safe_increment: it stays at the largest number there is
                most = jnp.iinfo(old.dtype).max
                return jnp.where(old < most - updates, old + updates, most).astype(old.dtype)
            if fate == "last":
                return jnp.where(updates > 0, next(decided, old), old).astype(old.dtype)
            return old

        return tuple(map(after, self.rest, rest))


def linear_form(program: Traced) -> Linear | None:
    """The linear form of a traced rule, or None if it has none that can be read off.

    Example:
      >>> problem = jasgd.problems.quadratic(4)
      >>> key, x = jax.random.key(0), jnp.ones(4)
      >>> linear_form(jasgd.engine.traced(problem, optax.sgd(0.1, momentum=0.9), x, key)) is None
      False
      >>> linear_form(jasgd.engine.traced(problem, optax.adam(0.1), x, key)) is None
      True
    """
    if program.needs_stale_params or program.sends or program.read_model is not None:
        return None
    try:
        return _Reading(program).form()
    except _NotLinearError:
        return None


class _NotLinearError(Exception):
    """The program has something that is not linear."""


@dataclasses.dataclass(frozen=True)
class _Known:
    """A value that depends on no parameter, as an expression; ``uniform``: a scalar, or a scalar in every coordinate."""

    expression: int
    uniform: bool


@dataclasses.dataclass(frozen=True)
class _Combination:
    """A linear combination of inputs, each named by what it is and its leaf; coefficients are expressions."""

    terms: dict[tuple[Hashable, int], int]


class _Reading:
    """One rule's program, evaluated on symbols."""

    def __init__(self, program: Traced) -> None:
        self.program, self.table = program, Expressions()
        self.format = state_format(program.rule_state, program.params)
        self.leaves = jax.tree.leaves(program.params)
        self.trees, self.rest = self.format.split(program.rule_state)

    def form(self) -> Linear:
        """The linear form; raises if there is none."""
        rule, numbers = self.program.rule, self.program.numbers.rule
        if str(rule.out_tree) != str(jax.tree.structure((self.program.params, self.program.rule_state))):
            raise _NotLinearError
        groups = dtype_groups(self.leaves)
        for leaves in map(jax.tree.leaves, self.trees):  # a vector has one dtype
            if any(leaves[i].dtype != leaves[group[0]].dtype for group in groups for i in group):
                raise _NotLinearError
        known = list(map(self._number, numbers))
        extra = {name: _Known(self.table.make(("extra", name)), True) for name in EXTRA_ARGS}
        rest = [_Known(self.table.make(("rest", i)), array.ndim == 0) for i, array in enumerate(self.rest)]
        state = self.format.join([self._inputs(k) for k in range(len(self.trees))], rest)
        arguments = (self._inputs("gradient"), state, self._inputs("params"), extra, self._inputs("stale"))
        outputs = self._run(rule.closed, [*known, *jax.tree.leaves(arguments)])
        updates, new_state = jax.tree.unflatten(rule.out_tree, outputs)
        new_trees, new_rest = self.format.split(new_state)

        fates = tuple(map(self._fate, rest, new_rest, self.rest))
        last = [value.expression for value, fate in zip(new_rest, fates, strict=True) if fate == "last"]
        kinds = ("params", *range(len(self.trees)), "gradient")
        matrices = [[self._row(tree, group, kinds) for tree in (updates, *new_trees)] for group in groups]
        needed = self.table.needed([*last, *(entry for matrix in matrices for row in matrix for entry in row)])
        if any(value.expression in needed for value, fate in zip(rest, fates, strict=True) if fate == "last"):
            raise _NotLinearError  # it would have to be followed from update to update
        dtypes = [sum_dtype(self.leaves[group[0]]) for group in groups]

        def coefficients(numbers: Any, told: Any, states: Any) -> Any:
            inputs = [*known, *extra.values(), *rest]
            values = [*numbers, *(told[name] for name in extra), *states]
            given = {value.expression: array for value, array in zip(inputs, values, strict=True)}
            computed = self.table.values(needed, given)

            def matrix(rows: list[list[int]], dtype: Any) -> jax.Array:
                return jnp.stack([jnp.stack([jnp.asarray(computed[entry], dtype) for entry in row]) for row in rows])

            return tuple(map(matrix, matrices, dtypes)), tuple(computed[expression] for expression in last)

        found, constants = trace(coefficients, numbers, extra_types(), tuple(self.rest))
        if constants:
            raise _NotLinearError
        alone = not self.trees and all(row[0] == self.table.zero for matrix in matrices for row in matrix)
        return Linear(coefficients=found, rest=fates, moves_with_gradients_alone=alone)

    def _inputs(self, kind: Hashable) -> Any:
        combinations = [_Combination({(kind, i): self.table.one}) for i in range(len(self.leaves))]
        return jax.tree.unflatten(jax.tree.structure(self.program.params), combinations)

    def _row(self, tree: Any, group: tuple[int, ...], kinds: Sequence[Hashable]) -> list[int]:
        """The coefficients of an output, which must be the same for all leaves of a dtype, and of their own inputs."""
        rows = []
        for leaf, held in enumerate(jax.tree.leaves(tree)):
            terms = self._combination(held).terms
            if any(other != leaf for _, other in terms):
                raise _NotLinearError
            by_kind = {kind: entry for (kind, _), entry in terms.items()}
            if "stale" in by_kind:
                raise _NotLinearError
            rows.append([by_kind.get(kind, self.table.zero) for kind in kinds])
        first = rows[group[0]]
        if not all(self.table.alike(*pair) for leaf in group for pair in zip(rows[leaf], first, strict=True)):
            raise _NotLinearError
        return first

    def _fate(self, before: _Known, after: Any, array: jax.Array) -> str:
        """What becomes of an array of the state that is not like the parameters."""
        if after == before:
            return "constant"
        if array.ndim or not isinstance(after, _Known):
            raise _NotLinearError
        if jnp.issubdtype(array.dtype, jnp.integer):
            (counted,) = self._run(jax.make_jaxpr(optax.safe_increment)(array), [before])
            if counted == after:
                return "counter"
        return "last"

    def _run(self, closed: jex.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
        """Evaluate a program on symbols."""
        jaxpr = closed.jaxpr
        values = dict(zip(jaxpr.constvars, map(self._constant, closed.consts), strict=True))
        values |= dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return self._constant(np.asarray(atom.val, atom.aval.dtype)) if isinstance(atom, jex.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inputs, inner = list(map(read, eqn.invars)), entered(eqn)
            if eqn.effects:
                raise _NotLinearError
            if eqn.primitive.name == "cond":
                branches = zip(*(self._run(branch, inputs[1:]) for branch in inner), strict=True)
                outputs = [self._selected(inputs[0], list(cases)) for cases in branches]
            elif inner:
                outputs = self._run(inner[0], inputs)
            elif all(isinstance(value, _Known) for value in inputs):
                outputs = self._known(jaxpr, eqn, inputs)
            else:
                outputs = [self._combined(eqn, inputs)]
            values.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))

    def _number(self, value: jax.Array) -> _Known:
        """Never taken by its value, which another run of a sweep does not share."""
        if jnp.issubdtype(value.dtype, jax.dtypes.extended):
            raise _NotLinearError  # a random key
        return _Known(self.table.number(value), value.ndim == 0)

    def _constant(self, value: Any) -> _Known:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended):
            raise _NotLinearError
        return _Known(self.table.constant(value), np.ndim(value) == 0)

    def _known(self, jaxpr: jex.Jaxpr, eqn: jex.JaxprEqn, inputs: list[_Known]) -> list[_Known]:
        """An operation on what is known: on one scalar, if all coordinates are alike."""
        name, uniform = eqn.primitive.name, all(value.uniform for value in inputs)
        if name == "broadcast_in_dim" and uniform and len(inputs) == 1:
            return inputs
        scalar = not any(atom.aval.shape for atom in (*eqn.invars, *eqn.outvars))
        shapes = [atom.aval.shape for atom in eqn.invars]
        if uniform and (scalar or name in _ELEMENTWISE):

            def evaluate(*values: Any) -> Any:
                results = eqn.primitive.bind(*values, **eqn.params)
                return results if eqn.primitive.multiple_results else [results]

        else:
            uniform = False

            def evaluate(*values: Any) -> Any:
                return evaluated(jaxpr, eqn, list(map(jnp.broadcast_to, values, shapes)))

        of_shapes = None if uniform else tuple(shapes)
        results = self.table.operation(eqn, of_shapes, evaluate, tuple(value.expression for value in inputs))
        return [_Known(e, uniform or not var.aval.shape) for e, var in zip(results, eqn.outvars, strict=True)]

    def _combined(self, eqn: jex.JaxprEqn, inputs: list[Any]) -> Any:
        """An operation that looks at a parameter, a gradient or their like."""
        name, table = eqn.primitive.name, self.table
        if name in ("add", "add_any", "sub"):
            left, right = map(self._combination, inputs)
            return _sum(table, left, _mapped(right, table.negative) if name == "sub" else right)
        if name == "neg":
            return _mapped(inputs[0], table.negative)
        if name == "mul":
            known, value = inputs if isinstance(inputs[0], _Known) else inputs[::-1]
            factor = self._scalar(known)
            return _mapped(value, lambda entry: table.product(entry, factor))
        if name == "div":
            divisor = self._scalar(inputs[1])
            return _mapped(inputs[0], lambda entry: table.quotient(entry, divisor))
        if name == "select_n":
            return self._selected(inputs[0], inputs[1:])
        to_float = name == "convert_element_type" and jnp.issubdtype(eqn.params["new_dtype"], jnp.floating)
        if to_float or name in ("copy", "copy_p") or (name == "integer_pow" and eqn.params["y"] == 1):
            return inputs[0]
        raise _NotLinearError

    def _selected(self, index: Any, cases: list[Any]) -> Any:
        """One of several values, chosen by a scalar."""
        if all(case == cases[0] for case in cases):
            return cases[0]
        which = self._scalar(index)
        if all(isinstance(case, _Known) and case.uniform for case in cases):
            key, select = "select known", jax.lax.select_n
            return _Known(self.table.make(key, select, which, *(case.expression for case in cases)), True)
        terms = [self._combination(case).terms for case in cases]
        atoms = dict.fromkeys(atom for combination in terms for atom in combination)
        zero = self.table.zero
        return _Combination({a: self.table.selected(which, [t.get(a, zero) for t in terms]) for a in atoms})

    def _combination(self, value: Any) -> _Combination:
        if isinstance(value, _Combination):
            return value
        if value.uniform and self.table.is_zero(value.expression):
            return _Combination({})
        raise _NotLinearError

    def _scalar(self, value: Any) -> int:
        if isinstance(value, _Known) and value.uniform:
            return value.expression
        raise _NotLinearError


def _mapped(combination: _Combination, function: Callable[[int], int]) -> _Combination:
    return _Combination({atom: function(entry) for atom, entry in combination.terms.items()})


def _sum(table: Expressions, left: _Combination, right: _Combination) -> _Combination:
    both = {a: table.sum(left.terms[a], entry) for a, entry in right.terms.items() if a in left.terms}
    return _Combination(left.terms | right.terms | both)
