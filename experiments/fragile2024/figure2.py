"""Rounds of Fragile SGD against S: how long they take, how many gradients they have, and of whom."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.fragile2024.settings import SIDE, network, rounds
from experiments.pictures import BLUE, GREEN, RED, picture
from jasgd.decentralized.topology import latencies
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

TIES = ("authors", "simple")
CAPTION = """A 10 x 10 mesh, 1 s per gradient, pivot 44. Solid: the authors' order of what happens at the same time
(messages arrive, then leave, then gradients finish); dashed: gradients finish first. Grey: no round can be shorter, if
links carried any number of messages at once. The paper says how many of the 100 workers contribute at 10 s per hop with S
= 120, a small fraction; we record ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The paper's network.

    Attributes:
      side: of the mesh.
      edges: seconds per hop.
      batches: S.
      shown: the S of the map.
    """

    side: int = SIDE
    edges: tuple[float, ...] = (0.1, 1.0, 10.0)
    batches: tuple[int, ...] = (*range(1, 20), *range(20, 505, 5))
    shown: int = 120

    def quick(self) -> "Config":
        """Few S."""
        return dataclasses.replace(self, batches=(1, 10, 20, 40, 120, 300))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """One round for every order of ties, edge time and S; they are all alike."""
    import xarray

    del folder
    shape = (len(TIES), len(config.edges), len(config.batches))
    seconds, gradients = np.zeros(shape), np.zeros((*shape, config.side**2), int)
    for i, j, k in np.ndindex(shape):
        one = rounds(config.edges[j], config.batches[k], side=config.side, ties=TIES[i])
        assert one.contents is not None
        seconds[i, j, k], gradients[i, j, k] = one.version_time[1], one.contents.gradients
    pivot = int(one.arguments["pivot"])
    hops = latencies(network(1.0, config.side))[pivot]
    least = np.array([[shortest(batch, edge * hops) for batch in config.batches] for edge in config.edges])
    dims = ("ties", "edge", "S")
    return xarray.Dataset(
        {
            "seconds": (dims, seconds, {"units": "s"}),
            "gradients": ((*dims, "worker"), gradients),
            "least_seconds": (dims[1:], least, {"units": "s"}),
            "hops": ("worker", hops),
        },
        {"ties": list(TIES), "edge": list(config.edges), "S": list(config.batches)},
        provenance(workers=config.side**2) | {"gradients": str(gradients.sum()), "pivot": pivot, "shown": config.shown},
    )


def shortest(batch: int, away: np.ndarray) -> float:
    """When S gradients of one second each could be there and back: min{t: sum floor(t - 2 away)_+ >= S}."""
    ready = np.add.outer(np.arange(1, batch + 1), 2 * away)
    return float(np.sort(ready, axis=None)[batch - 1])


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Seconds, batch and contributors against S; the mesh at the slowest edges."""
    gathered = found["gradients"].sum("worker")
    contributors = (found["gradients"] > 0).sum("worker")
    with picture(path, CAPTION, rows=2, columns=2, size=(11, 8.2)) as ((a, b), (c, d)):
        for edge, colour in zip(found["edge"].values, (BLUE, GREEN, RED), strict=True):
            a.plot(found["S"], found["least_seconds"].sel(edge=edge), color="0.75", lw=3, zorder=0)
            for ties, style in zip(TIES, ("-", "--"), strict=True):
                of = {"edge": edge, "ties": ties}
                name = f"{edge:g} s per hop" if ties == "authors" else None
                a.plot(found["S"], found["seconds"].sel(of), style, color=colour, lw=1.2, label=name)
                if ties == "authors":
                    b.plot(found["S"], gathered.sel(of) / found["S"], color=colour, lw=0.9, label=name)
                c.plot(found["S"], contributors.sel(of), style, color=colour, lw=1.2, label=name)
        a.set(xscale="log", yscale="log", xlabel="S", ylabel="seconds per round")
        b.set(xscale="log", xlabel="S", ylabel="gradients in a round / S")
        c.set(xscale="log", xlabel="S", ylabel=f"contributing workers of {found.sizes['worker']}")
        slow, size = float(found["edge"].max()), found.attrs["shown"]
        each = found["gradients"].sel(ties="authors", edge=slow, S=size).values
        side = int(np.sqrt(len(each)))
        d.imshow(each.reshape(side, side), cmap="Reds", vmax=1.5 * each.max())
        for worker in np.flatnonzero(each):
            text = f"{each[worker]}" + ("\npivot" if worker == found.attrs["pivot"] else "")
            colour = "white" if worker == found.attrs["pivot"] else "black"
            d.text(worker % side, worker // side, text, ha="center", va="center", fontsize=8, color=colour)
        d.set(xticks=range(side), yticks=range(side), xlabel="column", ylabel="row")
        d.set_title(f"gradients of each worker, {slow:g} s per hop, S = {size}", fontsize=10)
