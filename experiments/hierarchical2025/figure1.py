"""Eight methods and their knobs on one fleet: Gaussian process, grid and random search at equal budget."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

import jasgd
from experiments.hierarchical2025.settings import FLEET, SECONDS, buffered_sgd, methods_space, problem
from experiments.pictures import BLUE, GREY, ORANGE, curve, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

COLOURS = {"gp": BLUE, "random": ORANGE, "grid": GREY}
LABELS = {"gp": "Gaussian process", "random": "random", "grid": "grid"}
CAPTION = """64 workers, worker i needs 0.2 i^1.2 s; quadratic, d = 50, noise 0.3; 400 simulated seconds. All settings ours:
the studies of the paper are not known to us. Value: log10 of the mean loss over the last 80 s, at most 4. Medians and
interquartile bands over seeds of the search; on the right the best evaluation of each method, of all searches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Searches.

    Attributes:
      budget: evaluations of each.
      seeds: of the searches.
      seconds: simulated, per evaluation.
    """

    budget: int = 40
    seeds: int = 6
    seconds: float = SECONDS

    def quick(self) -> "Config":
        """Few evaluations of a short time."""
        return dataclasses.replace(self, budget=18, seeds=1, seconds=20.0)


class Remembered:
    """An objective that evaluates every configuration once."""

    def __init__(self, objective: jasgd.tune.Objective) -> None:
        self.objective = objective
        self.known: dict[Any, float] = {}

    def __call__(self, points: Sequence[Mapping[str, Any]]) -> list[float]:
        """Values, of which only the unknown ones are computed."""
        new = {tuple(point.items()): point for point in points if tuple(point.items()) not in self.known}
        if new:
            self.known.update(zip(new, self.objective(list(new.values())), strict=True))
        return [self.known[tuple(point.items())] for point in points]


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Value and method of every evaluation, by search and seed."""
    import xarray

    del folder
    objective = jasgd.tune.Objective(
        problem(), FLEET, seconds=config.seconds, key=jax.random.key(0), makers={"buffered_sgd": buffered_sgd}
    )
    values, space = Remembered(objective), methods_space()

    def searched(backend: str, seed: int, function: Any) -> jasgd.tune.Result:
        return jasgd.tune.search(function, space, budget=config.budget, seed=seed, backend=backend)

    cases = [(backend, seed) for backend in COLOURS for seed in range(config.seeds)]
    # Random and grid search ask for the same whatever the values are, so all of theirs are simulated together.
    asked = [searched(backend, seed, lambda points: [0.0] * len(points)) for backend, seed in cases if backend != "gp"]
    values([evaluation.configuration for result in asked for evaluation in result.evaluations])
    results = [searched(backend, seed, values) for backend, seed in cases]
    shape = (len(COLOURS), config.seeds, config.budget)
    dims = ("backend", "seed", "evaluation")
    return xarray.Dataset(
        {
            "value": (dims, np.reshape([[e.value for e in r.evaluations] for r in results], shape)),
            "algorithm": (dims, np.reshape([[e.configuration["method"] for e in r.evaluations] for r in results], shape)),
        },
        {"backend": list(COLOURS), "seed": np.arange(config.seeds), "evaluation": np.arange(1, config.budget + 1)},
        provenance(gradients=objective.gradients, simulations=len(values.known)),
    )


def best_so_far(found: "xarray.Dataset") -> "xarray.DataArray":
    """The smallest value among the first 1, 2, ... evaluations."""
    values = np.minimum.accumulate(found["value"].values, axis=found["value"].dims.index("evaluation"))
    return found["value"].copy(data=values)


def best_of_each(found: "xarray.Dataset") -> dict[str, float]:
    """The smallest value of every method, the best first."""
    best = {
        str(name): float(found["value"].where(found["algorithm"] == name).min()) for name in np.unique(found["algorithm"])
    }
    return dict(sorted(best.items(), key=lambda item: item[1]))


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Best so far against evaluations; the best of every method."""
    shown = best_so_far(found)
    with picture(path, CAPTION, columns=2, size=(11, 4.6)) as (left, right):
        for backend, colour in COLOURS.items():
            curve(left, found["evaluation"], shown.sel(backend=backend), colour=colour, label=LABELS[backend])
        low = float(shown.min())
        left.set(xlabel="evaluations", ylabel="smallest value so far", ylim=(low - 0.05, low + 1.0))
        methods = best_of_each(found)
        names = [name.replace("_", " ") for name in methods]
        right.barh(
            names, [low - 0.02 - value for value in methods.values()], left=list(methods.values()), color=BLUE, height=0.1
        )
        right.plot(list(methods.values()), names, "o", color=BLUE)
        right.invert_yaxis()
        right.set(xlabel="smallest value of the method in all searches", xlim=(low - 0.02, max(methods.values()) + 0.03))
