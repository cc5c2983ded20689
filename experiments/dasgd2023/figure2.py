"""What staleness costs: what is left at a fixed step, and how many gradients a goal takes with the best step."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import jasgd
from experiments.dasgd2023.settings import DIM, execution, replay, samples
from experiments.pictures import BLUE, GREEN, GREY, RED, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

FIXED = (0.02, 0.04, 0.08)  # steps of the first panel; they are in the grid
CAPTION = """The quadratic and the six nodes of figure 1, noise {noise:g} per coordinate or none. Dots: latencies times
{scales}; crosses: messages are sums of {every} gradients. Middle, right: the first T at which the mean of T squared
gradients is at most epsilon, at the best of {steps} steps; medians of {seeds} seeds. S is ours: the paper's is unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The sizes.

    Attributes:
      gradients: most gradients of a run.
      noise: per coordinate.
      scales: of the latencies, with a message per gradient.
      every: gradients per message, at the latencies of figure 1.
      finest: steps that are tried besides the fixed ones.
      goals: epsilon.
      seeds: of the noise.
    """

    gradients: int = 12_000
    noise: float = 1.0
    scales: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    every: tuple[int, ...] = (2, 3, 4, 5, 6)
    finest: int = 24
    goals: tuple[float, ...] = (0.8, 0.4, 0.2, 0.1)
    seeds: int = 5

    def quick(self) -> "Config":
        """Shorter, fewer points."""
        return dataclasses.replace(self, gradients=2_000, scales=(0.0, 1.0, 4.0), every=(6,), goals=(0.8, 0.4), seeds=3)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """What is left and what a goal takes, by how stale the reads are."""
    import xarray

    del folder
    steps = np.array(sorted({*FIXED, *np.geomspace(2e-3, 0.6, config.finest).tolist()}))
    drawn = samples(config.gradients // 2, range(config.seeds), config.noise)
    noise = np.concatenate([0 * drawn[:, :, :1], drawn], axis=2)  # without noise first
    parts = []
    for scale, every in [(scale, 1) for scale in config.scales] + [(1.0, every) for every in config.every]:
        run = execution(config.gradients, scale=scale, broadcast_every=every)
        squared, _ = replay(run, noise, steps)
        S = jasgd.decentralized.staleness(run).missing
        mean = np.cumsum(squared, axis=0) / np.arange(1, len(squared) + 1)[:, None, None]
        reached = [np.where((mean <= goal).any(0), (mean <= goal).argmax(0) + 1.0, np.inf) for goal in config.goals]
        tail = squared[len(squared) // 2 :].mean(axis=0)
        left = np.where(np.isfinite(tail), tail, np.inf)
        one = {
            "average": S.mean(),
            "largest": S.max(),
            "left": (("step", "seed"), left[:, 1:], {"long_name": "mean squared gradient in the second half"}),
            "needed": (("goal", "step", "seed"), np.stack(reached)[:, :, 1:]),
            "needed_without_noise": (("goal", "step"), np.stack(reached)[:, :, 0]),
        }
        parts.append(xarray.Dataset(one).assign_coords(scale=scale, every=every))
    found = xarray.concat(parts, "execution").assign_coords(step=steps, goal=list(config.goals))
    gradients = len(parts) * config.gradients * len(steps) * noise.shape[2]
    shown = {
        "scales": ", ".join(f"{s:g}" for s in config.scales),
        "every": " to ".join(map(str, config.every[:: max(1, len(config.every) - 1)])),
    }
    return found.assign_attrs(
        provenance(gradients=str(gradients)) | shown, noise=config.noise, steps=len(steps), seeds=config.seeds
    )


def predicted(step: float, missing: np.ndarray, noise: float) -> np.ndarray:
    r"""What a constant delay S leaves of the squared gradient.

    .. math:: \sum_i \frac{\eta \sigma^2 \lambda_i}2 \frac{1 + \sin \eta \lambda_i S}{\cos \eta \lambda_i S}

    It is the variance of :math:`dx = -\eta \lambda x(t - S) dt + \eta \sigma dW` in every eigendirection; for a small step
    its slope in S is :math:`\eta^2 \sigma^2 \mathrm{tr}(A^2) / 2`.

    Example:
      >>> predicted(0.02, np.array([0.0]), 1.0).round(3)
      array([0.05])
    """
    values = (1 - np.cos(np.pi * np.arange(1, DIM + 1) / (DIM + 1))) / 2
    angle = step * values * np.asarray(missing, float)[:, None]
    level = step * noise**2 * values / 2 * (1 + np.sin(angle)) / np.cos(angle)
    return np.where(angle.max(axis=1) < np.pi / 2, level.sum(axis=1), np.inf)


def with_best_step(found: "xarray.Dataset") -> tuple["xarray.DataArray", "xarray.DataArray"]:
    """Gradients that each goal takes, without noise and with it."""
    return found["needed_without_noise"].min("step"), found["needed"].median("seed").min("step")


def draw(found: "xarray.Dataset", path: Path) -> None:
    """What is left; what a goal takes by staleness, and by goal."""
    rare, S, goals = found["every"].values > 1, found["average"].values, found["goal"].values
    kinds = dict(zip(("no noise", "noise"), with_best_step(found), strict=True))
    styles = {"no noise": {"ls": "--", "mfc": "white"}, "noise": {"ls": "-"}}
    with picture(path, CAPTION.format(**found.attrs), columns=3, size=(14, 4.6)) as (left, middle, right):
        for step, colour in zip(FIXED, (BLUE, RED, GREEN), strict=True):
            values = found["left"].sel(step=step).median("seed").values
            left.plot(S[~rare], values[~rare], "o", ms=5, color=colour, label=rf"$\eta$ = {step:g}")
            left.plot(S[rare], values[rare], "x", ms=5, color=colour)
            grid = np.linspace(S.min(), S.max(), 200)
            left.plot(grid, predicted(step, grid, found.attrs["noise"]), ":", lw=1, color=colour)
        left.plot([], [], ":", color=GREY, label="constant delay $S_{avg}$, in theory")
        left.set(yscale="log", ylim=(0.03, 3), ylabel=r"mean $\|\nabla f(z_k)\|^2$, second half")
        for kind, needed in kinds.items():
            for goal, colour in zip(goals, (BLUE, RED, GREEN, GREY), strict=False):
                at, label = needed.sel(goal=goal).values, rf"$\epsilon$ = {goal:g}, {kind}"
                middle.plot(S[~rare], at[~rare], "o", lw=1, ms=5, color=colour, label=label, **styles[kind])
                middle.plot(S[rare], at[rare], "x", ms=5, color=colour)
            for place, colour in ((0, BLUE), (int((~rare).sum()) - 1, RED)):
                label = rf"$S_{{avg}}$ = {S[place]:.3g}, {kind}"
                right.plot(goals, needed.isel(execution=place), "o", lw=1, ms=5, color=colour, label=label, **styles[kind])
        ends = np.array([goals.min(), goals.max()])
        for power, style in ((1, "-."), (2, ":")):
            guide = 0.6 * float(kinds["no noise"].min()) * (ends / ends.max()) ** -power
            right.plot(ends, guide, style, color="black", lw=0.8, label=rf"$\epsilon^{{-{power}}}$")
        for axes, ticks in ((middle, (5, 10, 20, 40)), (right, goals)):
            axes.set(xscale="log", yscale="log", ylabel=r"gradients to $\epsilon$, best step")
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.tick_params("x", which="minor", bottom=False, labelbottom=False)
        middle.legend(frameon=False, fontsize=7, ncols=2, loc="upper left")
        middle.set_ylim(top=100 * float(kinds["noise"].where(np.isfinite(kinds["noise"])).max()) ** 0.9)
        for axes in (left, middle):
            axes.set_xlabel("$S_{avg}$, gradients missing at a read")
        right.set_xlabel(r"goal $\epsilon$")
