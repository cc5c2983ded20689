"""The labelled result of a sweep."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd import traffic
from jasgd.batches import Run
from jasgd.grid import Grid
from jasgd.records import record_points
from jasgd.results import labels

if TYPE_CHECKING:
    import xarray

# Of one run: its metrics (T,) at the recorded versions, and which of these are finite.
Found = tuple[Mapping[str, np.ndarray], np.ndarray]


def sweep_dataset(
    runs: Sequence[Run],
    found: Sequence[Found],
    grid: Grid,
    seeds: Sequence[int],
    attributes: Mapping[str, str],
    *,
    times: Any,
) -> "xarray.Dataset":
    """All runs, point after point and seed after seed, as one dataset."""
    axis = _axis(runs, times)
    names = list(found[0][0])
    columns = {name: np.full((len(runs), len(axis)), np.nan, found[0][0][name].dtype) for name in names}
    seconds = np.full((len(runs), len(axis)), np.nan)
    versions = np.full((len(runs), len(axis)), -1, np.int64)
    diverged_at = np.full(len(runs), -1, np.int64)
    carried = {name: np.full((len(runs), len(axis)), np.nan) for name in traffic.UNITS}
    for i, (run, (metrics, finite)) in enumerate(zip(runs, found, strict=True)):
        if times is None:
            mine, where = run.versions, np.searchsorted(axis, run.versions)
            seconds[i, where] = run.schedule.version_time[mine]
        else:
            mine = record_points(run.schedule, None, axis[1:])[0][: len(axis)]
            where, seconds[i] = np.arange(len(axis)), axis
        versions[i, where] = mine
        if not finite.all():
            diverged_at[i] = run.versions[np.argmin(finite)]
        for name, column in traffic.columns(run.schedule, mine, **run.prepared.links).items():
            carried[name][i, where] = column
        alive = (mine < diverged_at[i]) | (diverged_at[i] < 0)
        for name in names:
            columns[name][i, where[alive]] = metrics[name][np.searchsorted(run.versions, mine[alive])]
    dims, shape = (*grid.dims, "seed"), (*grid.dims.values(), len(seeds))
    along = "version" if times is None else "time"
    clock = "s" if runs[0].schedule.clock == "seconds" else "server steps"
    units = {"time": clock, "version": "server updates", **traffic.UNITS}

    def labelled(name: str, column: np.ndarray) -> Any:
        return (*dims, along), column.reshape(*shape, -1), {"units": units.get(name, "1")}

    variables = {name: labelled(name, column) for name, column in columns.items()}
    variables["diverged"] = (dims, (diverged_at >= 0).reshape(shape))
    variables["diverged_at"] = (dims, diverged_at.reshape(shape), {"units": units["version"], "never": -1})
    coords: dict[str, Any] = {name: (dim, values) for name, (dim, values) in grid.coords.items()}
    coords |= {"seed": np.array(seeds), along: (along, axis, {"units": units[along]})}
    other = {"time": seconds} if times is None else {"version": versions}
    for name, column in (other | carried).items():
        alike = np.array_equal(column, np.broadcast_to(column[0], column.shape), equal_nan=name != "version")
        coords[name] = ((along,), column[0], {"units": units[name]}) if alike else labelled(name, column)
    return labels().Dataset(variables, coords, dict(attributes))


def _axis(runs: Sequence[Run], times: Any) -> np.ndarray:
    """Every recorded version, or the times that were asked for and, of a single schedule, its end."""
    if times is None:
        return np.unique(np.concatenate([run.versions for run in runs]))
    ends = {float(run.schedule.time[-1]) for run in runs}
    wanted = np.unique(np.concatenate([[0.0], np.asarray(times, np.float64)]))
    return np.union1d(wanted, list(ends)) if len(ends) == 1 else wanted
