"""Methods against each other at equal simulated times: every one with all its learning rates and seeds, in sweeps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import optax

import jasgd
from jasgd.results import final, labels

if TYPE_CHECKING:
    import xarray

# A schedule of so many updates, with this seed.
Protocol = Callable[[int, int], jasgd.Schedule]


class Contestant(NamedTuple):
    """A method of a contest.

    Attributes:
      protocol: makes its schedule from the number of updates and the seed.
      rule: makes its rule from a learning rate.
      rates: learning rates that are tried.
      oracle: what its workers compute; by default one stochastic gradient.
    """

    protocol: Protocol
    rule: Callable[[float], optax.GradientTransformation]
    rates: Sequence[float]
    oracle: jasgd.oracles.Oracle | None = None


def contest(
    problem: jasgd.Problem,
    contestants: Mapping[str, Contestant],
    *,
    times: np.ndarray,
    seeds: int,
    key: jax.Array,
    folder: Path,
) -> "xarray.Dataset":
    """Every metric along ``algorithm``, ``learning_rate``, ``seed`` and ``time``; missing where a rate was not tried."""
    parts = [
        jasgd.sweep(
            problem,
            lambda learning_rate, rule=one.rule: rule(learning_rate),
            lambda seed, protocol=one.protocol: lasting(protocol, float(times[-1]), seed),
            grid={"learning_rate": list(one.rates)},
            seeds=seeds,
            key=key,
            times=times,
            resume=folder / name.replace(" ", "-"),
            oracle=one.oracle,
            progress=name,
        ).sel(time=[0.0, *times])
        for name, one in contestants.items()
    ]
    found = labels().concat(parts, "algorithm", join="outer", combine_attrs="drop")
    return found.assign_coords(algorithm=list(contestants)).assign_attrs(attributes(parts))


def lasting(protocol: Protocol, seconds: float, seed: int) -> jasgd.Schedule:
    """A schedule of as many updates as it takes to reach this time."""
    updates = 64
    while (schedule := protocol(updates, seed)).version_time[-1] < seconds:
        updates *= 2
    return schedule.first_updates(max(1, int(np.searchsorted(schedule.version_time, seconds))))


def attributes(parts: Iterable["xarray.Dataset"]) -> dict[str, str]:
    """What is known about several sweeps together: what they agree on, and how many gradients they took."""
    all_attributes = [part.attrs for part in parts]
    first, *others = all_attributes
    same = {name: str(value) for name, value in first.items() if all(other.get(name) == value for other in others)}
    return same | {"gradients": str(sum(int(one["gradients"]) for one in all_attributes))}


def seconds_to(found: "xarray.Dataset", metric: str, goal: float) -> "xarray.DataArray":
    """The first recorded time at which a metric is at most ``goal``, infinite if it never is."""
    reached = found[metric] <= goal
    return found["time"].where(reached).min("time").fillna(np.inf)


def ends(found: "xarray.Dataset", metric: str) -> dict[str, float]:
    """The median over the seeds of a metric in the end, of each algorithm."""
    last = final(found, metric).fillna(np.inf).median("seed")
    return {str(name): float(last.sel(algorithm=name)) for name in found["algorithm"].values}
