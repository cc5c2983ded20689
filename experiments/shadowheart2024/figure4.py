"""The quadratic while seconds per gradient go from sqrt(i) to 1, the links staying as they are."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.pictures import picture
from experiments.shadowheart2024.quadratics import Quadratic, draw_panel, run
from experiments.shadowheart2024.settings import DROPS, SPEEDS

if TYPE_CHECKING:
    import xarray

CAPTION = f"""The quadratic of figure 1, p = {{probability}}, d = {{dim}}; n = {{workers}}, i^q s per gradient, sqrt(i)
d^(-3/4) s per number sent, medium speed. n, K, horizon and grids are ours. {DROPS} Claimed (caption of the poster):
Shadowheart SGD gains when all workers compute equally fast. Medians and quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Quadratic):
    """The published models of times.

    Attributes:
      probability: p.
      exponents: q.
    """

    seconds: float = 3_000.0
    ratios: tuple[float, ...] = (10, 100, 1e3)
    sent: tuple[int, ...] = (1, 100)
    probability: float = 1e-3
    exponents: tuple[float, ...] = (0.5, 0.25, 0.125, 0.0)

    def quick(self) -> "Config":
        """A larger probability, the first and the last model."""
        return dataclasses.replace(super().quick(), probability=1e-1, exponents=(0.5, 0.0))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Gaps of every model."""
    i = np.arange(1, config.workers + 1)
    links = np.sqrt(i) * config.dim ** SPEEDS["medium"]
    found = run(config, config.probability, {f"{q:g}": (i**q, links) for q in config.exponents}, folder)
    return found.assign_attrs(probability=config.probability)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """A panel for every model."""
    models = found["setting"].values
    with picture(path, CAPTION.format(**found.attrs), columns=len(models), size=(16, 4.9), sharey=True) as axes:
        for panel, q in zip(axes, models, strict=True):
            draw_panel(panel, found.sel(setting=q), f"$h_i = i^{{{q}}}$ s")
            panel.set_xlabel("simulated time [s]")
        axes[0].set_ylabel("$f(x) - f^*$")
