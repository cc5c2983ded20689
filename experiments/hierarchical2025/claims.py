"""What the paper, its software and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.hierarchical2025.figure1 import best_of_each, best_so_far
from experiments.hierarchical2025.figure2 import SMALLEST
from experiments.hierarchical2025.figure4 import gap_at

if TYPE_CHECKING:
    import xarray

_TIE = 0.02  # of log10: five per cent of the mean loss


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Tuning eight methods."""
    best = best_so_far(found).isel(evaluation=-1)
    lowest = float(best.min())
    medians = {str(name): float(best.sel(backend=name).median()) for name in best["backend"].values}
    near = {str(name): float((best.sel(backend=name) <= lowest + _TIE).mean()) for name in best["backend"].values}
    methods = best_of_each(found)
    ties = [name for name, value in methods.items() if value <= lowest + _TIE]
    second = list(methods.values())[1] if len(methods) > 1 else lowest
    next_ties = [name for name, value in methods.items() if second <= value <= second + _TIE]
    winners = found["algorithm"].isel(evaluation=found["value"].argmin("evaluation")).sel(backend="gp")
    of_gp, chosen = best.sel(backend="gp"), np.unique(winners).tolist()
    return [
        Claim(
            statement="With the same budget the Gaussian process ends lower than random search and than a grid.",
            mark="derived by us",
            verdict=verdict(medians["gp"] < min(medians["random"], medians["grid"])),
            evidence="median of the smallest value: " + listed(medians),
        ),
        Claim(
            statement="It comes within 0.02 of the best value of all searches, whatever the seed.",
            mark="derived by us",
            verdict=verdict(near["gp"] == 1),
            evidence=f"best {lowest:.3f}; share of the seeds within {_TIE}: {listed(near)}; the Gaussian process ends "
            f"between {float(of_gp.min()):.3f} and {float(of_gp.max()):.3f}, in {' or '.join(map(str, chosen))}; "
            f"of {found.sizes['evaluation']} evaluations {2 * len(methods)} are the first samples, two of each method",
        ),
        Claim(
            statement="Several methods tie at the floor of the noise, so values are to be compared, not the methods chosen.",
            mark="derived by us",
            verdict=verdict(len(ties) > 1),
            evidence=f"within {_TIE} of the best: {', '.join(ties)}; of the second best: {', '.join(next_ties)}; "
            f"best of each: {listed(methods)}",
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """The network function."""
    last = found["gap"].isel(evaluation=-1)
    initial = found["gap"].sel(evaluation=int(found.attrs["initial"]))
    gaps = {str(name): float(last.sel(backend=name).dropna("seed").median()) for name in last["backend"].values}
    starts = {str(name): float(initial.sel(backend=name).dropna("seed").median()) for name in last["backend"].values}
    smt = found.attrs["smt"] == "used"
    return [
        Claim(
            statement="The smallest value is -155.5.",
            mark="derived by us from SMT's code",
            verdict=verdict(float(found["smallest"]) == SMALLEST),
            evidence=f"all ends of ranges, whole numbers and words enumerated: {float(found['smallest']):g}",
        ),
        Claim(
            statement="On the embedding a Gaussian process leaves less than a tenth of the gap that random points do.",
            mark="derived by us",
            verdict=verdict(gaps["gp"] < 0.1 * starts["gp"] and gaps["gp"] < 0.1 * gaps["random"]),
            evidence=f"median gap after {found.sizes['evaluation']} evaluations: {listed(gaps)}; "
            f"after the first {found.attrs['initial']}: {listed(starts)}",
        ),
        Claim(
            statement="It does no worse than the search of the paper's software, whose distances it has.",
            mark="derived by us",
            verdict=verdict(gaps["gp"] <= gaps["smt"]) if smt else "not comparable",
            evidence=f"median gap: ours {gaps['gp']:.3g}, SMT's {gaps['smt']:.3g}" if smt else "SMT was not installed",
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """The graph of the space."""
    meta, decreed = found["meta"].values, found["decreed"].values
    agree, samples = int(found["agree"]), int(found["samples"])
    return [
        Claim(
            statement="A variable exists if and only if it can be reached through the values that are chosen.",
            mark="code of the paper's software",
            verdict=verdict(agree == samples),
            evidence=f"{agree} of {samples} samples",
        ),
        Claim(
            statement="Variables that are both meta and decreed are needed, which the core of SMT 2.15 does not take.",
            mark="SMT's code",
            verdict=verdict(bool((meta & decreed).any())),
            evidence=f"{(~meta & ~decreed).sum()} neutral, {meta.sum()} meta, {decreed.sum()} decreed; both: "
            + ", ".join(map(str, found["variable"].values[meta & decreed])),
        ),
    ]


def figure4(found: "xarray.Dataset") -> list[Claim]:
    """Several evaluators."""
    goal = 0.01
    counts = [int(count) for count in found["evaluators"].values]
    gap = np.minimum.accumulate(found["value"].values, axis=2) + 3.0
    reached = gap <= goal
    first = np.where(reached.any(axis=2), reached.argmax(axis=2), -1)
    times = np.where(
        first >= 0, np.take_along_axis(found["time"].values, np.maximum(first, 0)[..., None], 2)[..., 0], np.inf
    )
    needed = dict(zip(map(str, counts), np.median(np.where(first >= 0, first + 1.0, np.inf), axis=1).tolist(), strict=True))
    seconds = dict(zip(map(str, counts), np.median(times, axis=1).tolist(), strict=True))
    end = np.array([float(found["time"].sel(evaluators=counts[-1]).max("evaluation").min())])
    last = dict(zip(map(str, counts), np.median(gap[:, :, -1], axis=1).tolist(), strict=True))
    at_end = {str(count): float(gap_at(found, end).sel(evaluators=count).median()) for count in counts}
    return [
        Claim(
            statement="At equal times several evaluators are ahead of one.",
            mark="derived by us",
            verdict=verdict(max(list(at_end.values())[1:]) < at_end[str(counts[0])]),
            evidence=f"median gap at time {float(end[0]):.3g}, when the first search of {counts[-1]} ends: {listed(at_end)}",
        ),
        Claim(
            statement="More evaluators find the optimum sooner, though each proposal knows less.",
            mark="derived by us",
            verdict=verdict(list(seconds.values()) == sorted(set(seconds.values()), reverse=True)),
            evidence=f"median time to a gap of {goal}, in mean evaluations: {listed(seconds)}",
        ),
        Claim(
            statement="Asynchrony costs at most half as many evaluations again.",
            mark="derived by us",
            verdict=verdict(max(needed.values()) <= 1.5 * needed[str(counts[0])]),
            evidence=f"median evaluations to a gap of {goal}: {listed(needed)}; "
            f"median gap after {found.sizes['evaluation']}: {listed(last)}",
        ),
    ]
