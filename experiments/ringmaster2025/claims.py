"""What the paper, its poster and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

from experiments.claims import Claim, listed, verdict
from experiments.contest import ends, seconds_to
from experiments.ringmaster2025.figure1 import POSTER, POSTER_TIME, best_of
from experiments.ringmaster2025.figure2 import best_threshold, best_tried

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """The quadratic of the poster."""
    shown = best_of(found)
    median = shown["squared_norm"].median("seed")
    last = ends(shown, "squared_norm")
    goal = 1e-3
    first = {
        str(a): float(seconds_to(median.sel(algorithm=a).to_dataset(name="squared_norm"), "squared_norm", goal))
        for a in shown["algorithm"].values
    }
    ringmaster, rennala = POSTER
    reached = float(found["time"][-1]) >= POSTER_TIME[-1]
    ratios = {
        f"{name.split()[0]} at {t} s": float(median.sel(algorithm=name).sel(time=t, method="nearest")) / by_eye
        for name, values in POSTER.items()
        for t, by_eye in zip(POSTER_TIME, values, strict=True)
    }
    added = [name for name in first if name.startswith(("m-Sync", "Naive"))]
    return [
        Claim(
            statement="Ringmaster ASGD is faster than Rennala SGD, and both far faster than delay-adaptive ASGD.",
            mark="poster",
            verdict=verdict(first[ringmaster] < first[rennala] < 0.5 * first["delay-adaptive ASGD"]),
            evidence=f"seconds until the squared norm is {goal:g}: " + listed(first),
        ),
        Claim(
            statement="The two curves are those of the poster, within a factor of 2.",
            mark="poster (by eye), settings of the authors' code",
            verdict=verdict(all(0.5 < ratio < 2 for ratio in ratios.values())) if reached else "not comparable",
            evidence="ours over the poster's: " + listed(ratios),
        ),
        Claim(
            statement="Tuned m-Synchronous SGD and the fastest workers alone are within a factor of 3 of Ringmaster.",
            mark="derived by us: within a logarithm, and optimal, where speeds are fixed",
            verdict=verdict(all(first[name] < 3 * first[ringmaster] for name in added)),
            evidence="times as long as Ringmaster: "
            + listed({name: first[name] / first[ringmaster] for name in added})
            + "; last medians "
            + listed(last),
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Thresholds."""
    paper, tried = found["paper"].median("seed"), best_tried(found).median("seed")
    threshold = float(found.attrs["paper_threshold"])
    at = {
        name: float(line.sel(threshold=threshold, method="nearest")) for name, line in (("paper", paper), ("tried", tried))
    }
    ends_of = {f"R = {int(R)}": float(tried.sel(threshold=R)) for R in found["threshold"].values[[0, -1]]}
    return [
        Claim(
            statement="With the paper's steps its R = sigma^2 / epsilon is within a factor of 2 of the best threshold.",
            mark="paper (optimal up to a constant)",
            verdict=verdict(at["paper"] < 2 * float(paper.min())),
            evidence=f"{at['paper']:.3g} s against {float(paper.min()):.3g} s at R = {best_threshold(paper)}",
        ),
        Claim(
            statement="With tuned steps, too.",
            mark="derived by us",
            verdict=verdict(at["tried"] < 2 * float(tried.min())),
            evidence=f"{at['tried']:.3g} s against {float(tried.min()):.3g} s at R = {best_threshold(tried)}; "
            + listed(ends_of, " s"),
        ),
        Claim(
            statement="The fastest worker alone (R = 1) and asynchronous SGD (R large) are slower than the best threshold.",
            mark="paper",
            verdict=verdict(min(ends_of.values()) > 1.1 * float(tried.min())),
            evidence=f"tuned steps: {listed(ends_of, ' s')}, best {float(tried.min()):.3g} s",
        ),
    ]
