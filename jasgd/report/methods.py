"""What is shown of each method of a result: its curves at its best step size, and what the other step sizes gave.

A result's dimensions are its records, its seeds, and the names of its grid. Names with words as values, and those asked for
with ``each``, tell methods apart; out of the values of all others :func:`jasgd.results.best` chooses.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.report.files import Stored
from jasgd.report.schedules import deliveries_per_update, schedules_of
from jasgd.results import band, best, final, labels

if TYPE_CHECKING:
    import xarray

_ALONG = ("version", "time", "record", "gradients", "evaluation")
# Label of an axis, with the unit where the result does not say it.
_AXES = {
    "time": ("simulated time [{}]", "s"),
    "version": ("{}", "server updates"),
    "gradients": ("gradients delivered", ""),
    "uploaded_bytes": ("uploaded [{}]", "B"),
    "downloaded_bytes": ("downloaded [{}]", "B"),
    "evaluation": ("evaluations", ""),
}
_NOT_METRICS = (*_AXES, "wire_seconds", "record", "learning_rate", "diverged", "diverged_at", "worker")
_PREFERRED = ("gap", "loss", "smallest value so far")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Band:
    """Medians and interquartile bands over the seeds; infinite where runs have diverged. One seed has no band."""

    median: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tried:
    """The last value of every metric at the values of one name; of several points with such a value the best counts.

    Attributes:
      name: of the grid.
      values: sorted.
      ends: of each metric.
      chosen: which of the values is the best one's.
    """

    name: str
    values: np.ndarray
    ends: Mapping[str, Band]
    chosen: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """One line of the charts and of the table.

    Attributes:
      source: the result that it belongs to.
      parts: what tells it from other methods of the same result.
      choice: the best values of the grid.
      metric: the one that is small there.
      seeds, points, diverged: numbers of seeds, of points of the grid or of evaluations, and of all runs that diverged.
      axes: label of each possible horizontal axis, and its values at the records.
      curves: of each metric, at the records.
      ends: of each metric, its last value, (1,).
      records: how many there are; those without some seed, of which there are ``cut``, are not among them.
      tried: for every number of the grid what its values gave.
    """

    source: Stored
    parts: Sequence[str]
    choice: Mapping[str, Any]
    metric: str
    seeds: int
    points: int
    diverged: int
    axes: Mapping[str, np.ndarray]
    curves: Mapping[str, Band]
    ends: Mapping[str, Band]
    records: int
    cut: int
    tried: Sequence[Tried]


def methods_of(stored: Stored, *, each: Sequence[str] = (), metric: str | None = None) -> list[Method]:
    """All methods of a result, in its order; none if it has no records that a curve could be drawn along.

    Args:
      stored: a result.
      each: names of a grid whose values are shown side by side.
      metric: what is small at the best point; by default the gap, or the loss.

    Example:
      >>> import xarray
      >>> losses = [[[1.0, 0.9]], [[1.0, 0.2]]]
      >>> records = {"version": [0, 8], "time": ("version", [0.0, 4.0])}
      >>> grid = {"learning_rate": [0.01, 0.1], "seed": [0], **records}
      >>> dataset = xarray.Dataset({"loss": (("learning_rate", "seed", "version"), losses)}, grid)
      >>> stored = Stored(path=tmp_path, file="found", group="", dataset=dataset, configuration="")
      >>> methods_of(stored)[0].choice
      {'learning_rate': 0.1}
    """
    dataset = stored.dataset
    along = next((name for name in _ALONG if name in dataset.dims), None)
    if along is None:
        return []
    metrics = metrics_of(dataset, along)
    if not metrics:
        return []
    if metric is not None and metric not in metrics:
        raise ValueError(f"`metric` must be out of {', '.join(metrics)} of {stored.name}, got {metric!r}.")
    metric = metric or next((name for name in _PREFERRED if name in metrics), metrics[0])
    metrics = [metric, *(n for n in metrics if n != metric and dataset[n].dims == dataset[metric].dims)]
    table = _as_points(dataset, [*metrics, *({"diverged"} & set(dataset.data_vars))], along)
    names = [str(name) for name, coord in table.coords.items() if coord.dims == ("point",) and name != "point"]
    apart = _apart(stored, table, names, each, along)
    cases: dict[tuple[Any, ...], list[int]] = {}
    for i in range(table.sizes["point"]):
        cases.setdefault(tuple(table[name].values[i].item() for name in apart), []).append(i)
    schedules = schedules_of(dataset.attrs)
    found = []
    for case, points in cases.items():
        one = _tried(table.isel(point=points), metric, along)
        if one.sizes["point"]:
            own = dict(zip(apart, case, strict=True))
            tuned = [name for name in names if name not in apart]
            found.append(_method(stored, own, one, tuned, metrics, along, schedules))
    return found


def short(value: Any) -> str:
    """A value of a grid.

    Example:
      >>> short(0.1), short(16), short("own")
      ('0.1', '16', 'own')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def metrics_of(dataset: "xarray.Dataset", along: str) -> list[str]:
    """Variables that are numbers along the records, and no axis."""
    return [
        str(name)
        for name, variable in dataset.data_vars.items()
        if along in variable.dims and variable.dtype.kind in "fiu" and name not in _NOT_METRICS
    ]


def _as_points(dataset: "xarray.Dataset", kept: Sequence[str], along: str) -> "xarray.Dataset":
    """All dimensions but the records and the seeds, which there always are, as one: ``point``."""
    dataset = dataset.set_coords([name for name in ("learning_rate", *_AXES) if name in dataset])[kept]
    if "seed" not in dataset.dims:
        dataset = dataset.drop_vars("seed", errors="ignore").expand_dims(seed=[0])
    dims = [str(dim) for dim in dataset.dims if dim not in (along, "seed")]
    if not dims:
        return dataset.expand_dims("point")
    if dims == ["point"]:
        return dataset
    return dataset.assign_coords({dim: dataset[dim] for dim in dims}).stack(point=dims, create_index=False)


def _apart(stored: Stored, table: "xarray.Dataset", names: Sequence[str], each: Sequence[str], along: str) -> list[str]:
    """The names whose values are methods of their own. Figures of papers are not searched, but for the step size."""
    if along not in ("version", "time"):
        return [name for name in names if name in stored.dataset.dims]
    figure = "paper" in stored.dataset.attrs
    words = [name for name in names if table[name].dtype.kind not in "fiu"]
    return [n for n in names if n in words or n in each or (figure and n != "learning_rate")]


def _tried(table: "xarray.Dataset", metric: str, along: str) -> "xarray.Dataset":
    """Without the points at which nothing was simulated: results of several grids, laid side by side, have such points."""
    there = table[metric].isel({along: 0}).notnull().any("seed")
    return table.isel(point=np.flatnonzero(there.values))


def _method(
    stored: Stored,
    own: Mapping[str, Any],
    table: "xarray.Dataset",
    tuned: Sequence[str],
    metrics: Sequence[str],
    along: str,
    schedules: Sequence[Mapping[str, Any]],
) -> Method:
    metric = metrics[0]
    searched = along in ("version", "time")
    if searched and "time" not in table.coords:
        table = table.assign_coords(time=table[along].drop_attrs())
    table = table.assign_coords(point=np.arange(table.sizes["point"]))
    chosen = best(table, over="point", metric=metric) if searched else table.isel(point=0)
    ends = {name: (final(table, name) if searched else _last(table, name, along)) for name in metrics}
    diverged = table["diverged"].fillna(True).astype(bool) if "diverged" in table else ends[metric].isnull()
    recorded = _recorded(chosen, along)
    one = chosen.isel({along: np.flatnonzero(recorded)})
    here = int(chosen["point"])
    choice = {name: chosen[name].item() for name in ("learning_rate", *tuned) if name in chosen.coords}
    if along == "evaluation":
        choice |= json.loads(stored.dataset.attrs["best"])
    per_update = deliveries_per_update(schedules, {**own, **choice})
    if per_update is not None and "version" in one.coords and "gradients" not in one.variables:
        one = one.assign_coords(gradients=one["version"].drop_attrs() * per_update)
    return Method(
        source=stored,
        parts=[value if isinstance(value, str) else f"{name}={short(value)}" for name, value in own.items()],
        choice=choice,
        metric=metric,
        seeds=table.sizes["seed"],
        points=table.sizes[along if along == "evaluation" else "point"],
        diverged=int(diverged.sum()),
        axes=_axes(one, along),
        curves={name: _band(one[name]) for name in metrics},
        ends={name: _band(value.isel(point=[here])) for name, value in ends.items()},
        records=one.sizes[along],
        cut=int((~recorded).sum()),
        tried=[_values_of(name, table, ends, metric, here) for name in tuned if len(np.unique(table[name])) > 1],
    )


def _last(table: "xarray.Dataset", metric: str, along: str) -> "xarray.DataArray":
    """A metric at the last record that there is of every point."""
    recorded = [np.flatnonzero(_recorded(table.isel(point=i), along))[-1] for i in range(table.sizes["point"])]
    return table[metric].isel({along: labels().DataArray(recorded, dims="point")}).reset_coords(drop=True)


def _recorded(chosen: "xarray.Dataset", along: str) -> np.ndarray:
    """Which records there are of all seeds."""
    there = np.ones(chosen.sizes[along], bool)
    for name in _AXES:
        if name in chosen.coords and along in chosen[name].dims:
            missing = chosen[name].isnull()
            there &= ~(missing.any("seed") if "seed" in missing.dims else missing).values
    return there


def _axes(one: "xarray.Dataset", along: str) -> dict[str, np.ndarray]:
    """What can be drawn against: medians over the seeds, where these differ."""
    found = {}
    for name, (label, unit) in _AXES.items():
        if name not in one.coords or along not in one[name].dims:
            continue
        column = one[name].median("seed") if "seed" in one[name].dims else one[name]
        values = np.asarray(column.values, np.float64)
        if len(values) and values.max() > values.min():
            found[label.format(one[name].attrs.get("units", unit))] = values
    return found or {"records": np.arange(one.sizes[along], dtype=np.float64)}


def _band(values: "xarray.DataArray") -> Band:
    shown = band(values)
    several = values.sizes["seed"] > 1
    return Band(
        median=shown["median"].values,
        low=shown["low"].values if several else None,
        high=shown["high"].values if several else None,
    )


def _values_of(
    name: str, table: "xarray.Dataset", ends: Mapping[str, "xarray.DataArray"], metric: str, best_point: int
) -> Tried:
    """The best point at each value of a name, by the metric that the choice is made by."""
    column, score = table[name].values, ends[metric].fillna(np.inf).median("seed").values
    values = np.unique(column)
    points = [min(np.flatnonzero(column == value), key=lambda i: score[i]) for value in values]
    return Tried(
        name=name,
        values=values,
        ends={other: _band(value.isel(point=points)) for other, value in ends.items()},
        chosen=int(np.searchsorted(values, column[best_point])),
    )
