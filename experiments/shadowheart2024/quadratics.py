"""The quadratic with progress noise as in the published commands: panels of curves for several workers and links."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import jasgd
from experiments.contest import attributes
from experiments.pictures import curve, picture
from experiments.shadowheart2024.settings import COLOURS, QSGD, SHADOWHEART, compare, contestants

if TYPE_CHECKING:
    import xarray

SMALLEST_EIGENVALUE = 1e-6  # as in the published commands
OPTIONS = {SHADOWHEART: "s", QSGD: "K"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quadratic:
    """What the authors' text and commands do not say is ours: n, K, the horizon and what is tried.

    Attributes:
      workers, dim: n and d.
      seconds, records: horizon, and times at which the gap is taken.
      steps, small: as powers of two; the small ones not by Shadowheart SGD.
      ratios: s of Shadowheart SGD.
      sent: K of QSGD; Shadowheart SGD sends one number per message.
      seeds: of the noise and of what is sent.
    """

    workers: int = 100
    dim: int = 1000
    seconds: float = 10_000.0
    records: int = 100
    steps: tuple[int, ...] = (-5, -4, -3, -2, -1, 0)
    small: tuple[int, ...] = (-8, -7, -6)
    ratios: tuple[float, ...] = (1, 10, 100, 1e3)
    sent: tuple[int, ...] = (1, 100, 300)
    seeds: int = 3

    def quick(self) -> Any:
        """Few workers and steps, small dimension."""
        return dataclasses.replace(
            self, workers=12, dim=60, seconds=500.0, records=20, steps=(-3, 0), small=(), ratios=(10,), sent=(1,), seeds=2
        )


def run(
    config: Quadratic, probability: float, links: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path
) -> "xarray.Dataset":
    """All methods, each at its best, in several settings: seconds per gradient and per number that is sent."""
    # The published eigenvalue belongs to d = 1000; in small dimensions it would hide everything.
    shift = SMALLEST_EIGENVALUE * (1000 / config.dim) ** 3
    problem = jasgd.problems.progress_quadratic(config.dim, probability, smallest_eigenvalue=shift)
    rates, small = ([2.0**power for power in powers] for powers in (config.steps, config.small))
    tried = {"ratios": config.ratios, "rates": rates, "small": small, "sent": config.sent}
    settings = {name: contestants(*both, config.dim, **tried) for name, both in links.items()}
    times = {"seconds": config.seconds, "records": config.records}
    found = compare(problem, settings, **times, seeds=config.seeds, folder=folder)
    facts = {"workers": config.workers, "dim": config.dim, "steps": str(config.steps), "small": str(config.small)}
    return found.assign_attrs(facts)


def for_all(
    config: Quadratic, probabilities: Sequence[float], links: Mapping[str, tuple[np.ndarray, np.ndarray]], folder: Path
) -> "xarray.Dataset":
    """The same for several probabilities."""
    import xarray

    found = [run(config, p, links, folder / f"{p:g}") for p in probabilities]
    together = xarray.concat(found, "probability", combine_attrs="drop")
    return together.assign_coords(probability=list(probabilities)).assign_attrs(attributes(found))


def draw_rows(found: "xarray.Dataset", path: Path, caption: str, title: str) -> None:
    """A row for every probability, a column for every setting; ``title`` has a place for it."""
    rows, columns = found.sizes["probability"], found.sizes["setting"]
    shape = {"rows": rows, "columns": columns, "size": (14, 3.9 * rows + 0.8)}
    with picture(path, caption.format(**found.attrs), **shape, squeeze=False, sharey="row") as axes:
        for row, p in zip(axes, found["probability"].values, strict=True):
            for panel, setting in zip(row, found["setting"].values, strict=True):
                draw_panel(panel, found.sel(probability=p, setting=setting), f"{title.format(setting)}, p = {p:g}")
            row[0].set_ylabel("$f(x) - f^*$")
        for panel in axes[-1]:
            panel.set_xlabel("simulated time [s]")


def named(one: "xarray.Dataset", method: str) -> str:
    """A method with the step, s and K that are shown."""
    option = f"{OPTIONS[method]} = {float(one['option']):g}, " if method in OPTIONS else ""
    return f"{method}, {option}step {float(one['learning_rate']):g}"


def draw_panel(axes: Any, found: "xarray.Dataset", title: str, metric: str = "gap") -> None:
    """A metric against seconds in one setting."""
    for method, colour in COLOURS.items():
        one = found.sel(algorithm=method)
        curve(axes, found["time"], one[metric], colour=colour, label=named(one, method))
    axes.set(yscale="log")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=7, framealpha=0.7, edgecolor="none")
