"""What the poster and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.ata2025.figure1 import POSTER, SHOWN, over_fixed, poster
from experiments.ata2025.settings import ALLOCATIONS
from experiments.claims import Claim, listed, verdict

if TYPE_CHECKING:
    import xarray

LEARN_NOTHING, LEARNERS = ("FTA", "GTA", "UTA"), ("ATA", "ATA-E")
ORDER = {"run": ("GTA", "FTA", "ATA-E", "ATA", "UTA"), "work": ("FTA", "ATA-E", "ATA", "GTA", "UTA")}  # on the poster
SPREAD = 0.2  # the poster's smallest bars are read to a tenth, so ratios of two bars to a fifth


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Cost of the allocations."""
    return [
        *[_order(found, name) for name in POSTER],
        *[_ratios(found, name) for name in POSTER],
        _rounds_of_the_poster(found),
        _learning(found),
    ]


def _order(found: "xarray.Dataset", name: str) -> Claim:
    total = over_fixed(found, name)
    return Claim(
        statement=f"Total {SHOWN[name]}: {' < '.join(ORDER[name])}.",
        mark="poster, by eye",
        verdict=verdict(tuple(sorted(total, key=total.__getitem__)) == ORDER[name]),
        evidence="over FTA's: " + listed(total),
    )


def _ratios(found: "xarray.Dataset", name: str) -> Claim:
    ours, theirs = over_fixed(found, name), poster(name)
    return Claim(
        statement=f"Total {SHOWN[name]} over that of FTA: {listed(theirs)}; within 20 %.",
        mark="poster, by eye",
        verdict=verdict(all(abs(ours[a] / theirs[a] - 1) < SPREAD for a in ALLOCATIONS)),
        evidence="ours over theirs: " + listed({a: ours[a] / theirs[a] for a in ALLOCATIONS}),
    )


def _rounds_of_the_poster(found: "xarray.Dataset") -> Claim:
    """Totals of allocations that learn nothing grow in proportion to the rounds."""
    rounds = int(found["round"][-1])
    total = {name: found[name].isel(round=-1).median("seed") for name in POSTER}
    implied = {
        f"{a} {SHOWN[name]}": POSTER[name][a] / float(total[name].sel(allocation=a)) * rounds
        for name in POSTER
        for a in LEARN_NOTHING
    }
    return Claim(
        statement="The poster's totals are those of 7.5e5 rounds, not of the 3e6 stated with them.",
        mark="derived by us",
        verdict=verdict(all(abs(value / 7.5e5 - 1) < SPREAD for value in implied.values())),
        evidence="rounds that would take as long: " + listed(implied),
    )


def _learning(found: "xarray.Dataset") -> Claim:
    """Seconds per round in the first and the last tenth, over FTA's."""
    tenth = max(1, found.sizes["round"] // 10)
    run = found["run"].median("seed")
    first, last = run.isel(round=tenth), run.isel(round=-1) - run.isel(round=-1 - tenth)
    per_round = {
        a: tuple(float(part.sel(allocation=a) / part.sel(allocation="FTA")) for part in (first, last)) for a in LEARNERS
    }
    uniform = float(first.sel(allocation="UTA") / first.sel(allocation="FTA"))
    return Claim(
        statement="In so many rounds ATA and ATA-E learn all there is: the last ones take as long as FTA's, to 20 %.",
        mark="our conjecture",
        verdict=verdict(all(last < 1 + SPREAD < first for first, last in per_round.values())),
        evidence="time per round over FTA's, in the first and last tenth: "
        + ", ".join(f"{a} {first:.3g} and {last:.3g}" for a, (first, last) in per_round.items())
        + f"; UTA {uniform:.3g}. The margins of the public code are so wide that learning is not over",
    )


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Loss against cost."""
    gap = found["gap"].astype(float)
    curves = gap.median("seed")
    apart = float((curves.max("allocation") / curves.min("allocation") - 1).max())
    last = found.isel(version=-1).median("seed")
    end = {name: {a: float(last[name].sel(allocation=a)) for a in ALLOCATIONS} for name in POSTER}
    early = _cost_to(found, "work", 0.01 * float(curves.isel(version=0).max()))
    run, work, first = ({a: cost[a] / cost["FTA"] for a in ALLOCATIONS} for cost in (end["run"], end["work"], early))
    return [
        Claim(
            statement="After as many rounds all allocations have the same loss, within 5 %.",
            mark="derived by us",
            verdict=verdict(apart < 0.05),
            evidence=f"medians differ by at most {100 * apart:.2g} %",
        ),
        Claim(
            statement="In run time the greedy allocation is the fastest, the uniform one the slowest.",
            mark="poster, by eye (totals)",
            verdict=verdict(min(run, key=run.__getitem__) == "GTA" and max(run, key=run.__getitem__) == "UTA"),
            evidence=f"run time to the last loss over FTA's: {listed(run)}",
        ),
        Claim(
            statement="ATA and ATA-E reach the last loss with fewer worker-seconds than the greedy allocation.",
            mark="poster, by eye (totals)",
            verdict=verdict(all(work[a] < work["GTA"] for a in LEARNERS)),
            evidence=f"worker time to the last loss over FTA's: {listed(work)}",
        ),
        Claim(
            statement="They do so early already, at a hundredth of the first gap.",
            mark="our conjecture",
            verdict=verdict(all(first[a] < first["GTA"] for a in LEARNERS)),
            evidence=f"worker time to it over FTA's: {listed(first)}; with scores still zero they deal out tasks like UTA",
        ),
    ]


def _cost_to(found: "xarray.Dataset", name: str, goal: float) -> dict[str, float]:
    """Median over the seeds of the cost at which the gap is first at most ``goal``, infinite if it never is."""
    spent = found[name].where(found["gap"] <= goal).min("version").fillna(np.inf).median("seed")
    return {a: float(spent.sel(allocation=a)) for a in ALLOCATIONS}
