"""Scalars as expressions: each has a number, and equal expressions have the same one."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jasgd.rules._rows import sum_dtype


class Expressions:
    """A table of expressions, to be compared without evaluating them, and evaluated later.

    Example:
      >>> table = Expressions()
      >>> x, two = table.make("x"), table.constant(2.0)
      >>> one_way, other_way = table.product(x, two), table.product(x, table.constant(2.0))
      >>> one_way == other_way, float(table.values([one_way], {x: 3.0})[one_way])
      (True, 6.0)
    """

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._made: list[tuple[Callable[..., Any] | None, tuple[int, ...]]] = []  # what it is made of has smaller numbers
        self._keys: list[Hashable] = []
        self._held: dict[int, Any] = {}
        self._zeros: set[int] = set()
        self.zero, self.one = self.constant(np.float32(0)), self.constant(np.float32(1))

    def make(self, key: Hashable, function: Callable[..., Any] | None = None, *inputs: int) -> int:
        """``function`` of other expressions; ``key`` says which function. Without one it is an input."""
        number = self._numbers.setdefault((key, inputs), len(self._made))
        if number == len(self._made):
            self._made.append((function, inputs))
            self._keys.append(key)
        return number

    def number(self, value: Any) -> int:
        """An input that holds a number or an array now: only :meth:`alike` looks at it."""
        number = self.make(("number", len(self._made)))
        self._held[number] = np.asarray(value)
        return number

    def constant(self, value: Any) -> int:
        """A number or an array, equal to others of the same dtype and value."""
        array = np.asarray(value)
        number = self.make((array.dtype, array.shape, array.tobytes()), lambda: jnp.asarray(array))
        if not array.shape and array == 0:
            self._zeros.add(number)
        return number

    def operation(self, eqn: jex.JaxprEqn, shapes: Any, evaluate: Callable[..., Any], inputs: tuple[int, ...]) -> list[int]:
        """The results of an equation of a program on inputs of these shapes, computed by ``evaluate``."""
        whole = self.make((eqn.primitive.name, _parameters(eqn), shapes), evaluate, *inputs)
        parts = [self.make(i, lambda results, i=i: results[i], whole) for i in range(len(eqn.outvars))]
        if eqn.primitive.name in ("convert_element_type", "copy", "copy_p", "neg") and self.is_zero(inputs[0]):
            self._zeros.update(parts)
        return parts

    def is_zero(self, number: int) -> bool:
        """Whether it is known to be zero."""
        return number in self._zeros

    def sum(self, a: int, b: int) -> int:
        """The sum of two coefficients."""
        return self.make("+", lambda a, b: _wide(a) + _wide(b), a, b)

    def product(self, a: int, b: int) -> int:
        """The product of two coefficients."""
        if self.one in (a, b):
            return b if a == self.one else a
        return self.make("*", lambda a, b: _wide(a) * _wide(b), a, b)

    def quotient(self, a: int, b: int) -> int:
        """One coefficient divided by another."""
        return self.make("/", lambda a, b: _wide(a) / _wide(b), a, b)

    def negative(self, a: int) -> int:
        """Minus a coefficient."""
        return self.make("-", lambda a: -_wide(a), a)

    def selected(self, which: int, cases: list[int]) -> int:
        """One of several coefficients."""
        if len(set(cases)) == 1:
            return cases[0]

        def select(which: Any, *values: Any) -> Any:
            dtype = jnp.result_type(*map(_wide, values))
            return jax.lax.select_n(which, *(jnp.asarray(value, dtype) for value in values))

        return self.make("select", select, which, *cases)

    def alike(self, a: int, b: int) -> bool:
        """Whether two expressions are the same, but for numbers that are equal."""
        seen: set[tuple[int, int]] = set()
        waiting = [(a, b)]
        while waiting:
            pair = waiting.pop()
            if pair[0] == pair[1] or pair in seen:
                continue
            seen.add(pair)
            one, other = (self._held.get(number) for number in pair)
            if one is not None and other is not None:
                if one.dtype != other.dtype or not np.array_equal(one, other):
                    return False
            elif self._keys[pair[0]] != self._keys[pair[1]]:
                return False
            inputs, others = (self._made[number][1] for number in pair)
            if len(inputs) != len(others):
                return False
            waiting.extend(zip(inputs, others, strict=True))
        return True

    def needed(self, wanted: Iterable[int]) -> set[int]:
        """The expressions that some are made of, these included."""
        seen: set[int] = set()
        waiting = list(wanted)
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                waiting.extend(self._made[number][1])
        return seen

    def values(self, wanted: Iterable[int], given: dict[int, Any]) -> dict[int, Any]:
        """The values of expressions, and of all that they are made of, from those of inputs."""
        values = dict(given)
        for number in sorted(self.needed(wanted) - given.keys()):
            function, inputs = self._made[number]
            if function is None:
                raise RuntimeError("a coefficient depends on a parameter. Please report this rule.")
            values[number] = function(*(values[i] for i in inputs))
        return values


def _wide(value: Any) -> jax.Array:
    """Coefficients are computed in single precision at least, however short the gradients are."""
    return jnp.asarray(value, sum_dtype(jnp.asarray(value)))


def _parameters(eqn: jex.JaxprEqn) -> Hashable:
    """The parameters of an operation; what cannot be compared equals only itself."""
    values = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: isinstance(v, jex.ClosedJaxpr | jex.Jaxpr))
    opaque = (jex.ClosedJaxpr, jex.Jaxpr, np.ndarray, jax.Array)
    if any(isinstance(v, opaque) or (callable(v) and not isinstance(v, type)) for v in values):
        return object()
    return tuple(sorted((name, repr(value)) for name, value in eqn.params.items()))
