"""The network, its rounds, and the comparison of Fragile SGD with minibatch SGD at all batches and step sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, PINK, RED, SKY, curve
from jasgd import decentralized, oracles
from jasgd.decentralized import topology
from jasgd.results import labels

if TYPE_CHECKING:
    import networkx
    import xarray

SIDE = 10
MINIBATCH = 0  # among the batches S that are tried: no S, but minibatch SGD
OTHERS = (GREEN, PINK, SKY)
CLOCK = """Minibatch SGD has the ideal clock, two eccentricities and one gradient; on a mesh the authors' own is longer."""
ROW = """The mean of a batch has one law however it is split over workers, so here one row computes a round's whole batch."""


def network(edge: float, side: int = SIDE) -> "networkx.Graph":
    """The mesh that the authors call a torus, with the seconds of a vector over each edge."""
    return topology.with_seconds(topology.mesh(side, side), edge)


def rounds(edge: float, batch: int, updates: int = 1, *, side: int = SIDE, ties: Any = "authors") -> jasgd.Schedule:
    """Rounds of Fragile SGD with this S, or of minibatch SGD; a gradient takes 1 s everywhere."""
    fleet = jasgd.fleet.equal(side**2)
    if batch == MINIBATCH:
        return decentralized.minibatch(fleet, network(edge, side), updates)
    return decentralized.fragile(fleet, network(edge, side), updates, batch, ties=ties)


def compare(
    problem: jasgd.Problem,
    edge: float,
    *,
    side: int,
    batches: Sequence[int],
    rates: Sequence[float],
    seconds: float,
    records: int,
    seeds: int,
    folder: Path,
    metrics: Sequence[str],
    runs_at_once: int,
) -> "xarray.Dataset":
    """Metrics of minibatch SGD and of every S, each with the step at which the last median of the first one is smallest.

    What is computed depends on the batch alone and is computed in rounds; their seconds are those of the schedules.
    Along ``option`` (S, or MINIBATCH), ``seed`` and ``record``, of which ``time`` has the seconds.
    """
    one = {batch: rounds(edge, batch, side=side) for batch in (MINIBATCH, *batches)}
    length = np.array([schedule.version_time[1] for schedule in one.values()])
    times = np.linspace(0, seconds, records + 1)
    done = np.floor(times / length[:, None] + 1e-9).astype(int)  # whole rounds at these times
    found = jasgd.sweep(
        problem,
        optax.sgd,
        jasgd.protocols.minibatch(jasgd.fleet.equal(1), int(done.max())),
        grid={"option": list(one), "learning_rate": list(rates)},
        seeds=seeds,
        key=jax.random.key(0),
        times=np.unique(done[done > 0]),
        resume=folder / f"{edge:g}",
        oracle=lambda option: oracles.gradient([one[option].gradients]),
        runs_at_once=runs_at_once,
        progress=f"{edge:g} s per hop",
    )[[*metrics]].reset_coords(drop=True)
    options, after = labels().DataArray(list(one), dims="option"), labels().DataArray(done, dims=("option", "record"))
    timed = found.sel(option=options, time=after).drop_vars("time").assign_coords(option=list(one))
    chosen = timed.isel(learning_rate=last(timed, metrics[0]).argmin("learning_rate")).reset_coords("learning_rate")
    chosen["time"] = "record", times, {"units": "s"}
    chosen["round_seconds"] = "option", length, {"units": "s"}
    chosen["batch"] = "option", [schedule.gradients for schedule in one.values()]
    chosen["contributors"] = "option", [len(schedule) for schedule in one.values()]
    return chosen


def concatenated(parts: Sequence["xarray.Dataset"], edges: Sequence[float], rates: Sequence[float]) -> "xarray.Dataset":
    """Along ``edge``, with the largest and smallest step that was tried."""
    found = labels().concat(parts, "edge", combine_attrs="drop").assign_coords(edge=list(edges))
    return found.assign_attrs(attributes(parts) | {"smallest_rate": min(rates), "largest_rate": max(rates)})


def shown(found: "xarray.Dataset", metric: str, some: Sequence[int]) -> dict[int, tuple[str, str]]:
    """Colours and labels of minibatch SGD, the best S and some others, at one edge time."""
    champion = best_batch(found, metric)
    others = [batch for batch in some if batch != champion and batch in found["option"]]
    of_others = {batch: colour for batch, colour in zip(some, OTHERS, strict=False) if batch in others}
    colours = {MINIBATCH: BLUE, **of_others, champion: RED}
    names = {batch: f"S = {batch}" for batch in others} | {MINIBATCH: "minibatch SGD", champion: f"best, S = {champion}"}
    steps = found["learning_rate"]
    return {b: (colour, f"{names[b]}, step {float(steps.sel(option=b)):g}") for b, colour in colours.items()}


def draw_panel(axes: Any, found: "xarray.Dataset", metric: str, by: str, some: Sequence[int]) -> None:
    """Medians of a metric against seconds, at one edge time, of the best S by ``by`` and minibatch SGD with quartiles."""
    champion = best_batch(found, by)
    for batch, (colour, label) in shown(found, by, some).items():
        values = found[metric].sel(option=batch)
        if batch in (MINIBATCH, champion):
            curve(axes, found["time"], values, colour=colour, label=label)
        else:
            axes.plot(found["time"], values.fillna(np.inf).median("seed"), color=colour, lw=0.9, label=label)
    axes.set_xlabel("simulated time [s]")


def speedup(found: "xarray.Dataset", metric: str) -> float:
    """How many times sooner the best S reaches the last median of minibatch SGD for good, at one edge time."""
    goal = float(last(found, metric).sel(option=MINIBATCH))
    median = found[metric].sel(option=best_batch(found, metric)).fillna(np.inf).median("seed")
    after = 1 + np.flatnonzero(median.values > goal)[-1]
    return float(found["time"].values[-1] / found["time"].values[after]) if after < len(median) else 0.0


def last(found: "xarray.Dataset", metric: str) -> "xarray.DataArray":
    """Medians over the seeds in the end, of every S and minibatch SGD."""
    return found[metric].isel(record=-1).fillna(np.inf).median("seed")


def best_batch(found: "xarray.Dataset", metric: str) -> int:
    """The S with the smallest last median, at one edge time."""
    return int(last(found, metric).drop_sel(option=MINIBATCH).idxmin("option"))
