"""What theory says: times of rounds on a line, a mesh and a torus, and how many rounds suffice."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import attributes
from experiments.pictures import BLUE, GREEN, GREY, RED, picture
from jasgd import decentralized, oracles, theory
from jasgd.decentralized import topology
from jasgd.results import labels

if TYPE_CHECKING:
    import networkx
    import xarray

DIMENSIONS = {"line": 1, "mesh": 2, "torus": 2}
BATCHES = ("S of the theorem", "S = 1")
CAPTION = """Left: s = sigma^2 / epsilon = {ratio:g}, 1 s per gradient, n = {workers}; solid min_j t*, dotted the paper's
formula for all regimes (constants 1). Middle: one simulated round with S = s at the best pivot over t*; dotted: no round
is faster than t* or slower than 3.5 t* (derived). Right: mean of |grad f|^2 over the first k points, gamma = 1 / (2 L), d
= {dim}, normal noise {noise:g} per coordinate."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Ours.

    Attributes:
      side: of the mesh and the torus; the line is as long as they have workers.
      ratio: s.
      edges: seconds per hop.
      dim, noise: of the tridiagonal quadratic, and the standard deviation of the noise of every coordinate.
      accuracies: epsilon.
      records: fractions of the K rounds.
      seeds: over which the expectation is taken.
    """

    side: int = 10
    ratio: float = 400.0
    edges: tuple[float, ...] = tuple(float(f"{10 ** (power / 4):.3g}") for power in range(-16, 15))
    dim: int = 100
    noise: float = 1.0
    accuracies: tuple[float, ...] = (1.0, 0.1, 0.01)
    records: int = 200
    seeds: int = 10

    def quick(self) -> "Config":
        """Few edges, one accuracy."""
        return dataclasses.replace(
            self, side=5, edges=(0.01, 1.0, 10.0, 1000.0), dim=20, accuracies=(1.0,), records=20, seeds=2
        )


def networks(side: int) -> Mapping[str, "networkx.Graph"]:
    """Three of equally many workers."""
    return {"line": topology.mesh(1, side**2), "mesh": topology.mesh(side, side), "torus": topology.torus(side, side)}


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Times of rounds along ``network`` and ``edge``, means along ``accuracy`` and ``fraction``."""
    n, shape = config.side**2, (len(DIMENSIONS), len(config.edges))
    equilibrium, formula, simulated = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for i, (name, graph) in enumerate(networks(config.side).items()):
        hops = topology.latencies(topology.with_seconds(graph, 1.0))
        for j, edge in enumerate(config.edges):
            equilibrium[i, j] = theory.fragile_time(config.ratio, np.ones(n), edge * hops)
            formula[i, j] = theory.mesh_time(config.ratio, 1.0, edge, num_workers=n, dimensions=DIMENSIONS[name])
            one = decentralized.fragile(
                jasgd.fleet.equal(n),
                topology.with_seconds(graph, edge),
                1,
                theory.fragile_batch(config.ratio),
                pivot=theory.fragile_pivot(config.ratio, np.ones(n), edge * hops),
            )
            simulated[i, j] = one.version_time[1]
    parts = [_means(config, accuracy, folder) for accuracy in config.accuracies]
    found = labels().concat(parts, "accuracy", combine_attrs="drop").assign_attrs(attributes(parts))
    for name, values in {"equilibrium": equilibrium, "formula": formula, "simulated": simulated}.items():
        found[name] = ("network", "edge"), values, {"units": "s"}
    found = found.assign_coords(network=list(DIMENSIONS), edge=list(config.edges), accuracy=list(config.accuracies))
    facts = {"ratio": config.ratio, "workers": n, "dim": config.dim, "noise": config.noise}
    return found.assign_attrs(facts)


def _means(config: Config, accuracy: float, folder: Path) -> "xarray.Dataset":
    """Means of the squared gradient over the first points, after fractions of the K rounds of the theorem."""
    made = jasgd.problems.quadratic(config.dim, config.noise)
    smoothness, variance = made.facts["smoothness"], made.facts["noise_variance"]
    gap = config.dim / 4 + np.sqrt(config.dim) / 4 - made.facts["smallest_loss"]
    updates = theory.fragile_iterations(smoothness, gap, accuracy)
    batches = dict(zip(BATCHES, (theory.fragile_batch(variance / accuracy), 1), strict=True))
    found = jasgd.sweep(
        made,
        optax.sgd(theory.fragile_step_size(smoothness)),
        jasgd.protocols.minibatch(jasgd.fleet.equal(1), updates),
        grid={"batch": list(batches)},
        seeds=config.seeds,
        key=jax.random.key(0),
        every=1,
        resume=folder / f"{accuracy:g}",
        oracle=lambda batch: oracles.gradient([batches[batch]]),
        progress=f"accuracy {accuracy:g}",
    )
    squares = found["grad_norm"].astype(float).transpose("batch", "seed", "version").values[..., :updates] ** 2
    mean = squares.mean(axis=1).cumsum(axis=1) / np.arange(1, updates + 1)
    fraction = np.arange(1, config.records + 1) / config.records
    count = np.ceil(fraction * updates).astype(int)
    needed = np.where(mean[0] <= accuracy, np.arange(1, updates + 1), updates + 1).min()
    return labels().Dataset(
        {
            "mean": (("batch", "fraction"), mean[:, count - 1]),
            "needed": int(needed),
            "size": ("batch", list(batches.values())),
            "updates": updates,
        },
        {"batch": list(batches), "fraction": fraction},
        attributes([found]),
    )


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Times, their ratio, and the guarantee."""
    with picture(path, CAPTION.format(**found.attrs), columns=3, size=(14, 4.9)) as (a, b, c):
        for network, colour in zip(found["network"].values, (BLUE, GREEN, RED), strict=True):
            one = found.sel(network=network)
            style = "--" if network == "torus" else "-"
            a.loglog(found["edge"], one["equilibrium"], style, color=colour, lw=1.4, label=network)
            if network != "torus":
                a.loglog(found["edge"], one["formula"], ":", color=colour, lw=1.4, label=f"formula, {network}")
            b.semilogx(found["edge"], one["simulated"] / one["equilibrium"], "o-", ms=3, color=colour, lw=1, label=network)
        a.set(xlabel="seconds per hop", ylabel=r"seconds per $L \Delta / \epsilon$")
        b.set(xlabel="seconds per hop", ylabel="simulated seconds per round / t*", ylim=(0, 4))
        for level in (1, 3.5):
            b.axhline(level, color=GREY, ls=":", lw=1)
        for accuracy, colour in zip(found["accuracy"].values, (BLUE, GREEN, RED), strict=False):
            for batch, style in zip(found["batch"].values, ("-", "--"), strict=True):
                of = {"accuracy": accuracy, "batch": batch}
                label = rf"$\epsilon$ = {accuracy:g}, {batch}"
                c.loglog(found["fraction"], found["mean"].sel(of) / accuracy, style, color=colour, lw=1.3, label=label)
        c.axhline(1, color=GREY, ls=":", lw=1)
        c.set(
            xlabel=r"rounds / $\lceil 16 L \Delta / \epsilon \rceil$", ylabel=r"mean of $\|\nabla f(x_k)\|^2$ / $\epsilon$"
        )
