"""A traced function that is equal to every function of the same structure.

``jax.jit`` recognises a program by the identity of a Python function, so ``optax.sgd(0.1)`` and ``optax.sgd(0.2)``
would be compiled twice, and an array that a function closes over would be copied into the executable.
Here a function is traced once, its arrays (and, on request, its real numbers) are taken out and become arguments, and
what is left is compared by structure: the engine compiles once per structure.
"""

import dataclasses
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A function without its numbers: ``program(numbers, *args)``.

    Attributes:
      closed: the traced function; its first inputs are the numbers.
      structure: what equal programs have in common.
      out_tree: structure of the result.
      used: for every leaf of the arguments, whether the function looks at it.
    """

    closed: jex.ClosedJaxpr
    structure: Hashable
    out_tree: Any
    used: tuple[bool, ...]

    def __call__(self, numbers: list[jax.Array], *args: Any) -> Any:
        """Evaluate the function."""
        flat = jex.jaxpr_as_fun(self.closed)(*numbers, *jax.tree.leaves(args))
        return jax.tree.unflatten(self.out_tree, flat)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.structure == other.structure

    def __hash__(self) -> int:
        return hash(self.structure)

    def structure_constants(self) -> list[bytes]:
        """Numbers that belong to the structure, by value."""
        return [c for c in _constants(self.closed.jaxpr, by_value=True) if isinstance(c, bytes)]


def trace(function: Callable[..., Any], *args: Any, lift_numbers: bool = False) -> tuple[Program, list[jax.Array]]:
    """Split a pure function into its structure and its numbers.

    Args:
      function: a pure function of pytrees.
      *args: example arguments, or their shapes.
      lift_numbers: also take real scalars out, so that programs that differ in a step size are equal.

    Returns:
      ``(program, numbers)`` with ``program(numbers, *args) == function(*args)``.

    Example:
      >>> one, a = trace(lambda x: 0.1 * x, 1.0, lift_numbers=True)
      >>> two, b = trace(lambda x: 0.2 * x, 1.0, lift_numbers=True)
      >>> one == two, float(one(b, 3.0)) == float(two(b, 3.0))
      (True, True)
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    used = _used(closed.jaxpr)
    lifted: list[np.ndarray] = []
    if lift_numbers:
        closed, lifted = _lifted(closed)
    jaxpr = closed.jaxpr
    jaxpr = jaxpr.replace(
        constvars=[], invars=[*jaxpr.constvars, *jaxpr.invars], debug_info=jaxpr.debug_info.with_unknown_names()
    )
    out_tree = jax.tree.structure(shapes)
    structure = (str(jaxpr), jax.tree.structure(args), out_tree, tuple(_constants(jaxpr)))
    numbers = [jnp.asarray(value) for value in (*closed.consts, *lifted)]
    return Program(jex.ClosedJaxpr(jaxpr, ()), structure, out_tree, used), numbers


def _lifted(closed: jex.ClosedJaxpr) -> tuple[jex.ClosedJaxpr, list[np.ndarray]]:
    """The same function with its real scalars as first inputs, and these; jitted functions and branches are looked into."""
    place: dict[int, int] = {}  # of a literal among the numbers
    values: list[np.ndarray] = []

    def collect(jaxpr: jex.Jaxpr) -> None:
        for atom in (*(atom for eqn in jaxpr.eqns for atom in eqn.invars), *jaxpr.outvars):
            if isinstance(atom, jex.Literal) and id(atom) not in place and _is_number(atom):
                place[id(atom)] = len(values)
                values.append(np.asarray(atom.val, atom.aval.dtype))
        for eqn in jaxpr.eqns:
            for inner in entered(eqn):
                collect(inner.jaxpr)

    def run(jaxpr: jex.Jaxpr, consts: Any, numbers: Any, *args: Any) -> list[Any]:
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

        def read(atom: Any) -> Any:
            if not isinstance(atom, jex.Literal):
                return known[atom]
            return numbers[place[id(atom)]] if id(atom) in place else atom.val

        for eqn in jaxpr.eqns:
            inputs, inner = list(map(read, eqn.invars)), entered(eqn)
            if eqn.primitive.name == "cond":
                branches = [functools.partial(run, branch.jaxpr, branch.consts, numbers) for branch in inner]
                outputs = jax.lax.switch(inputs[0], branches, *inputs[1:])
            elif inner:
                outputs = run(inner[0].jaxpr, inner[0].consts, numbers, *inputs)
            else:
                outputs = evaluated(jaxpr, eqn, inputs)
            known.update(zip(eqn.outvars, outputs, strict=True))
        return list(map(read, jaxpr.outvars))

    collect(closed.jaxpr)

    def function(consts: Any, numbers: Any, *args: Any) -> list[Any]:
        return run(closed.jaxpr, consts, numbers, *args)

    whole = jax.make_jaxpr(function)(list(closed.consts), values, *closed.in_avals)
    if whole.consts:
        raise RuntimeError("a constant appeared while numbers were taken out of a program. Please report this rule.")
    return jex.ClosedJaxpr(whole.jaxpr, ()), [*closed.consts, *values]


def evaluated(jaxpr: jex.Jaxpr, eqn: jex.JaxprEqn, inputs: list[Any]) -> list[Any]:
    """The results of one equation out of a program."""
    if not any(
        isinstance(parameter, jex.ClosedJaxpr | jex.Jaxpr) or callable(parameter) for parameter in eqn.params.values()
    ):
        outputs = eqn.primitive.bind(*inputs, **eqn.params)
        return list(outputs) if eqn.primitive.multiple_results else [outputs]
    names = [jex.Var(atom.aval) for atom in eqn.invars]
    alone = jaxpr.replace(
        constvars=[],
        invars=names,
        outvars=eqn.outvars,
        eqns=[eqn.replace(invars=names)],
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return list(jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, ()))(*inputs))


def entered(eqn: jex.JaxprEqn) -> list[jex.ClosedJaxpr]:
    """Functions inside an equation that are looked into."""
    if eqn.primitive.name in ("jit", "pjit"):
        return [eqn.params["jaxpr"]]
    return list(eqn.params["branches"]) if eqn.primitive.name == "cond" else []


def _is_number(literal: jex.Literal) -> bool:
    value = np.asarray(literal.val)
    if value.ndim or not jnp.issubdtype(value.dtype, jnp.inexact):
        return False
    return bool(np.isfinite(value)) and value != 0  # zeros stay: compilers simplify with them


def _used(jaxpr: jex.Jaxpr) -> tuple[bool, ...]:
    """For every input, whether it is looked at; jitted functions inside are looked into."""
    used = {v for v in jaxpr.outvars if isinstance(v, jex.Var)}
    for eqn in jaxpr.eqns:
        looked_at = (True,) * len(eqn.invars)
        if eqn.primitive.name in ("jit", "pjit"):
            looked_at = _used(eqn.params["jaxpr"].jaxpr)
        used |= {v for v, look in zip(eqn.invars, looked_at, strict=True) if look and isinstance(v, jex.Var)}
    return tuple(v in used for v in jaxpr.invars)


def _constants(jaxpr: jex.Jaxpr, *, by_value: bool = False) -> Iterator[Hashable]:
    """What the printed program does not show in full.

    Literals and arrays by value; arrays held by inner functions, unless ``by_value``, and Python functions that are called
    back, by identity.
    """
    for eqn in jaxpr.eqns:
        yield from (np.asarray(atom.val).tobytes() for atom in eqn.invars if isinstance(atom, jex.Literal))
        inner = jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: isinstance(p, jex.ClosedJaxpr | jex.Jaxpr))
        # Rules for derivatives are traced anew each time, but nothing is differentiated any more.
        differentiable = eqn.primitive.name.startswith(("custom_jvp", "custom_vjp"))
        for parameter in inner:
            if isinstance(parameter, jex.ClosedJaxpr):
                yield from ((np.asarray(c).tobytes() for c in parameter.consts) if by_value else map(id, parameter.consts))
                yield from _constants(parameter.jaxpr, by_value=by_value)
            elif isinstance(parameter, jex.Jaxpr):
                yield from _constants(parameter, by_value=by_value)
            elif isinstance(parameter, np.ndarray | jax.Array):
                yield np.asarray(parameter).tobytes()
            elif callable(parameter) and not isinstance(parameter, type) and not differentiable:
                yield id(parameter)
