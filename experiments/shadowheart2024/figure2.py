"""A small quadratic with less noise: last gaps at three communication speeds, and the gap against what was sent."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.pictures import picture
from experiments.shadowheart2024.settings import COLOURS, DROPS, SPEEDS, compare, contestants, last
from jasgd.results import band

if TYPE_CHECKING:
    import xarray

CAPTION = f"""The unshifted quadratic, d = {{dim}}, progress noise p = {{probability}}; n = {{workers}}, sqrt(i) s per
gradient; all ours. Left: after {{horizon}} s, medians and all {{seeds}} seeds. Right: medium speed, bytes of all
workers; the fastest worker alone sends none. {DROPS}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Our setting.

    Attributes:
      workers, dim: n and d.
      probability: p.
      seconds, records: horizon, and times at which the gap is taken.
      steps: as powers of two.
      ratios: s of Shadowheart SGD; one number per message, of QSGD, too.
      speeds: of communication.
      seeds: of the noise and of what is sent.
    """

    workers: int = 40
    dim: int = 100
    probability: float = 0.1
    seconds: float = 6_000.0
    records: int = 100
    steps: tuple[int, ...] = (-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2)
    ratios: tuple[float, ...] = (1, 10, 100, 1000)
    speeds: tuple[str, ...] = ("high", "medium", "low")
    seeds: int = 9

    def quick(self) -> "Config":
        """Two speeds, two steps, a short time."""
        return dataclasses.replace(
            self, workers=12, seconds=600.0, records=20, steps=(-3, -1), ratios=(10,), speeds=("medium", "low"), seeds=3
        )


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Gaps and bytes of every speed."""
    i, d = np.arange(1, config.workers + 1), config.dim
    tried = {"ratios": config.ratios, "rates": [2.0**power for power in config.steps]}
    settings = {speed: contestants(np.sqrt(i), np.sqrt(i) * d ** SPEEDS[speed], d, **tried) for speed in config.speeds}
    problem = jasgd.problems.progress_quadratic(d, config.probability)
    found = compare(problem, settings, seconds=config.seconds, records=config.records, seeds=config.seeds, folder=folder)
    told = {name: getattr(config, name) for name in ("workers", "dim", "probability", "seeds")}
    return found.assign_attrs(told | {"horizon": f"{config.seconds:g}", "steps": str(config.steps)})


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Points of every seed around their median, and curves over bytes."""
    ends, speeds = found["gap"].isel(time=-1), found["setting"].values.tolist()
    with picture(path, CAPTION.format(**found.attrs), columns=2, size=(12, 5)) as (left, right):
        for shift, (method, colour) in enumerate(COLOURS.items()):
            where = np.arange(len(speeds)) + 0.11 * (shift - 2)
            one = ends.sel(algorithm=method)
            left.plot(where, one.transpose("setting", "seed"), "_", color=colour, ms=9, alpha=0.4)
            left.plot(where, last(found).sel(algorithm=method), "o", color=colour, ms=6, label=method)
            if method == "fastest worker alone":
                continue
            over = found.sel(algorithm=method, setting="medium")
            shown = band(over["gap"])
            right.plot(over["uploaded_bytes"].isel(seed=0)[1:], shown["median"][1:], color=colour, lw=1.3, label=method)
        left.set(yscale="log", xticks=range(len(speeds)), ylabel="last $f(x) - f^*$")
        left.set_xticks(range(len(speeds)), [f"{speed} speed" for speed in speeds])
        left.margins(x=0.2)
        right.set(xscale="log", yscale="log", xlabel="sent to the server [B]", ylabel="$f(x) - f^*$")
