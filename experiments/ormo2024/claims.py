"""What the paper and we say about the figures, measured on their results."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.ormo2024 import classification
from experiments.ormo2024.figure1 import known
from experiments.ormo2024.figure2 import SPEEDS
from experiments.ormo2024.figure2 import tuned as best_steps
from experiments.ormo2024.figure3 import SYNCHRONOUS

if TYPE_CHECKING:
    import xarray

BETTER = "paper (public summary)"


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """The largest stable step."""
    tolerance = 0.005
    workers = [int(k) for k in found["workers"].values]
    limit = {(str(r), k): float(found["limit"].sel(rule=r, workers=k)) for r in found["rule"].values for k in workers}
    error = {key: abs(value / known(*key) - 1) for key, value in limit.items() if np.isfinite(known(*key))}
    worst = max(error, key=lambda key: error[key])
    gain = {k: limit["OrMo", k] / limit["naive momentum", k] for k in workers}
    expected = {k: value for k, value in {4: 5.7, 8: 5.4, 16: 5.0}.items() if k in workers}
    catch_up = {k: limit["OrMo", k] / limit["vanilla step", k] - 1 for k in workers if k > 1}
    many = workers[-1]
    asymptote = limit["ASGD", many] * (2 * many - 1) / np.pi
    return [
        Claim(
            statement=f"The simulated limits are those of the linear map over K arrivals, within {100 * tolerance:g} %.",
            mark="derived by us",
            verdict=verdict(error[worst] < tolerance),
            evidence=f"{len(error)} limits, largest deviation {100 * error[worst]:.2g} % ({worst[0]}, K = {worst[1]})",
        ),
        Claim(
            statement="OrMo allows 5.7, 5.4 and 5.0 times the step of naive momentum for K = 4, 8 and 16.",
            mark="derived by us",
            verdict=verdict(all(abs(gain[k] / value - 1) < 0.02 for k, value in expected.items())),
            evidence="measured: " + ", ".join(f"K = {k}: {gain[k]:.3g}" for k in workers),
        ),
        Claim(
            statement="Catching up allows larger steps than the vanilla SGD step, for every K above 1.",
            mark="derived by us",
            verdict=verdict(min(catch_up.values()) > 0),
            evidence="larger by " + ", ".join(f"{100 * value:.0f} % (K = {k})" for k, value in catch_up.items()),
        ),
        Claim(
            statement="The limit of ASGD approaches pi / (2K - 1) from below.",
            mark="derived by us",
            verdict=verdict(all(limit["ASGD", k] < np.pi / (2 * k - 1) for k in workers) and asymptote > 0.97),
            evidence=f"{asymptote:.3g} of it for K = {many}",
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """The race on the quadratic."""
    best = {speeds: best_steps(found, speeds) for speeds in SPEEDS}
    ends = {speeds: _by_method(best[speeds].isel(version=-1)) for speeds in best}
    steps = {speeds: _by_method(best[speeds]["learning_rate"]) for speeds in best}
    rivals = {f"{name}, {speeds}": step[name] for speeds, step in steps.items() for name in ("OrMo", "SMEGA2")}
    naive = {speeds: end["naive momentum"] / end["ASGD"] for speeds, end in ends.items()}
    at_naive = {
        speeds: found["gap"]
        .sel(speeds=speeds, learning_rate=step["naive momentum"])
        .isel(version=-1)
        .drop_sel(algorithm="ASGD")
        for speeds, step in steps.items()
    }
    spread = {speeds: float(gap.max() / gap.min()) for speeds, gap in at_naive.items()}
    return [
        _lower("OrMo", ["ASGD", "naive momentum", "shifted momentum"], ends, "gap", BETTER),
        _lower("OrMo", ["SMEGA2"], ends, "gap", BETTER, f"; their best steps, which decide: {listed(rivals)}"),
        Claim(
            statement="Naive momentum can impede convergence: in some setting it ends higher than plain ASGD.",
            mark=BETTER,
            verdict=verdict(max(naive.values()) > 1),
            evidence="its gap over that of ASGD: " + listed(naive),
        ),
        Claim(
            statement="With the best step of naive momentum all rules with momentum end within 10 % of each other: "
            "what they gain is the larger steps that they bear.",
            mark="derived by us",
            verdict=verdict(max(spread.values()) < 1.1),
            evidence="largest gap over smallest there: "
            + listed(spread)
            + "; best steps: "
            + "; ".join(f"{speeds}: {listed(step)}" for speeds, step in steps.items()),
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Classification in four settings."""
    methods = [str(name) for name in found["algorithm"].values if name != SYNCHRONOUS]
    best = classification.tuned(found)
    losses = {name: _by_method(one["last"].sel(algorithm=methods)) for name, one in _settings(best).items()}
    naive = {name: loss["naive momentum"] / loss["ASGD"] for name, loss in losses.items()}
    others = [name for name in methods if name not in ("OrMo", "OrMo-DA", "SMEGA2")]
    sooner = _sooner(best.isel(workers=0))
    of_ormo = [_lower(name, others, losses, "loss", BETTER) for name in ("OrMo", "OrMo-DA") if name in methods]
    equal, heterogeneous = (sooner[speeds] for speeds in classification.SPEEDS)
    return [
        *of_ormo,
        *([_against("SMEGA2", best, "; then OrMo's momentum still holds the larger ones")] if "SMEGA2" in methods else []),
        Claim(
            statement="Naive momentum can impede convergence: in some setting it ends higher than plain ASGD.",
            mark=BETTER,
            verdict=verdict(max(naive.values()) > 1),
            evidence="its loss over that of ASGD: " + listed(naive),
        ),
        Claim(
            statement="In seconds, OrMo gains most on synchronous momentum SGD when speeds are heterogeneous.",
            mark=BETTER,
            verdict=verdict(heterogeneous > max(equal, 1)),
            evidence=f"how many times sooner it reaches the higher of the two last losses: {listed(sooner)}",
        ),
        Claim(
            statement="With equal speeds OrMo is faster than synchronous momentum SGD, too.",
            mark="our question",
            verdict=verdict(equal > 1),
            evidence=f"{equal:.3g} times as fast; rounds wait for times that vary by 10 % only, and have no delay",
        ),
        _tuned_inside(found.sel(algorithm=methods)),
        _accuracies(best.sel(algorithm=methods)),
    ]


def figure4(found: "xarray.Dataset") -> list[Claim]:
    """The ablation."""
    best = classification.tuned(found)
    losses = {name: _by_method(one["last"]) for name, one in _settings(best).items()}
    seeds = _against("vanilla step", best)
    return [_lower("OrMo", ["vanilla step"], losses, "loss", BETTER), seeds, _tuned_inside(found)]


def _by_method(values: Any) -> dict[str, float]:
    return {str(name): float(values.sel(algorithm=name)) for name in values["algorithm"].values}


def _settings(best: Any) -> dict[str, Any]:
    """The four settings by name."""
    pairs = [(k, speeds) for k in best["workers"].values for speeds in best["speeds"].values]
    return {f"K = {k}, {speeds}": best.sel(workers=k, speeds=speeds) for k, speeds in pairs}


def _lower(
    method: str, others: list[str], ends: Mapping[str, Mapping[str, float]], what: str, mark: str, why: str = ""
) -> Claim:
    """That a method ends lower than each of the others, in all settings, all with their best steps."""
    return Claim(
        statement=f"{method} ends lower than {', '.join(others)}, in every setting, each with its best step.",
        mark=mark,
        verdict=verdict(all(end[method] < end[other] for end in ends.values() for other in others)),
        evidence=f"last {what}: "
        + "; ".join(f"{name}: {listed({one: end[one] for one in (method, *others)})}" for name, end in ends.items())
        + why,
    )


def _against(rival: str, best: "xarray.Dataset", why: str = "") -> Claim:
    """A close rival, with regard to the spread of the seeds; in the end, and before the steps fall."""
    loss = best["loss"].sel(algorithm=["OrMo", rival]).fillna(np.inf)
    end, middle = loss.isel(epoch=-1), loss.isel(epoch=loss.sizes["epoch"] // 2)
    apart = end.sel(algorithm="OrMo").max("seed") < end.sel(algorithm=rival).min("seed")
    ratio = [{k: m[rival] / m["OrMo"] for k, m in _medians(at).items()} for at in (end, middle)]
    return Claim(
        statement=f"OrMo ends lower than {rival}, in every setting and whatever the seed.",
        mark=f"{BETTER}, tightened by us",
        verdict=verdict(bool(apart.all())),
        evidence=f"its median loss over OrMo's: {listed(ratio[0])}; before the steps fall: {listed(ratio[1])}{why}",
    )


def _medians(values: "xarray.DataArray") -> dict[str, dict[str, float]]:
    """Of all seeds, by setting and method."""
    return {name: _by_method(one) for name, one in _settings(values.median("seed")).items()}


def _sooner(best: "xarray.Dataset") -> dict[str, float]:
    """For both speeds, the time that synchronous SGD takes to a common loss over the time that OrMo takes."""
    found = {}
    for speeds in classification.SPEEDS:
        one = best.sel(speeds=speeds, algorithm=["OrMo", SYNCHRONOUS])
        loss, time = one["loss"].fillna(np.inf).median("seed"), one["time"].median("seed")
        reached = time.where(loss <= loss.isel(epoch=-1).max()).min("epoch")
        found[speeds] = float(reached.sel(algorithm=SYNCHRONOUS) / reached.sel(algorithm="OrMo"))
    return found


def _tuned_inside(found: "xarray.Dataset") -> Claim:
    """That no method would want a step outside of those tried."""
    border = []
    for name in found["algorithm"].values:
        tried = found.sel(algorithm=name)["loss"].isel(epoch=0).notnull().any(("workers", "speeds", "seed"))
        steps = found["learning_rate"].values[tried.values]
        best = classification.tuned(found)["learning_rate"].sel(algorithm=name)
        if not bool(((best > steps[0]) & (best < steps[-1])).all()):
            border.append(str(name))
    return Claim(
        statement="Every method's best step lies inside the steps that were tried.",
        mark="our check",
        verdict=verdict(not border),
        evidence=f"at the border: {', '.join(border) or 'none'}",
    )


def _accuracies(best: "xarray.Dataset") -> Claim:
    """That the lowest loss comes with the best test accuracy."""
    by_setting = _medians(best["test_accuracy"].isel(epoch=-1))
    return Claim(
        statement="OrMo's test accuracy is at least that of ASGD and of naive momentum, in every setting.",
        mark=BETTER,
        verdict=verdict(all(a["OrMo"] >= max(a["ASGD"], a["naive momentum"]) for a in by_setting.values())),
        evidence="; ".join(f"{name}: {listed(a)}" for name, a in by_setting.items()),
    )
