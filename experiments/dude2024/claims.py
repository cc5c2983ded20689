"""What the paper and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.dude2024.figure2 import best_steps
from experiments.dude2024.figure3 import predicted_speed_up, speed_up

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Where the methods go."""
    steps = found["step"].values
    late, wrong = found["late_to_mean"], found["late_to_weighted"].sel(algorithm="ASGD")
    slope = np.log(wrong.isel(step=-1) / wrong.isel(step=0)) / np.log(steps[-1] / steps[0])
    left = late.sel(algorithm="ASGD") / found["apart"]
    exact = found["to_mean"].isel(time=-1).max("step").sel(algorithm=["DuDe", "synchronous"]) / found["precision"]
    error = {str(name): float(np.abs(_arrivals(found, name) - found["speed"]).max()) for name in ("ASGD", "DuDe")}
    even = {
        str(name): float(np.abs(6 * _arrivals(found, name) - 1).max())
        for name in ("uniform ASGD", "shuffled ASGD", "FedBuff")
    }
    away = {name: float(late.sel(algorithm=name, step=steps[0]).median("draw")) for name in _names(found)}
    return [
        Claim(
            statement="DuDe-ASGD converges to the minimiser of the mean, however different the workers' functions.",
            mark="paper (abstract), on quadratics",
            verdict=verdict(bool((exact.sel(algorithm="DuDe") < 1).all())),
            evidence="largest last distance of all steps and draws, in units of what rounding in single precision explains: "
            + listed({str(name): float(exact.sel(algorithm=name).max()) for name in exact["algorithm"].values}),
        ),
        Claim(
            statement="ASGD converges to the minimiser weighted by speed, but for an error in proportion to the step.",
            mark="derived by us",
            verdict=verdict(bool((np.abs(slope - 1) < 0.15).all())),
            evidence=f"distance of its mean from there {float(wrong.isel(step=0).median()):.2g} to "
            f"{float(wrong.isel(step=-1).median()):.2g} for steps {steps[0]:g} to {steps[-1]:g}; "
            f"exponents {float(slope.min()):.3f} to {float(slope.max()):.3f}",
        ),
        Claim(
            statement="Smaller steps do not bring ASGD closer to the minimiser of the mean.",
            mark="derived by us",
            verdict=verdict(bool((np.abs(left - 1) < 0.05).all())),
            evidence="its distance over that between the two minimisers: "
            + listed({f"step {step:g}": float(left.sel(step=step).median()) for step in steps}),
        ),
        Claim(
            statement="Workers deliver in proportion to their speed when each keeps its own job, to a share of 0.001.",
            mark="derived by us",
            verdict=verdict(max(error.values()) < 1e-3),
            evidence="largest deviation: "
            + listed(error)
            + "; when jobs are drawn, shares are even within "
            + listed({name: 100 * value for name, value in even.items()}, " %"),
        ),
        Claim(
            statement="FedBuff's staleness weights leave a bias towards fast workers; drawing the workers does not.",
            mark="derived by us",
            verdict=verdict(_biased(found)),
            evidence=f"distance of the mean from the minimiser, smallest step: {listed(away)}; without weights it is what a "
            "random order of finitely many gradients leaves",
        ),
    ]


def _names(found: "xarray.Dataset") -> list[str]:
    return [str(name) for name in found["algorithm"].values]


def _arrivals(found: "xarray.Dataset", name: str) -> "xarray.DataArray":
    return found["arrivals"].sel(algorithm=name)


def _biased(found: "xarray.Dataset") -> bool:
    """In every draw and with every step further away, towards the weighted minimiser."""
    damped, undamped = (found.sel(algorithm=name) for name in ("FedBuff", "undamped FedBuff"))
    further = damped["late_to_mean"] > 2 * undamped["late_to_mean"]
    towards = damped["late_to_weighted"] < found["apart"]
    return bool((further & towards).all())


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Classification."""
    best = best_steps(found)
    # Steps are constant, so iterates go on to move: the mean over the last quarter of the time.
    accuracy = 100 * best["accuracy"].isel(time=slice(-max(1, best.sizes["time"] // 4), None)).mean("time")
    median = accuracy.median("seed")
    alphas = best["alpha"].values
    dude, fedbuff = (accuracy.sel(algorithm=name) for name in ("DuDe", "FedBuff"))
    ahead = (dude - fedbuff).median("seed")
    same_law = ahead.sel(speeds=[model for model in best["speeds"].values if model != "own means"])
    others = median.drop_sel(algorithm="DuDe")
    first = {
        f"alpha {alpha:g}, {model}": str(others["algorithm"].values[others.sel(alpha=alpha, speeds=model).values.argmax()])
        for alpha in alphas
        for model in best["speeds"].values
        if median.sel(algorithm="DuDe", alpha=alpha, speeds=model) <= others.sel(alpha=alpha, speeds=model).max()
    }
    spread = accuracy.quantile(0.75, "seed") - accuracy.quantile(0.25, "seed")
    rises = median.isel(alpha=-1) - median.isel(alpha=0)
    bias = {
        str(model): float(
            (median.sel(algorithm="DuDe", speeds=model) - median.sel(algorithm="ASGD", speeds=model)).isel(alpha=0)
        )
        for model in best["speeds"].values
    }
    cells = len(alphas) * best.sizes["speeds"]
    return [
        Claim(
            statement="Accuracy rises as the data become more homogeneous, for every method.",
            mark="paper, seen by its reviewers",
            verdict=verdict(bool((rises > 0).all())),
            evidence=f"it does in {int((rises > 0).sum())} of {rises.size} cases; points from alpha {alphas[0]:g} to "
            f"{alphas[-1]:g}, least over the models of time: "
            + listed({name: float(rises.sel(algorithm=name).min()) for name in _names(best)})
            + f"; interquartile range over the draws up to {float(spread.max()):.3g}",
        ),
        Claim(
            statement="DuDe-ASGD outperforms all others in the last quarter of the time.",
            mark="paper (abstract)",
            verdict=verdict(not first),
            evidence=f"first in {cells - len(first)} of {cells} settings"
            + "".join(f"; {setting}: {name} is" for setting, name in first.items())
            + ". Where workers deliver equally often there is no bias to remove, and entries of the table are older than "
            "gradients of ASGD",
        ),
        Claim(
            statement="DuDe-ASGD and FedBuff are equal within two points when all workers have the same law of times.",
            mark="reviewers of the paper",
            verdict=verdict(bool((np.abs(same_law) < 2).all())),
            evidence="DuDe's lead in points: " + _settings(ahead),
        ),
        Claim(
            statement="DuDe-ASGD's lead over plain ASGD is largest when workers have their own speeds.",
            mark="derived by us",
            verdict=verdict(bias["own means"] > max([*(lead for model, lead in bias.items() if model != "own means"), 0.0])),
            evidence=f"lead in points, alpha {alphas[0]:g}: " + listed(bias),
        ),
    ]


def _settings(values: "xarray.DataArray") -> str:
    return "; ".join(
        f"{model}: "
        + listed({f"alpha {alpha:g}": float(values.sel(speeds=model, alpha=alpha)) for alpha in values["alpha"].values})
        for model in values["speeds"].values
    )


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Bound and speed-up."""
    slack = found["right"] / found["left"]
    workers = found["workers"].values
    faster = speed_up(found)
    predicted = predicted_speed_up(workers) / predicted_speed_up(workers[0])
    shortest = found["measured"].isel(seconds=0).values
    shown = listed({f"n = {n}": value for n, value in zip(workers, faster, strict=True)})
    return [
        Claim(
            statement="The mean squared gradient norm stays below 2 gap / (eta T) + 5.4 L eta m sigma^2 / n, for every T.",
            mark="derived by us",
            verdict=verdict(bool((slack > 1).all()) and bool((found["bound"] > found["measured"]).all())),
            evidence=f"bound over mean: at least {float(slack.min()):.3g} for six workers of different speeds, "
            f"{float((found['bound'] / found['measured']).min()):.3g} for equal ones",
        ),
        Claim(
            statement="Speed-up in time is linear in the number of workers, up to the constant 1/2 that ages explain.",
            mark="paper, from a summary",
            verdict=verdict(bool((faster >= workers / 2).all())),
            evidence=f"times faster than n = {workers[0]}: {shown}",
        ),
        Claim(
            statement="It is n^2 / (2 n - 1) within 25 %: entries of the table are up to 2 n - 1 updates old.",
            mark="derived by us from the paper's rate",
            verdict=verdict(bool((np.abs(faster / predicted - 1) < 0.25).all())),
            evidence="measured over predicted: "
            + listed({f"n = {n}": value for n, value in zip(workers, faster / predicted, strict=True)}),
        ),
        Claim(
            statement="In a short time, in which the largest age limits the step, "
            f"{workers[-1]} workers are no better than {workers[(len(workers) - 1) // 2]}.",
            mark="derived by us",
            verdict=verdict(bool(shortest[-1] >= shortest[(len(shortest) - 1) // 2])),
            evidence=f"mean squared gradient norm over {int(found['seconds'][0])} s: "
            + listed({f"n = {n}": value for n, value in zip(workers, shortest, strict=True)}),
        ),
    ]
