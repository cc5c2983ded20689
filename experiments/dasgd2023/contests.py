"""Executions without a server at equal simulated times, with all learning rates and seeds: what `contest` is with one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.dasgd2023.settings import KEY
from jasgd.decentralized import Execution, sweep

if TYPE_CHECKING:
    import xarray


def contest(
    problem: jasgd.Problem,
    contestants: Mapping[str, tuple[Execution, Sequence[float]]],
    *,
    times: np.ndarray,
    seeds: int,
) -> "xarray.Dataset":
    """Every metric at the mean of the replicas along ``algorithm``, ``learning_rate``, ``seed`` and ``time``.

    Args:
      problem: what is minimised.
      contestants: for each an execution that lasts longer than the times, and the learning rates that are tried.
      times: of the records, besides 0.
      seeds: of start and samples.
    """
    import xarray

    parts = []
    for name, (execution, rates) in contestants.items():
        grid = {"learning_rate": list(rates)}
        found = sweep(problem, optax.sgd, execution, grid=grid, seeds=seeds, key=KEY, times=times)
        parts.append(found.isel(time=slice(len(times) + 1)))  # each execution also has a record at its own end
        print(f"{name}: done", flush=True)
    together = xarray.concat(parts, "algorithm", join="outer", combine_attrs="drop")
    return together.assign_coords(algorithm=list(contestants)).assign_attrs(attributes(parts))


def gradients_in(seconds: float, speeds: np.ndarray) -> int:
    """Gradients that nodes which never wait need at most to be busy for so long."""
    return int(np.sum(np.ceil(seconds / speeds))) + len(speeds)
