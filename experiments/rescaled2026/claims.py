"""What the paper, its poster and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.contest import ends, seconds_to
from experiments.rescaled2026.figure1 import POSTER, POSTER_TIME, UNIFORM, WEIGHTED
from experiments.rescaled2026.figure3 import UNIFORM as MIDDLE
from experiments.rescaled2026.figure3 import WEIGHTED as PULLED
from experiments.rescaled2026.figure3 import late
from jasgd.results import best

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """One number, two workers."""
    x = found["x"]
    end = {str(name): float(x.sel(algorithm=name).isel(time=slice(-30, None)).mean()) for name in found["algorithm"].values}
    off = {
        name: float(np.abs(x.sel(algorithm=name, time=list(POSTER_TIME)) - np.array(by_eye)).max())
        for name, by_eye in POSTER.items()
    }
    balanced = {name: value for name, value in end.items() if name != "vanilla ASGD"}
    return [
        Claim(
            statement="Vanilla ASGD settles at the minimiser weighted by frequency, 0.5.",
            mark="poster (by eye about 0.45), derived by us",
            verdict=verdict(abs(end["vanilla ASGD"] - WEIGHTED) < 0.02),
            evidence=f"{end['vanilla ASGD']:.3f} on our instance",
        ),
        Claim(
            statement="Rescaled ASGD reaches the minimiser of the average, -2/3, at about 270 s.",
            mark="poster (by eye)",
            verdict=verdict(abs(float(x.sel(algorithm="Rescaled ASGD", time=270)) - UNIFORM) < 0.05),
            evidence=f"{float(x.sel(algorithm='Rescaled ASGD', time=270)):.3f} at 270 s",
        ),
        Claim(
            statement="Curves as on the poster, within 0.1.",
            mark="poster (by eye); two steps were fitted",
            verdict=verdict(max(off.values()) < 0.1),
            evidence="largest deviation " + listed(off),
        ),
        Claim(
            statement="DuDe, Malenia and Ringleader go to the minimiser of the average, too.",
            mark="paper (abstract), derived by us",
            verdict=verdict(all(abs(value - UNIFORM) < 0.05 for value in balanced.values())),
            evidence="mean of the last 30 s: " + listed(balanced),
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Classification."""
    shown = best(found, over="learning_rate", metric="loss")
    last, median = ends(shown, "loss"), shown["loss"].median("seed").to_dataset()
    # The poster compares times to 0.1 after a start at 2.3.
    first = {str(a): float(seconds_to(median.sel(algorithm=a), "loss", 0.1)) for a in shown["algorithm"].values}
    worse = last["vanilla ASGD"] > last["Rescaled ASGD"]
    rescaled, others = first["Rescaled ASGD"], (first["Ringleader ASGD"], first["Malenia SGD"])
    return [
        Claim(
            statement="Rescaled ASGD is the first at a loss of 0.1, Ringleader ASGD the second.",
            mark="poster (MNIST, by eye: 1.0e4 s, 2.85e4 s, Malenia not by 3e4 s)",
            verdict=verdict(rescaled < others[0] < others[1]),
            evidence="seconds: " + listed(first),
        ),
        Claim(
            statement="Rescaled ASGD ends lower than Ringleader ASGD, and that lower than Malenia SGD.",
            mark="poster (MNIST, by eye: 0.029, 0.096, 0.12)",
            verdict=verdict(last["Rescaled ASGD"] < last["Ringleader ASGD"] < last["Malenia SGD"]),
            evidence="median of the last losses: " + listed(last),
        ),
        Claim(
            statement="Without rescaling asynchronous SGD ends higher.",
            mark="paper (abstract)",
            verdict=verdict(worse),
            evidence=f"{last['vanilla ASGD']:.3g} against {last['Rescaled ASGD']:.3g}, each with its best step"
            + ("" if worse else "; a network that fits all clients at once is a minimiser for every weighting of them"),
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Random durations."""
    level = late(found).mean("version").median("seed")
    wander = late(found).std("version").median("seed")
    forms = [str(form) for form in found["form"].values if form != "vanilla"]
    off = {form: float(np.abs(level.sel(form=form) - MIDDLE).max()) for form in forms}
    vanilla = float(np.abs(level.sel(form="vanilla") - PULLED).max())
    small, large = found["deviation"][found.sizes["deviation"] // 2], found["deviation"][-1]
    little, most = (
        {str(form): float(wander.sel(form=form, deviation=s)) for form in found["form"].values} for s in (small, large)
    )
    return [
        Claim(
            statement="All three forms end at the minimiser of the average, whatever the durations.",
            mark="derived by us",
            verdict=verdict(max(off.values()) < 0.1 * abs(PULLED - MIDDLE)),
            evidence="largest distance over the deviations: "
            + listed(off)
            + f"; vanilla ends {abs(PULLED - MIDDLE):.3g} away",
        ),
        Claim(
            statement="Vanilla ASGD ends at the minimiser weighted by frequency.",
            mark="derived by us",
            verdict=verdict(vanilla < 0.1 * abs(PULLED - MIDDLE)),
            evidence=f"largest distance from it {vanilla:.3g}",
        ),
        Claim(
            statement="Weights by duration and by delay wander less than by mean time where durations vary little, more "
            "where they vary much.",
            mark="derived by us (tiling) for little; our conjecture for much",
            verdict=verdict(
                all(little[form] < little["by mean time"] and most[form] > most["by mean time"] for form in forms[1:])
            ),
            evidence=f"standard deviation with s = {float(small):g}: {listed(little)}; "
            f"with s = {float(large):g}: {listed(most)}",
        ),
    ]
