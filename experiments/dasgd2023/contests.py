"""Executions without a server at equal simulated times, with all learning rates and seeds: what `contest` is with one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.dasgd2023.settings import KEY
from jasgd.decentralized import Execution, simulate

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

    parts, infos = [], []
    for name, (execution, rates) in contestants.items():
        rows = []
        for rate in rates:
            runs = [
                simulate(problem, optax.sgd(rate), execution, key=jax.random.fold_in(KEY, seed), times=times)
                for seed in range(seeds)
            ]
            rows.append(xarray.concat([_padded(run.history, times) for run in runs], "seed"))
            infos += [run.to_dataset().assign_attrs(gradients=str(int(execution.gradients[-1]))) for run in runs]
        parts.append(xarray.concat(rows, "learning_rate").assign_coords(learning_rate=list(rates)))
        print(f"{name}: done", flush=True)
    found = xarray.concat(parts, "algorithm", join="outer").assign_coords(algorithm=list(contestants))
    return found.assign_coords(seed=np.arange(seeds)).assign_attrs(attributes(infos))


def gradients_in(seconds: float, speeds: np.ndarray) -> int:
    """Gradients that nodes which never wait need at most to be busy for so long."""
    return int(np.sum(np.ceil(seconds / speeds))) + len(speeds)


def _padded(history: Mapping[str, np.ndarray], times: np.ndarray) -> "xarray.Dataset":
    """Records at time 0 and the wanted times; missing after a divergence."""
    import xarray

    size = len(times) + 1
    columns = {}
    for name, values in history.items():
        if name != "time":
            column = np.full(size, np.nan)
            column[: len(values[:size])] = values[:size]
            columns[name] = ("time", column)
    return xarray.Dataset(columns, {"time": [0.0, *times]})
