"""Whether a traced function looks up a worker that its tables do not have.

JAX does not fail there: it takes the row of another worker, or NaN. What an index is for one worker is followed through the
program; an index that depends on anything else is taken for right.
"""

from collections.abc import Callable
from typing import Any

import jax.extend.core as jex
import numpy as np

from jasgd.program import Program, entered

# The whole number that every entry of an array is; of the columns of an index array one number each, None if unknown.
_Known = int | tuple[int | None, ...] | None

_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "max": max,
    "min": min,
    "lt": lambda a, b: int(a < b),
    "le": lambda a, b: int(a <= b),
    "gt": lambda a, b: int(a > b),
    "ge": lambda a, b: int(a >= b),
    "select_n": lambda which, *cases: cases[which],
}
_SAME = ("broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze")


def require_rows(name: str, remedy: str, program: Program, position: int, worker: int) -> None:
    """Refuse a program that looks for a worker beyond the rows of one of its arrays.

    Args:
      name: what the program is.
      remedy: how it would get more rows.
      program: the traced function.
      position: of the worker among its inputs.
      worker: the largest one that it will see.
    """
    jaxpr = program.closed.jaxpr
    too_few: list[int] = []
    _follow(jaxpr, {jaxpr.invars[position]: worker}, too_few)
    if too_few:
        raise ValueError(
            f"`{name}` knows {min(too_few)} workers, but worker {worker} delivers; {remedy.format(worker + 1)}."
        )


def _follow(jaxpr: Any, known: dict[Any, _Known], too_few: list[int]) -> list[_Known]:
    """What is known of the results; the rows of arrays that are looked up beyond their ends are put into ``too_few``."""

    def value(atom: Any) -> _Known:
        if not isinstance(atom, jex.Literal):
            return known.get(atom)
        return int(atom.val) if np.ndim(atom.val) == 0 and np.asarray(atom.val).dtype.kind in "biu" else None

    for eqn in jaxpr.eqns:
        if not any(not isinstance(atom, jex.Literal) and atom in known for atom in eqn.invars):
            continue
        values, name = list(map(value, eqn.invars)), eqn.primitive.name
        too_few += [rows for start, rows in _lookups(eqn, values) if start is not None and start >= rows]
        found: list[_Known] = []
        branches = entered(eqn)
        if name == "cond" and isinstance(values[0], int):  # the one that is taken, as JAX clamps
            branches = [branches[min(max(values[0], 0), len(branches) - 1)]]
        for inner in branches:
            inputs = inner.jaxpr.invars
            inside = dict(zip(inputs, values[len(values) - len(inputs) :], strict=True))
            found = _follow(inner.jaxpr, {var: v for var, v in inside.items() if v is not None}, too_few)
        if name in _SAME:
            found = values[:1]
        elif name in _ARITHMETIC and all(isinstance(v, int) for v in values):
            found = [_ARITHMETIC[name](*values)]
        elif name == "concatenate" and all(atom.aval.shape[-1:] == (1,) for atom in eqn.invars):
            found = [tuple(v if isinstance(v, int) else None for v in values)]
        if name != "cond":  # whose results depend on the branch
            known |= {var: v for var, v in zip(eqn.outvars, found, strict=False) if v is not None}
    return list(map(value, jaxpr.outvars))


def _lookups(eqn: jex.JaxprEqn, values: list[_Known]) -> list[tuple[int | None, int]]:
    """Where an equation begins to read or write an array, and how many such places there are, along each dimension."""
    name, params = eqn.primitive.name, eqn.params
    shape = eqn.invars[0].aval.shape
    if name == "dynamic_slice":
        dims, sizes, starts = range(len(shape)), params["slice_sizes"], values[1:]
    elif name == "dynamic_update_slice":
        dims, sizes, starts = range(len(shape)), eqn.invars[1].aval.shape, values[2:]
    elif name == "gather":
        dims, sizes = params["dimension_numbers"].start_index_map, params["slice_sizes"]
        starts = list(values[1]) if isinstance(values[1], tuple) else [values[1]] * len(dims)
    else:
        return []
    return [
        (start if isinstance(start, int) else None, shape[dim] - sizes[dim] + 1)
        for dim, start in zip(dims, starts, strict=True)
    ]
