r"""Rules that are linear, found in their traced programs.

Most rules of asynchronous SGD are linear: with a parameter x, what the rule remembers of it, and a gradient g,

.. math:: z_{j+1} = A_j z_j + b_j g_j, \qquad z = (x, \text{state}),

with one small matrix for all coordinates, known from the schedule: step sizes, momentum, weights of delays. For these, all
versions of a step can be formed at once (:mod:`jasgd.at_once`).

Whether a rule is linear is not tried out with numbers but read off its program, which is evaluated once on symbols: a value
is either *known* without looking at any parameter, or a combination of the inputs that belong to one leaf of the parameters.
Coefficients are expressions, equal ones are one, so that two leaves are treated alike if and only if their coefficients are
the same expressions. Everything else, a product of two combinations, a norm, a condition on a gradient, is not linear.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
import optax

from jasgd.extra_args import EXTRA_ARGS, extra_types
from jasgd.program import Program, entered, evaluated, trace
from jasgd.rules._rows import sum_dtype
from jasgd.traced import Traced

_ELEMENTWISE = frozenset(
    "add add_any sub mul div rem neg sign abs max min pow integer_pow square sqrt rsqrt cbrt exp exp2 log log1p expm1 floor "
    "ceil round lt le gt ge eq ne and or not xor is_finite select_n clamp convert_element_type copy copy_p".split()
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """A rule's linear form.

    Attributes:
      coefficients: ``coefficients(numbers, extra, rest)`` gives, for every dtype of the parameters, the matrix (s, s + 1)
        that makes the update and the new state (rows) out of parameters, state and gradient (columns); and the new ``rest``.
      rest: of every array of the state that is not like the parameters, what becomes of it: ``"constant"``; a ``"counter"``
        that goes up by one in every update; or ``"last"``, a value that only the last update decides.
      moves_with_gradients_alone: versions differ by multiples of gradients, as in SGD.
    """

    coefficients: Program
    rest: tuple[str, ...]
    moves_with_gradients_alone: bool

    def rest_after(self, before: Sequence[jax.Array], last: Sequence[jax.Array], updates: Any) -> tuple[jax.Array, ...]:
        """The rest of the state after so many updates, of which the last one made ``last``."""

        def after(fate: str, old: jax.Array, new: jax.Array) -> jax.Array:
            if fate == "counter":  # as optax.safe_increment: it stays at the largest number there is
                most = jnp.iinfo(old.dtype).max
                return jnp.where(old < most - updates, old + updates, most).astype(old.dtype)
            return old if fate == "constant" else jnp.where(updates > 0, new, old)

        return tuple(map(after, self.rest, before, last))


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
        trees, rest = iter(trees), iter(rest)
        return self.structure.unflatten([next(trees) if like else next(rest) for like in self.like_params])


def state_format(state: Any, params: optax.Params) -> StateFormat:
    """Find the parts of a rule's state that have the structure and the shapes of the parameters.

    Example:
      >>> params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
      >>> state_format(optax.adam(0.1).init(params), params).like_params
      (False, True, True)
    """
    structure, shapes = jax.tree.structure(params), [leaf.shape for leaf in jax.tree.leaves(params)]

    def like(node: Any) -> bool:
        if jax.tree.structure(node) != structure:
            return False
        leaves = jax.tree.leaves(node)
        return [leaf.shape for leaf in leaves] == shapes and all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)

    nodes, tree = jax.tree.flatten(state, is_leaf=like)
    return StateFormat(structure=tree, like_params=tuple(map(like, nodes)))


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


class _Expressions:
    """Expressions by number: equal ones have one number, and what they are made of has smaller ones."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._made: list[tuple[Callable[..., Any] | None, tuple[int, ...]]] = []
        self.zeros: set[int] = set()
        self.one = self.constant(np.float32(1))

    def make(self, key: Hashable, function: Callable[..., Any] | None, *inputs: int) -> int:
        """``function`` of other expressions, named by ``key``; None is an input of the program."""
        number = self._numbers.setdefault((key, inputs), len(self._made))
        if number == len(self._made):
            self._made.append((function, inputs))
        return number

    def constant(self, value: Any) -> int:
        """A number."""
        array = np.asarray(value)
        number = self.make(("value", array.dtype, array.shape, array.tobytes()), lambda: jnp.asarray(array))
        if not array.shape and array == 0:
            self.zeros.add(number)
        return number

    def needed(self, wanted: Sequence[int]) -> set[int]:
        """The expressions that some are made of."""
        seen: set[int] = set()
        waiting = list(wanted)
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                waiting.extend(self._made[number][1])
        return seen

    def values(self, wanted: Sequence[int], given: dict[int, Any]) -> dict[int, Any]:
        """Evaluate."""
        values = dict(given)
        for number in sorted(self.needed(wanted) - given.keys()):
            function, inputs = self._made[number]
            if function is None:
                raise RuntimeError("a coefficient depends on an input that it should not. Please report this rule.")
            values[number] = function(*(values[i] for i in inputs))
        return values


class _Reading:
    """One rule's program, evaluated on symbols."""

    def __init__(self, program: Traced) -> None:
        self.program, self.all = program, _Expressions()
        self.format = state_format(program.rule_state, program.params)
        self.leaves = jax.tree.leaves(program.params)
        self.trees, self.rest = self.format.split(program.rule_state)

    def form(self) -> Linear:
        """The linear form; raises if there is none."""
        rule, numbers = self.program.rule, self.program.numbers.rule
        if str(rule.out_tree) != str(jax.tree.structure((self.program.params, self.program.rule_state))):
            raise _NotLinearError
        if any(jnp.issubdtype(number.dtype, jax.dtypes.prng_key) for number in numbers):
            raise _NotLinearError
        # Numbers go by their values: every leaf has its own ones, even where they are equal.
        number_inputs = [self.all.constant(number) for number in numbers]
        extra_inputs = {name: self.all.make(("extra", name), None) for name in EXTRA_ARGS}
        rest_inputs = [self.all.make(("rest", i), None) for i in range(len(self.rest))]
        known = [_Known(e, n.ndim == 0) for e, n in zip(number_inputs, numbers, strict=True)]
        state = self.format.join(
            [self._inputs(k) for k in range(len(self.trees))],
            [_Known(e, r.ndim == 0) for e, r in zip(rest_inputs, self.rest, strict=True)],
        )
        extra = {name: _Known(e, True) for name, e in extra_inputs.items()}
        arguments = (self._inputs("gradient"), state, self._inputs("params"), extra, self._inputs("stale"))
        outputs = self._run(rule.closed, [*known, *jax.tree.leaves(arguments)])
        updates, new_state = jax.tree.unflatten(rule.out_tree, outputs)
        new_trees, new_rest = self.format.split(new_state)

        groups = dtype_groups(self.leaves)
        kinds = ("params", *range(len(self.trees)), "gradient")
        matrices = [[self._row(tree, group, kinds) for tree in (updates, *new_trees)] for group in groups]
        entries = [entry for matrix in matrices for row in matrix for entry in row if entry is not None]
        rest_outputs = [held.expression for held in new_rest if isinstance(held, _Known)]
        if len(rest_outputs) != len(new_rest):
            raise _NotLinearError
        fates = tuple(map(self._fate, rest_inputs, rest_outputs, self.rest))
        lasting = [e for e, fate in zip(rest_outputs, fates, strict=True) if fate == "last"]
        needed = self.all.needed([*entries, *lasting])
        if any(e in needed for e, fate in zip(rest_inputs, fates, strict=True) if fate == "last"):
            raise _NotLinearError

        def coefficients(numbers: Any, extra: Any, rest: Any) -> Any:
            given = dict(zip(rest_inputs, rest, strict=True)) | {extra_inputs[name]: extra[name] for name in EXTRA_ARGS}
            values = self.all.values([*entries, *lasting], given | dict(zip(number_inputs, numbers, strict=True)))
            new = [values.get(e, r) if fate == "last" else r for e, fate, r in zip(rest_outputs, fates, rest, strict=True)]
            zero = jnp.zeros(())

            def matrix(rows: Any, group: tuple[int, ...]) -> jax.Array:
                wide = sum_dtype(self.leaves[group[0]])
                flat = [zero if e is None else values[e] for row in rows for e in row]
                return jnp.stack([jnp.asarray(v, wide) for v in flat]).reshape(len(rows), len(kinds))

            return tuple(map(matrix, matrices, groups)), tuple(new)

        found, constants = trace(coefficients, numbers, extra_types(), tuple(self.rest))
        if constants:
            raise _NotLinearError
        alone = not self.trees and all(row[0] is None for matrix in matrices for row in matrix)
        return Linear(coefficients=found, rest=fates, moves_with_gradients_alone=alone)

    def _inputs(self, kind: Hashable) -> Any:
        combinations = [_Combination({(kind, i): self.all.one}) for i in range(len(self.leaves))]
        return jax.tree.unflatten(jax.tree.structure(self.program.params), combinations)

    def _row(self, tree: Any, group: tuple[int, ...], kinds: Sequence[Hashable]) -> list[int | None]:
        """The coefficients of an output, which must be the same for all leaves of a dtype, and of their own inputs."""
        rows = []
        for leaf, held in enumerate(jax.tree.leaves(tree)):
            terms = self._combination(held).terms
            if any(other != leaf for _, other in terms):
                raise _NotLinearError
            by_kind = {kind: entry for (kind, _), entry in terms.items()}
            if "stale" in by_kind:
                raise _NotLinearError
            rows.append([by_kind.get(kind) for kind in kinds])
        if any(rows[leaf] != rows[group[0]] for leaf in group):
            raise _NotLinearError
        return rows[group[0]]

    def _fate(self, before: int, after: int, array: jax.Array) -> str:
        """What becomes of an array of the state that is not like the parameters."""
        if after == before:
            return "constant"
        if array.ndim == 0 and jnp.issubdtype(array.dtype, jnp.integer):
            (counted,) = self._run(jax.make_jaxpr(optax.safe_increment)(array), [_Known(before, True)])
            if counted.expression == after:
                return "counter"
        return "last"

    def _run(self, closed: jex.ClosedJaxpr, arguments: Sequence[Any]) -> list[Any]:
        """Evaluate a program on symbols."""
        jaxpr = closed.jaxpr
        values = dict(zip(jaxpr.constvars, map(self._constant, closed.consts), strict=True))
        values |= dict(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Any:
            return self._constant(atom.val) if isinstance(atom, jex.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            inputs, inner = list(map(read, eqn.invars)), entered(eqn)
            if eqn.primitive.name == "cond":
                branches = zip(*(self._run(branch, inputs[1:]) for branch in inner), strict=True)
                outputs = [self._selected(inputs[0], cases) for cases in branches]
            elif inner:
                outputs = self._run(inner[0], inputs)
            elif all(isinstance(value, _Known) for value in inputs):
                outputs = self._known(jaxpr, eqn, inputs)
            else:
                outputs = [self._linear(eqn.primitive.name, eqn, inputs)]
            values.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))

    def _constant(self, value: Any) -> _Known:
        return _Known(self.all.constant(value), np.ndim(value) == 0)

    def _known(self, jaxpr: jex.Jaxpr, eqn: jex.JaxprEqn, inputs: list[_Known]) -> list[_Known]:
        """An operation on what is known; in every coordinate at once where all coordinates are alike."""
        name, uniform = eqn.primitive.name, all(value.uniform for value in inputs)
        if name == "broadcast_in_dim" and uniform and len(inputs) == 1:
            return inputs
        scalar = not any(atom.aval.shape for atom in (*eqn.invars, *eqn.outvars))
        uniform = uniform and (scalar or name in _ELEMENTWISE)
        numbers = [value.expression for value in inputs]
        if not uniform:
            numbers = [
                self._filled(value.expression, atom.aval.shape) if value.uniform else value.expression
                for value, atom in zip(inputs, eqn.invars, strict=True)
            ]

        def compute(*values: Any) -> tuple[Any, ...]:
            if uniform:
                outputs = eqn.primitive.bind(*values, **eqn.params)
                return tuple(outputs) if eqn.primitive.multiple_results else (outputs,)
            return tuple(evaluated(jaxpr, eqn, list(values)))

        whole = self.all.make((name, _parameters(eqn)), compute, *numbers)
        parts = [self.all.make(("part", i), lambda v, i=i: v[i], whole) for i in range(len(eqn.outvars))]
        if name in ("convert_element_type", "copy", "copy_p", "neg") and numbers[0] in self.all.zeros:
            self.all.zeros.update(parts)
        return [_Known(part, uniform or not var.aval.shape) for part, var in zip(parts, eqn.outvars, strict=True)]

    def _filled(self, expression: int, shape: tuple[int, ...]) -> int:
        return self.all.make(("filled", shape), lambda value: jnp.broadcast_to(value, shape), expression) if shape else expression

    def _linear(self, name: str, eqn: jex.JaxprEqn, inputs: list[Any]) -> _Combination:
        """An operation that looks at a parameter, a gradient or their like."""
        if name in ("add", "add_any", "sub"):
            left, right = map(self._combination, inputs)
            if name == "sub":
                right = self._mapped(right, self._negative)
            return self._sum(left, right)
        if name == "neg":
            return self._mapped(inputs[0], self._negative)
        if name == "mul":
            factor, value = inputs if isinstance(inputs[0], _Known) else inputs[::-1]
            return self._mapped(value, lambda entry: self._product(entry, self._scalar(factor)))
        if name == "div" and isinstance(inputs[0], _Combination):
            divisor = self._scalar(inputs[1])
            return self._mapped(inputs[0], lambda entry: self.all.make("/", lambda a, b: _wide(a) / b, entry, divisor))
        if name == "select_n":
            return self._selected(inputs[0], inputs[1:])
        floats = jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.floating)
        first_power = name == "integer_pow" and eqn.params["y"] == 1
        if name in ("copy", "copy_p") or first_power or (name == "convert_element_type" and floats):
            return inputs[0]
        raise _NotLinearError

    def _selected(self, index: Any, cases: Sequence[Any]) -> Any:
        """One of several values of one kind."""
        which = self._scalar(index)
        select = jax.lax.select_n
        if all(case == cases[0] for case in cases):
            return cases[0]
        if all(isinstance(case, _Known) and case.uniform for case in cases):
            return _Known(self.all.make("select", select, which, *(case.expression for case in cases)), True)
        combinations = [self._combination(case) for case in cases]
        terms = {}
        zero = self.all.constant(np.float32(0))
        for atom in dict.fromkeys(atom for combination in combinations for atom in combination.terms):
            entries = [combination.terms.get(atom, zero) for combination in combinations]

            def chosen(which: Any, *entries: Any) -> Any:
                wide = [_wide(entry) for entry in entries]
                return select(which, *(entry.astype(jnp.result_type(*wide)) for entry in wide))

            terms[atom] = self.all.make("select wide", chosen, which, *entries) if len(set(entries)) > 1 else entries[0]
        return _Combination(terms)

    def _combination(self, value: Any) -> _Combination:
        if isinstance(value, _Combination):
            return value
        if value.uniform and value.expression in self.all.zeros:
            return _Combination({})
        raise _NotLinearError

    def _scalar(self, value: Any) -> int:
        if isinstance(value, _Known) and value.uniform:
            return value.expression
        raise _NotLinearError

    def _mapped(self, combination: _Combination, function: Callable[[int], int]) -> _Combination:
        return _Combination({atom: function(entry) for atom, entry in combination.terms.items()})

    def _sum(self, left: _Combination, right: _Combination) -> _Combination:
        terms = dict(left.terms)
        for atom, entry in right.terms.items():
            both = atom in terms
            terms[atom] = self.all.make("+", lambda a, b: _wide(a) + _wide(b), terms[atom], entry) if both else entry
        return _Combination(terms)

    def _product(self, entry: int, factor: int) -> int:
        if entry == self.all.one:
            return factor
        return self.all.make("*", lambda a, b: _wide(a) * _wide(b), entry, factor)

    def _negative(self, entry: int) -> int:
        return self.all.make("-", lambda a: -_wide(a), entry)


def _wide(value: Any) -> jax.Array:
    """Coefficients are computed in single precision at least, however short the gradients are."""
    return jnp.asarray(value, sum_dtype(jnp.asarray(value)))


def _parameters(eqn: jex.JaxprEqn) -> Hashable:
    """The parameters of an operation, to be compared; what cannot be compared equals only itself."""
    values = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: isinstance(v, jex.ClosedJaxpr | jex.Jaxpr))
    opaque = (jex.ClosedJaxpr, jex.Jaxpr, np.ndarray, jax.Array)
    if any(isinstance(v, opaque) or (callable(v) and not isinstance(v, type)) for v in values):
        return object()
    return tuple(sorted((name, repr(value)) for name, value in eqn.params.items()))


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
