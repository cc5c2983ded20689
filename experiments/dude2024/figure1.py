"""Where the methods go when fast workers deliver more often: to the minimiser of the mean, or to that of the fast ones."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

import jasgd
from experiments.contest import attributes, lasting
from experiments.dude2024.settings import COLOURS, Quadratics, contenders, quadratic_problem, quadratics
from experiments.pictures import GREY, curve, picture

if TYPE_CHECKING:
    import xarray

TIMES = np.array([1.0, 1.3, 2.1, 3.7, 6.1, 9.7])
WORKERS, DIM = len(TIMES), 8
CAPTION = """Noise-free quadratics of six workers, five draws (median and interquartile band); gradients take 1 to 9.7 s. Setting and steps
per gradient are ours. The paper claims that DuDe-ASGD converges whatever the heterogeneity. x* minimises the mean, $x_p$ the mean weighted
by speed. Single precision ends below 1e-6. FedBuff: buffer of 3; undamped (like uniform ASGD, under it): no staleness weights."""  # noqa: E501


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Our setting.

    Attributes:
      horizon: simulated seconds.
      records: over them; the spacing is no multiple of a worker's time, so that means see all phases.
      steps: per gradient.
      draws: of quadratics, and of the assignments.
    """

    horizon: float = 12_345.67
    records: int = 400
    steps: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04)
    draws: int = 5

    def quick(self) -> "Config":
        """Shorter, two steps, two draws."""
        return dataclasses.replace(self, horizon=2_345.67, records=100, steps=(0.01, 0.04), draws=2)


def drawn(draw: int) -> tuple[Quadratics, np.ndarray]:
    """The quadratics, and the starting point."""
    return quadratics(WORKERS, DIM, draw=draw), np.ones(DIM)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Distances from both minimisers, of the iterates and of their mean in the second half; arrivals of every worker."""
    import xarray

    fleet, methods = jasgd.fleet.fixed(TIMES), contenders(WORKERS)
    times = np.linspace(0, config.horizon, config.records + 1)[1:]
    speed = (1 / TIMES) / np.sum(1 / TIMES)
    parts, arrivals = [], np.zeros((len(methods), WORKERS))
    for m, (name, one) in enumerate(methods.items()):

        def schedule(draw: int, one=one) -> jasgd.Schedule:  # noqa: ANN001
            return lasting(lambda updates, seed: one.schedule(fleet, updates, seed), config.horizon, draw)

        for draw in range(config.draws):
            arrivals[m] += np.bincount(schedule(draw).worker, minlength=WORKERS)
        parts.append(
            jasgd.sweep(
                lambda draw: quadratic_problem(*drawn(draw), coordinates=True),
                lambda step, one=one: one.rule(step),
                schedule,
                grid={"step": list(config.steps), "draw": list(range(config.draws))},
                key=jax.random.key(0),
                times=times,
                resume=folder / name.replace(" ", "-"),
                progress=name,
            ).isel(seed=0, time=slice(0, config.records + 1), drop=True)
        )
    found = xarray.concat([part.drop_vars("version") for part in parts], "algorithm", join="override", combine_attrs="drop")
    # Coordinates count from the minimiser of the mean.
    x = np.stack([found[f"x{i}"].values for i in range(DIM)], axis=-1).astype(np.float64)
    weighted = np.stack(
        [drawn(d)[0].minimiser(speed) - drawn(d)[0].minimiser(np.full(WORKERS, 1 / WORKERS)) for d in range(config.draws)]
    )
    late = x[..., config.records // 2 :, :].mean(axis=-2)
    dims = ("algorithm", "step", "draw")
    return xarray.Dataset(
        {
            "to_mean": ((*dims, "time"), np.linalg.norm(x, axis=-1)),
            "to_weighted": ((*dims, "time"), np.linalg.norm(x - weighted[:, None], axis=-1)),
            "late_to_mean": (dims, np.linalg.norm(late, axis=-1)),
            "late_to_weighted": (dims, np.linalg.norm(late - weighted, axis=-1)),
            "apart": ("draw", np.linalg.norm(weighted, axis=-1)),
            "precision": ("draw", [precision(drawn(d)[0]) for d in range(config.draws)]),
            "arrivals": (("algorithm", "worker"), arrivals / arrivals.sum(axis=1, keepdims=True)),
            "speed": ("worker", speed),
        },
        {
            "algorithm": list(methods),
            "step": list(config.steps),
            "draw": np.arange(config.draws),
            "time": ("time", found["time"].values, {"units": "s"}),
            "worker": np.arange(WORKERS),
        },
        attributes(parts),
    )


def precision(made: Quadratics) -> float:
    """How far from the minimiser rounded gradients may vanish: sums of d products are off by d eps, over the curvature."""
    best = made.minimiser(np.full(WORKERS, 1 / WORKERS))
    largest = np.linalg.norm(made.centre - best, axis=1).mean()
    return float(DIM * np.finfo(np.float32).eps * largest / np.linalg.eigvalsh(made.curvature.mean(axis=0))[0])


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Distances against time and step, arrivals."""
    step = float(found["step"].values[-2])
    one = found.sel(step=step).rename(draw="seed")
    with picture(path, CAPTION, rows=2, columns=2, size=(11, 8)) as ((a, b), (c, d)):
        for name, colour in COLOURS.items():
            line = one.sel(algorithm=name)
            curve(a, line["time"], line["to_mean"], colour=colour, label=name)
            curve(b, line["time"], line["to_weighted"], colour=colour, label=name)
        for name in ("ASGD", "FedBuff", "undamped FedBuff", "DuDe"):
            for values, style in (("late_to_mean", "o-"), ("late_to_weighted", "s:")):
                if values == "late_to_mean" or name == "ASGD":
                    line = found[values].sel(algorithm=name)
                    target = "x*" if values == "late_to_mean" else "$x_p$"
                    c.loglog(
                        line["step"], line.median("draw"), style, ms=4, color=COLOURS[name], label=f"{name} to {target}"
                    )
        _arrivals(d, found)
        b.legend([], frameon=False)
        c.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 0.12))
        c.set_xticks(found["step"].values, [f"{step:g}" for step in found["step"].values])
        c.minorticks_off()
        a.set(
            yscale="log",
            xlabel="simulated time [s]",
            ylabel=r"$\|x - x^*\|$",
            title=f"to the minimiser of the mean, step {step}",
        )
        b.set(
            yscale="log",
            xlabel="simulated time [s]",
            ylabel=r"$\|x - x_p\|$",
            title=f"to that of the fast workers, step {step}",
        )
        c.set(
            xlabel="step per gradient", ylabel="distance of the mean of the second half", title="how it depends on the step"
        )


def _arrivals(axes: "object", found: "xarray.Dataset") -> None:
    shown = ("ASGD", "uniform ASGD", "FedBuff", "DuDe")
    for i, name in enumerate(shown):
        axes.bar(
            np.arange(WORKERS) + 0.2 * i - 0.3, found["arrivals"].sel(algorithm=name), 0.18, color=COLOURS[name], label=name
        )
    axes.plot(np.arange(WORKERS), found["speed"], "_", color=GREY, ms=30, label="in proportion to speed")
    axes.set(
        xticks=range(WORKERS),
        xticklabels=[f"{t:g}" for t in TIMES],
        xlabel="seconds per gradient of the worker",
        ylabel="share of the gradients",
        title="who delivers",
    )
