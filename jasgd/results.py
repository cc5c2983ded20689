"""What is stored with every result, and labelled arrays on disk."""

import datetime
import functools
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    import xarray

_UNITS = {"time": "s", "version": "server updates"}


def provenance(**configuration: Any) -> dict[str, str]:
    """Configuration, versions, device and revision, as strings.

    Example:
      >>> jasgd.results.provenance(learning_rate=0.1)["learning_rate"]
      '0.1'
    """
    import flax
    import jaxlib
    import optax

    import jasgd

    return {
        **{
            name: value if isinstance(value, str) else json.dumps(value, default=str)
            for name, value in configuration.items()
        },
        "jasgd": jasgd.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "optax": optax.__version__,
        "flax": flax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind} ({jax.default_backend()})",
        "x64": str(jax.dtypes.canonicalize_dtype(np.float64) == np.float64),
        "git_revision": _git_revision(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def to_dataset(
    history: Mapping[str, np.ndarray], attributes: Mapping[str, str], *, clock: str = "seconds"
) -> "xarray.Dataset":
    """A run's history as an xarray dataset along ``record``, with units and provenance.

    Example:
      >>> history = {"version": [0, 10], "time": [0.0, 2.5], "loss": [1.0, 0.5]}
      >>> jasgd.results.to_dataset(history, {})["time"].attrs["units"]
      's'
    """
    try:
        import xarray
    except ImportError:
        raise ImportError('labelled results need xarray: pip install "jasgd[experiments]".') from None
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


@functools.cache
def _git_revision() -> str:
    """The revision of the sources in use, if they are a checkout."""
    here = os.path.dirname(os.path.abspath(__file__))
    try:
        describe = ["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(describe, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
