"""What is stored with every result, labelled arrays on disk, and what papers take from them: best values and bands."""

import datetime
import functools
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jasgd._checks import require_type
from jasgd.traffic import UNITS

if TYPE_CHECKING:
    import xarray

_UNITS = {"time": "s", "version": "server updates", **UNITS}


def provenance(**configuration: Any) -> dict[str, str]:
    """Configuration, versions, device and revision, as strings.

    Example:
      >>> jasgd.results.provenance(learning_rate=0.1)["learning_rate"]
      '0.1'
    """
    import flax
    import jaxlib.version
    import optax

    import jasgd

    return {
        **{
            name: value if isinstance(value, str) else json.dumps(value, default=str)
            for name, value in configuration.items()
        },
        "jasgd": jasgd.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "optax": optax.__version__,
        "flax": flax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})",
        "x64": str(jax.dtypes.canonicalize_dtype(np.float64) == np.float64),
        "git_revision": _git_revision(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def labels() -> Any:
    """The library of labelled arrays, or one sentence that says what to install.

    Example:
      >>> jasgd.results.labels().__name__
      'xarray'
    """
    try:
        import xarray
    except ImportError:
        raise ImportError('labelled results need xarray: pip install "jasgd[experiments]".') from None
    return xarray


def to_dataset(
    history: Mapping[str, np.ndarray], attributes: Mapping[str, str], *, clock: str = "seconds"
) -> "xarray.Dataset":
    """A run's history as an xarray dataset along ``record``, with units and provenance.

    Example:
      >>> history = {"version": [0, 10], "time": [0.0, 2.5], "loss": [1.0, 0.5]}
      >>> jasgd.results.to_dataset(history, {})["time"].attrs["units"]
      's'
    """
    xarray = labels()
    units = {**_UNITS, "time": "s" if clock == "seconds" else "server steps"}
    variables = {name: ("record", np.asarray(column), {"units": units.get(name, "1")}) for name, column in history.items()}
    return xarray.Dataset(variables, attrs=dict(attributes)).set_coords(["version", "time"])


def save_dataset(dataset: "xarray.Dataset", path: str | os.PathLike[str]) -> None:
    """Write a dataset to netCDF; the file appears whole or not at all.

    Example:
      >>> import xarray
      >>> dataset = jasgd.results.to_dataset({"version": [0], "time": [0.0], "loss": [1.0]}, {})
      >>> jasgd.results.save_dataset(dataset, tmp_path / "run.nc")
      >>> xarray.load_dataset(tmp_path / "run.nc")["loss"].values
      array([1.])
    """
    partial = f"{os.fspath(path)}.partial"
    dataset.to_netcdf(partial, engine="h5netcdf")
    os.replace(partial, path)


def save_datasets(
    datasets: Mapping[str, "xarray.Dataset"], path: str | os.PathLike[str], attributes: Mapping[str, str] | None = None
) -> None:
    """Write labelled datasets to the groups of one netCDF file, which appears whole or not at all.

    Args:
      datasets: one for every group.
      path: of the file; ``xarray.open_datatree`` opens it.
      attributes: of the file as a whole.

    Example:
      >>> import xarray
      >>> dataset = jasgd.results.to_dataset({"version": [0], "time": [0.0], "loss": [1.0]}, {})
      >>> jasgd.results.save_datasets({"one": dataset, "two": dataset}, tmp_path / "both.nc")
      >>> xarray.open_datatree(tmp_path / "both.nc")["two"]["loss"].values
      array([1.])
    """
    xarray = labels()
    partial = f"{os.fspath(path)}.partial"
    xarray.Dataset(attrs=dict(attributes or {})).to_netcdf(partial, engine="h5netcdf")
    for label, dataset in datasets.items():
        dataset.to_netcdf(partial, group=label, mode="a", engine="h5netcdf")
    os.replace(partial, path)


def best(
    dataset: "xarray.Dataset", *, over: str | Sequence[str], metric: str = "loss", at: float | None = None
) -> "xarray.Dataset":
    """The values of some hyper-parameters with the smallest median over the seeds of a metric; diverged runs lose.

    Args:
      dataset: of :func:`jasgd.sweep`.
      over: the dimension, or dimensions, out of which one value is chosen, for each value of the others.
      metric: what is to be small.
      at: the version, or with ``times`` the time, at which it counts; by default the last.

    Returns:
      The dataset without these dimensions; the chosen values are coordinates.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4), updates=100)
      >>> grid = {"learning_rate": [0.001, 0.1, 100.0]}
      >>> result = jasgd.sweep(problem, optax.sgd, schedule, grid=grid, seeds=3, key=jax.random.key(0))
      >>> float(jasgd.results.best(result, over="learning_rate")["learning_rate"])
      0.1
    """
    require_type("dataset", dataset, labels().Dataset, "the dataset of jasgd.sweep")
    dims = [over] if isinstance(over, str) else list(over)
    along = "version" if "version" in dataset.dims else "time"
    choices = [str(name) for name in dataset.dims if name != along]
    if not set(dims) <= set(choices) or metric not in dataset:
        raise ValueError(
            f"`over` must be out of the dimensions {', '.join(choices)} and `metric` out of the variables "
            f"{', '.join(map(str, dataset.data_vars))}, got {over!r} and {metric!r}."
        )
    if at is not None and at not in dataset[along].values:
        raise ValueError(f"`at` must be a recorded {along}, such as {dataset[along].values[-1]}, got {at!r}.")
    score = final(dataset, metric) if at is None else dataset[metric].sel({along: at}).reset_coords(drop=True)
    score = score.fillna(np.inf)
    if "seed" in score.dims and "seed" not in dims:
        score = score.median("seed")
    return dataset.isel(score.argmin(dims))


def final(dataset: "xarray.Dataset", metric: str = "loss") -> "xarray.DataArray":
    """A metric of every run at its own last record, as schedules may end at different versions; NaN if it diverged.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4), updates=100)
      >>> result = jasgd.sweep(problem, optax.sgd(0.1), schedule, seeds=3, key=jax.random.key(0))
      >>> jasgd.results.final(result).dims
      ('seed',)
    """
    along = "version" if "version" in dataset.dims else "time"
    values = dataset[metric]
    recorded = dataset["time"].notnull().broadcast_like(values)
    last = recorded.sizes[along] - 1 - recorded.isel({along: slice(None, None, -1)}).argmax(along)
    return values.isel({along: last}).reset_coords(drop=True)


def band(values: "xarray.DataArray", *, over: str = "seed", inner: float = 0.5) -> "xarray.Dataset":
    """Median and a central band over the seeds, by default the interquartile one; diverged runs count as infinite.

    Args:
      values: one variable of a sweep's dataset.
      over: the dimension.
      inner: which share of the runs lies in the band.

    Example:
      >>> import xarray
      >>> losses = xarray.DataArray([1.0, 2.0, 3.0, 4.0, 5.0], dims="seed")
      >>> shown = jasgd.results.band(losses)
      >>> float(shown["low"]), float(shown["median"]), float(shown["high"])
      (2.0, 3.0, 4.0)
    """
    xarray = labels()
    if not 0 <= inner <= 1:
        raise ValueError(f"`inner` must lie between 0 and 1, got {inner}.")
    # Not interpolated: the mean of a number and an infinite one says nothing.
    levels = {"low": (0.5 - inner / 2, "lower"), "median": (0.5, "lower"), "high": (0.5 + inner / 2, "higher")}
    filled = values.fillna(np.inf)
    shown = {name: filled.quantile(q, over, method=method, skipna=False) for name, (q, method) in levels.items()}
    return xarray.Dataset({name: column.drop_vars("quantile") for name, column in shown.items()})


@functools.cache
def _git_revision() -> str:
    """The revision of the sources in use, if they are a checkout."""
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        describe = ["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(describe, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
