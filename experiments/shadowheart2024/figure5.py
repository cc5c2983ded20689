"""The quadratic with uniformly drawn times, for links of three speeds."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.shadowheart2024.quadratics import Quadratic, draw_rows, for_all
from experiments.shadowheart2024.settings import DROPS

if TYPE_CHECKING:
    import xarray

CAPTION = f"""The quadratic of figure 1 with d = {{dim}}; n = {{workers}}, U(0.1, 1) s per gradient, c U(0.1, 1) s per
number sent, drawn once. n, d, K, p, horizon and grids are ours. {DROPS} Claimed (captions of the poster): the fastest
worker alone is competitive only at c = 100. Medians and quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Quadratic):
    """The published models of times.

    Attributes:
      probabilities: p.
      slowness: c.
    """

    seconds: float = 3_000.0
    ratios: tuple[float, ...] = (10, 100, 1e3)
    sent: tuple[int, ...] = (1, 100)
    probabilities: tuple[float, ...] = (1e-3, 1e-4)
    slowness: tuple[float, ...] = (0.1, 1.0, 100.0)

    def quick(self) -> "Config":
        """One larger probability, two speeds."""
        return dataclasses.replace(super().quick(), probabilities=(1e-1,), slowness=(0.1, 100.0))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Gaps of every speed of the links."""
    seconds, per_number = np.random.default_rng(0).uniform(0.1, 1.0, (2, config.workers))
    links = {f"{c:g}": (seconds, c * per_number) for c in config.slowness}
    return for_all(config, config.probabilities, links, folder)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Panels."""
    draw_rows(found, path, CAPTION, "c = {}")
