"""Points of a grid, and which of their numbers a problem, a rule or a schedule is made with."""

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jasgd._checks import or_rather, said
from jasgd.traffic import UNITS

Value = float | int | bool | str
Point = Mapping[str, Value]

RESERVED = frozenset({"seed", "version", "time", "record", "point", "diverged", "diverged_at", *UNITS})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Points of named numbers.

    Attributes:
      points: one mapping per point, in the order of the dimensions, the last one fastest.
      dims: length of each dimension.
      coords: (dimension, values) of every name.
    """

    points: list[dict[str, Value]]
    dims: dict[str, int]
    coords: dict[str, tuple[str, list[Value]]]


def grid_of(grid: Mapping[str, Sequence[Value]] | Sequence[Point] | None) -> Grid:
    """The product of several lists, or a list of points as it is.

    Example:
      >>> grid_of({"learning_rate": [0.1, 1.0], "momentum": [0.0, 0.9]}).points[1]
      {'learning_rate': 0.1, 'momentum': 0.9}
      >>> grid_of([{"learning_rate": 0.1, "power": 1}, {"learning_rate": 0.5, "power": 2}]).dims
      {'point': 2}
    """
    if grid is None:
        return Grid(points=[{}], dims={}, coords={})
    if isinstance(grid, str) or not isinstance(grid, Mapping | Sequence):
        raise ValueError(f"`grid` must map names to lists of values, or be a list of such points, got {grid!r}.")
    if isinstance(grid, Mapping):
        values = {name: _values(name, column) for name, column in grid.items()}
        points = [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
        return Grid(
            points=points,
            dims={name: len(column) for name, column in values.items()},
            coords={name: (name, column) for name, column in values.items()},
        )
    if not all(isinstance(point, Mapping) for point in grid):
        raise ValueError(f"a `grid` that is a list must hold points, such as {{'learning_rate': 0.1}}, got {grid!r}.")
    listed = [dict(point) for point in grid]
    if not listed or not listed[0] or any(point.keys() != listed[0].keys() for point in listed):
        raise ValueError("a `grid` that is a list must hold at least one point, and all with the same names, at least one.")
    columns = {name: _values(name, [point[name] for point in listed], repeats=True) for name in listed[0]}
    return Grid(
        points=[dict(zip(columns, point, strict=True)) for point in zip(*columns.values(), strict=True)],
        dims={"point": len(listed)},
        coords={name: ("point", column) for name, column in columns.items()},
    )


def _values(name: str, column: Any, *, repeats: bool = False) -> list[Value]:
    if name in RESERVED:
        raise ValueError(f"`grid` cannot have a dimension called {name!r}; that name is taken in the result.")
    if isinstance(column, str) or not hasattr(column, "__iter__") or np.ndim(column) != 1:
        raise ValueError(f"`grid` must map {name!r} to a list of values, got {column!r}.")
    values = [value.item() if hasattr(value, "item") else value for value in column]
    wrong = [value for value in values if not isinstance(value, float | int | bool | str)]
    if wrong or not values:
        raise ValueError(f"`grid` must map {name!r} to numbers, at least one, got {wrong[0] if wrong else values!r}.")
    if len({str if isinstance(value, str) else bool if isinstance(value, bool) else float for value in values}) > 1:
        raise ValueError(f"`grid` must map {name!r} to values of one kind, numbers or words, got {values!r}.")
    if not repeats and len(set(values)) < len(values):
        raise ValueError(f"`grid` has a value twice among those of {name!r}: {values}.")
    return values


def names_asked_for(maker: Any) -> frozenset[str]:
    """The keyword names that a factory accepts and has not been given; none if it is no function."""
    if not callable(maker):
        return frozenset()
    given = maker.keywords if isinstance(maker, functools.partial) else {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in inspect.signature(maker).parameters.values() if p.kind in kinds and p.name not in given)


def make(maker: Any, point: Point, **others: Any) -> Any:
    """Call a factory with what it accepts of a point; anything else is returned as it is.

    Example:
      >>> make(lambda dim, noise=1.0: (dim, noise), {"dim": 3, "momentum": 0.9})
      (3, 1.0)
    """
    if not callable(maker):
        return maker
    asked = names_asked_for(maker)
    for name, parameter in inspect.signature(maker).parameters.items():
        if name in asked and parameter.default is inspect.Parameter.empty and name not in {**point, **others}:
            raise ValueError(f"{said(maker)} needs `{name}`: give it values in the `grid`, or call the function yourself.")
    return maker(**{name: value for name, value in {**point, **others}.items() if name in asked})


def require_used(grid: Grid, makers: Mapping[str, Callable[..., Any] | Any]) -> None:
    """Every name of the grid is a keyword of some factory."""
    known = {name: asked for name, asked in ((n, names_asked_for(maker)) for n, maker in makers.items()) if asked}
    names = sorted(frozenset().union(*known.values()))
    for name in grid.coords:
        if name not in names:
            takers = or_rather(name, names) if names else "give `rule` as a function of it, such as optax.sgd."
            raise ValueError(f"no function takes {name!r} of the grid; {takers}")


def seeds_of(seeds: int | Sequence[int]) -> list[int]:
    """So many seeds from 0 on, or those that are listed.

    Example:
      >>> seeds_of(3), seeds_of([7, 1])
      ([0, 1, 2], [7, 1])
    """
    listed = [seeds] if isinstance(seeds, int | np.integer) else [] if isinstance(seeds, str) else list(np.atleast_1d(seeds))
    whole = all(isinstance(seed, int | np.integer) and not isinstance(seed, bool | np.bool_) for seed in listed)
    if whole and isinstance(seeds, int | np.integer):
        listed = list(range(seeds))
    if not whole or not listed or len(set(listed)) < len(listed) or min(listed) < 0 or max(listed) >= 2**32:
        raise ValueError(
            f"`seeds` must be a positive number of seeds, or different whole numbers below 2^32, got {seeds!r}."
        )
    return list(map(int, listed))
