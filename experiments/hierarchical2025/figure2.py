"""The network function of the paper's software: the embedding in an ordinary Gaussian process against SMT's own search."""

import dataclasses
import importlib.util
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.hierarchical2025.settings import network, network_space
from experiments.pictures import BLUE, GREEN, ORANGE, curve, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

SMALLEST = -155.5
COLOURS = {"gp": BLUE, "smt": GREEN, "random": ORANGE}
LABELS = {"gp": "scikit-learn's Gaussian process on the embedding", "smt": "SMT's EGO", "random": "random"}
CAPTION = """HierarchicalNeuralNetwork, as in SMT's code: the number of layers decides which variables there are. Gap to the
smallest value, -155.5. 15 evaluations at random, then expected improvement. Medians and interquartile bands over seeds.
The paper's own scores are not known to us."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Searches.

    Attributes:
      initial: evaluations at random.
      steps: of expected improvement.
      seeds: of the searches.
      smt_seeds: of those of SMT, which take longer.
    """

    initial: int = 15
    steps: int = 25
    seeds: int = 10
    smt_seeds: int = 3

    def quick(self) -> "Config":
        """Few steps."""
        return dataclasses.replace(self, steps=3, seeds=2, smt_seeds=1)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """The gap after every evaluation; without SMT its own is missing."""
    import xarray

    del folder
    smt = importlib.util.find_spec("smt") is not None
    budget = config.initial + config.steps
    gap = np.full((len(COLOURS), config.seeds, budget), np.nan)
    for i, backend in enumerate(COLOURS):
        seeds = config.seeds if backend != "smt" else config.smt_seeds if smt else 0
        for seed in range(seeds):
            found = jasgd.tune.search(
                lambda points: [network(point) for point in points],
                network_space(),
                budget=budget,
                initial=config.initial,
                seed=seed,
                backend=backend,
            )
            gap[i, seed] = found.best_so_far[:budget] - SMALLEST
    return xarray.Dataset(
        {"gap": (("backend", "seed", "evaluation"), gap), "smallest": enumerated()},
        {"backend": list(COLOURS), "seed": np.arange(config.seeds), "evaluation": np.arange(1, budget + 1)},
        provenance(gradients=0, smt="used" if smt else "not installed", initial=config.initial),
    )


def enumerated() -> float:
    """The smallest value at the ends of the ranges, with all whole numbers and words."""
    x6, x7 = {1: [0], 2: range(6), 3: range(6)}, {1: [0], 2: [0], 3: range(6)}
    return min(
        network(dict(zip(("x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"), point, strict=True)))
        for x0 in (1, 2, 3)
        for point in itertools.product(
            [x0], (-5, 2), (-5, 2), (8, 16, 32, 64, 128, 256), ("ReLU", "SELU", "ISRLU"), range(6), x6[x0], x7[x0]
        )
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Gap against evaluations."""
    with picture(path, CAPTION, size=(9, 4.6)) as axes:
        for backend, colour in COLOURS.items():
            shown = found["gap"].sel(backend=backend).dropna("seed")
            if shown.sizes["seed"]:
                label = f"{LABELS[backend]}, {shown.sizes['seed']} seeds"
                curve(axes, found["evaluation"], np.maximum(shown, 1e-2), colour=colour, label=label)
        axes.axvline(int(found.attrs["initial"]), color="black", lw=0.8, ls=":")
        axes.set(yscale="log", xlabel="evaluations", ylabel="gap to the smallest value (at least 0.01)")
