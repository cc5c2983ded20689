"""Time complexities against the speed of the links, and where the fastest worker alone needs the least time."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.pictures import BLACK, GREY, SKY, picture
from experiments.shadowheart2024.settings import COLOURS, FASTEST
from jasgd import theory
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

NAMES = COLOURS | {"Rennala SGD": SKY, "any method without compression, at least": BLACK}
CAPTION = """Our formulas, all constants 1, in units of L Delta / epsilon: h ~ U(0.1, 1) s per gradient, c U(0.1, 1) s
per number sent, n = {workers}, d = {dim}, one number per message; median over {seeds} draws. Not the paper's table. The
optimality of Shadowheart SGD is among methods that go through the server. Shaded: the fastest worker alone needs less
than all others."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Our sizes.

    Attributes:
      workers, dim: n and d.
      ratios: s = sigma^2 / epsilon.
      speeds: c.
      seeds: draws of the times.
    """

    workers: int = 1_000
    dim: int = 1_000_000
    ratios: tuple[float, ...] = (1.0, 1e3, 1e6)
    speeds: tuple[float, ...] = tuple(10.0 ** (power / 4) for power in range(-36, 13))
    seeds: int = 5

    def quick(self) -> "Config":
        """Few speeds and draws."""
        return dataclasses.replace(self, speeds=tuple(10.0**power for power in range(-9, 4)), seeds=2)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Seconds of every method; nothing is simulated."""
    import xarray

    del folder
    seconds = np.empty((len(NAMES), len(config.ratios), len(config.speeds), config.seeds))
    for seed in range(config.seeds):
        compute, upload = np.random.default_rng(seed).uniform(0.1, 1.0, (2, config.workers))
        for i, ratio in enumerate(config.ratios):
            for j, c in enumerate(config.speeds):
                found = theory.communication_times(config.dim, ratio, compute, c * upload)
                seconds[:, i, j, seed] = [found[name] for name in NAMES]
    return xarray.Dataset(
        {"seconds": (("algorithm", "ratio", "speed", "seed"), seconds, {"units": "s"})},
        {"algorithm": list(NAMES), "ratio": list(config.ratios), "speed": list(config.speeds)},
        provenance(workers=config.workers, dim=config.dim, seeds=config.seeds, gradients=0),
    )


def alone_is_best(found: "xarray.Dataset") -> "xarray.DataArray":
    """Where the fastest worker needs less than all others, the bound included."""
    median = found["seconds"].median("seed")
    return median.sel(algorithm=FASTEST) < median.drop_sel(algorithm=FASTEST).min("algorithm")


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel for every s."""
    median, c = found["seconds"].median("seed"), found["speed"].values
    size = (14, 5)
    with picture(path, CAPTION.format(**found.attrs), columns=found.sizes["ratio"], size=size, sharey=True) as axes:
        for panel, ratio in zip(np.ravel(axes), found["ratio"].values, strict=True):
            for name, colour in NAMES.items():
                style = "--" if "without" in name else "-"
                panel.plot(c, median.sel(algorithm=name, ratio=ratio), style, color=colour, lw=1.4, label=name)
            best = alone_is_best(found).sel(ratio=ratio).values
            panel.fill_between(c, 0, 1, where=best, transform=panel.get_xaxis_transform(), color=GREY, alpha=0.15, lw=0)
            panel.set(xscale="log", yscale="log", xlabel="c [s per number]", ylim=(0.05, 1e12))
            panel.set_title(rf"$s = \sigma^2 / \epsilon$ = {ratio:g}", fontsize=10)
            if ratio == found["ratio"][0]:
                panel.legend(frameon=False, fontsize=8, loc="upper left")
            else:
                panel.legend([], frameon=False)
        np.ravel(axes)[0].set_ylabel(r"seconds per $L \Delta / \epsilon$")
