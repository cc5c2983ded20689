"""Evaluations that take time: one, four or eight evaluators, none of which waits for another."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.hierarchical2025.settings import toy, toy_space
from experiments.pictures import BLUE, GREEN, RED, curve, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

COLOURS = (BLUE, GREEN, RED)
CAPTION = """A function of ours of four methods and their knobs, smallest value -3; an evaluation takes an exponential time,
mean 1. An evaluator that has finished gets the next configuration at once; those in flight count with the smallest value.
Medians and interquartile bands over seeds. Not in the paper."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Searches.

    Attributes:
      evaluators: how many at once.
      budget: evaluations of each search.
      seeds: of the searches and of the times.
    """

    evaluators: tuple[int, ...] = (1, 4, 8)
    budget: int = 40
    seeds: int = 8

    def quick(self) -> "Config":
        """Few evaluations."""
        return dataclasses.replace(self, budget=16, seeds=2)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Value and time of every evaluation."""
    import xarray

    del folder
    results = [
        [
            jasgd.tune.search(
                lambda points: [toy(point) for point in points],
                toy_space(),
                budget=config.budget,
                seed=seed,
                evaluators=jasgd.fleet.exponential(np.ones(count)),
            )
            for seed in range(config.seeds)
        ]
        for count in config.evaluators
    ]
    dims = ("evaluators", "seed", "evaluation")
    return xarray.Dataset(
        {
            "value": (dims, [[[e.value for e in r.evaluations] for r in row] for row in results]),
            "time": (
                dims,
                [[[e.time for e in r.evaluations] for r in row] for row in results],
                {"units": "mean evaluations"},
            ),
        },
        {
            "evaluators": list(config.evaluators),
            "seed": np.arange(config.seeds),
            "evaluation": np.arange(1, config.budget + 1),
        },
        provenance(gradients=0),
    )


def gap_at(found: "xarray.Dataset", times: np.ndarray) -> "xarray.DataArray":
    """The smallest gap to -3 among what is finished at these times; NaN before the first evaluation is."""
    import xarray

    gap = np.minimum.accumulate(found["value"].values, axis=2) + 3.0
    when = found["time"].values
    done = np.array([[np.searchsorted(one, times, side="right") for one in row] for row in when])
    shown = np.take_along_axis(np.concatenate([np.full((*gap.shape[:2], 1), np.nan), gap], axis=2), done, axis=2)
    return xarray.DataArray(
        shown, {"evaluators": found["evaluators"], "seed": found["seed"], "time": times}, ("evaluators", "seed", "time")
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Gap against time, and against evaluations."""
    with picture(path, CAPTION, columns=2, size=(11, 4.6)) as (left, right):
        gaps = found["value"].copy(data=np.minimum.accumulate(found["value"].values, axis=2) + 3.0)
        for count, colour in zip(found["evaluators"].values, COLOURS, strict=False):
            one = found.sel(evaluators=[count])
            times = np.linspace(float(one["time"].min("evaluation").max()), float(one["time"].max("evaluation").min()), 200)
            label = f"{count} evaluator{'s' if count > 1 else ''}"
            curve(left, times, np.maximum(gap_at(one, times).sel(evaluators=count), 1e-5), colour=colour, label=label)
            shown = np.maximum(gaps.sel(evaluators=count), 1e-5)
            curve(right, found["evaluation"], shown, colour=colour, label=label)
        left.set(xscale="log", yscale="log", xlabel="time [mean evaluations]", ylabel="smallest gap so far (at least 1e-5)")
        right.set(yscale="log", xlabel="evaluations", ylabel="smallest gap so far (at least 1e-5)")
