"""The quadratic at high, medium and low communication speed, with progress noise of two probabilities."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.shadowheart2024.quadratics import Quadratic, draw_rows, for_all
from experiments.shadowheart2024.settings import DROPS, SPEEDS

if TYPE_CHECKING:
    import xarray

CAPTION = f"""f = x'Ax/2 - b'x, d = {{dim}}, progress noise p; n = {{workers}}, sqrt(i) s per gradient, sqrt(i) d^(-1,
-3/4, -1/2) s per number sent. n, K, horizon and grids are ours. {DROPS} Claimed (captions of the poster): all are close
at high speed, Shadowheart is robust; less p hurts the fastest worker alone, slow links hurt asynchronous and minibatch
SGD. Medians and quartiles."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Quadratic):
    """Probabilities of the published figures.

    Attributes:
      probabilities: p.
      speeds: of communication.
    """

    probabilities: tuple[float, ...] = (1e-3, 1e-4)
    speeds: tuple[str, ...] = ("high", "medium", "low")

    def quick(self) -> "Config":
        """One larger probability, two speeds."""
        return dataclasses.replace(super().quick(), probabilities=(1e-1,), speeds=("high", "low"))


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Gaps of every probability and speed."""
    i = np.arange(1, config.workers + 1)
    links = {speed: (np.sqrt(i), np.sqrt(i) * config.dim ** SPEEDS[speed]) for speed in config.speeds}
    return for_all(config, config.probabilities, links, folder)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Panels."""
    draw_rows(found, path, CAPTION, "{} speed")
