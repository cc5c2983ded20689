"""The methods of this package and their knobs as a graph of variables and values."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import jasgd
from experiments.pictures import BLUE, GREEN, ORANGE, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

KINDS = {"neutral": GREEN, "meta": BLUE, "decreed": ORANGE}
CAPTION = """jasgd.tune.jasgd_space of a fleet of 64 workers with fixed times. Solid: a variable has a value, a value decrees
a variable; dotted: the range of a variable is a fraction of another's value. A variable exists if it can be reached through
the values that are chosen (as in the paper's software); blue ones with an orange frame are both meta and decreed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The space.

    Attributes:
      workers: of the fleet.
      samples: on which the graph is checked.
    """

    workers: int = 64
    samples: int = 2_000

    def quick(self) -> "Config":
        """Fewer samples."""
        return dataclasses.replace(self, samples=200)


def graph(space: Any) -> list[tuple[str, str, str]]:
    """Edges (from, to, kind): a variable and each of its values that matter, a value and what it decrees, bounds."""
    edges = []
    for name in space.conditional_hyperparameters:
        for condition in space.parent_conditions_of[name]:
            meta = condition.parent.name
            for value in getattr(condition, "values", None) or [condition.value]:
                edges += [(meta, f"{meta}={value}", "value"), (f"{meta}={value}", name, "decree")]
    for name, knob in space.items():
        meta = knob.meta or {}
        if meta.get("meta"):
            edges += [(name, f"{name}={value}", "value") for value in getattr(knob, "choices", None) or knob.sequence]
        if meta.get("fraction_of"):
            edges.append((meta["fraction_of"], name, "bound"))
    return sorted(set(edges))


def reachable(edges: list[tuple[str, str, str]], starts: set[str], chosen: dict[str, str]) -> set[str]:
    """Variables that are reached from the first ones through the values that are chosen."""
    there = set(starts)
    while True:
        values = {f"{name}={chosen[name]}" for name in there if name in chosen}
        more = there | {end for start, end, kind in edges if kind == "decree" and start in values}
        if more == there:
            return there
        there = more


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Edges, kinds of variables, and on how many samples what is active is what can be reached."""
    import xarray

    del folder
    space = jasgd.tune.jasgd_space(jasgd.fleet.power_law(config.workers, exponent=1.0))
    edges = graph(space)
    names = list(space)
    governs = {start for start, _, kind in edges if kind == "value"}
    decreed = set(space.conditional_hyperparameters)
    starts = set(names) - decreed
    agree = 0
    for configuration in map(dict, space.sample_configuration(config.samples)):
        chosen = {name: str(value) for name, value in configuration.items()}
        agree += reachable(edges, starts, chosen) == set(configuration)
    return xarray.Dataset(
        {
            "edge": (("edges", "part"), np.array(edges)),
            "meta": ("variable", [name in governs for name in names]),
            "decreed": ("variable", [name in decreed for name in names]),
            "agree": agree,
            "samples": config.samples,
        },
        {"variable": names},
        provenance(gradients=0),
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Variables as boxes, values as words, from left to right."""
    import networkx

    edges = [tuple(map(str, edge)) for edge in found["edge"].values]
    meta = {str(name): bool(flag) for name, flag in zip(found["variable"].values, found["meta"].values, strict=True)}
    decreed = {str(name): bool(flag) for name, flag in zip(found["variable"].values, found["decreed"].values, strict=True)}
    whole = networkx.DiGraph([(start, end) for start, end, kind in edges if kind != "bound"])
    whole.add_nodes_from(meta)
    places = _places(whole, [name for name in meta if not decreed[name]])
    with picture(path, CAPTION, size=(11, 8)) as axes:
        for start, end, kind in edges:
            style = {"arrowstyle": "-", "color": "#888888", "lw": 0.8}
            if kind == "bound":
                style |= {"arrowstyle": "-|>", "ls": ":", "connectionstyle": "arc3,rad=0.5"}
            axes.annotate("", places[end], places[start], arrowprops=style)
        for name, (x, y) in places.items():
            colour = (
                "white" if name not in meta else KINDS["meta" if meta[name] else "decreed" if decreed[name] else "neutral"]
            )
            both = name in meta and meta[name] and decreed[name]
            axes.text(
                x, y, name.split("=")[-1].replace("_", " "), ha="center", va="center", fontsize=9,
                color="white" if name in meta else "black",
                bbox={"boxstyle": "round" if name in meta else "square,pad=0.15", "facecolor": colour,
                      "edgecolor": KINDS["decreed"] if both else "none", "lw": 2.5},
            )  # fmt: skip
        for kind, colour in KINDS.items():
            axes.plot([], [], "s", color=colour, label=kind)
        axes.legend(frameon=False, loc="lower left", fontsize=10)
        x, y = np.array(list(places.values())).T
        axes.set(xlim=(x.min() - 0.5, x.max() + 0.5), ylim=(y.min() - 1, y.max() + 1))
        axes.axis("off")


def _places(graph: Any, starts: list[str]) -> dict[str, tuple[float, float]]:
    """Depth from left to right; leaves one below the other, everything else in the middle of what follows."""
    import networkx

    places: dict[str, tuple[float, float]] = {}
    depth = {name: d for start in starts for name, d in networkx.single_source_shortest_path_length(graph, start).items()}
    below = 0.0

    def place(name: str) -> float:
        nonlocal below
        if name in places:
            return places[name][1]
        # Values that decree the same stand together.
        following = sorted(graph.successors(name), key=lambda after: sorted(graph.successors(after)))
        heights = [place(after) for after in following if after not in places]
        if not heights:
            below -= 1.0
        places[name] = (depth[name], float(np.mean(heights)) if heights else below)
        return places[name][1]

    for start in starts:
        place(start)
    return places
