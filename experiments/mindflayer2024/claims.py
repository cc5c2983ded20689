"""What the poster and we say about the figures, measured on their results."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.mindflayer2024.figure1 import LOOKS
from experiments.mindflayer2024.figure2 import EXAMPLE, POSTER

if TYPE_CHECKING:
    import xarray

MINDFLAYER = ("MindFlayer, t = median", "MindFlayer, best t")
RENNALA, RINGMASTER, ASGD = "Rennala, S = 1", "Ringmaster, R = 1", "delay-adaptive ASGD"


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Heavy tails."""
    square = found["grad_norm"].fillna(np.inf).astype(float) ** 2
    last = square.isel(time=-1).median("seed")
    tenth = square.isel(time=found.sizes["time"] // 10).median("seed")
    end = {tail: {a: float(last.sel(algorithm=a, tail=tail)) for a in LOOKS} for tail in (1.0, 10.0, 100.0)}
    early = {a: float(tenth.sel(algorithm=a, tail=100.0)) for a in LOOKS}
    apart = float(np.abs(np.log(square.sel(algorithm=RENNALA) / square.sel(algorithm=RINGMASTER))).max())
    at_100 = square.isel(time=-1).sel(algorithm=RENNALA, tail=100.0).values
    patient = [RENNALA, RINGMASTER, ASGD]
    start, norm = float(square.isel(time=0).max()), float(found["grad_norm"].isel(time=0).max())
    larger = ["Rennala, S = 5", "Ringmaster, R = 5"]
    return [
        Claim(
            statement="s = 1: all methods reach the same level, about 1e-7.",
            mark="poster, by eye",
            verdict=verdict(max(end[1.0].values()) < 3 * min(end[1.0].values()) and _near(end[1.0].values(), 1e-7)),
            evidence="squared gradient norm in the end: " + listed(end[1.0]),
        ),
        Claim(
            statement="s = 10: Ringmaster and Rennala coincide, at about 7e-7.",
            mark="poster, by eye",
            verdict=verdict(apart < 1e-6 and _near([end[10.0][RENNALA]], 7e-7)),
            evidence=f"{end[10.0][RENNALA]:.2g}; with R = S = 1 they are the same method, bit for bit (derived)",
        ),
        Claim(
            statement="s = 10: asynchronous SGD stalls at about 0.5.",
            mark="poster, by eye",
            verdict=verdict(_near([end[10.0][ASGD]], 0.5) and end[10.0][ASGD] > 1e3 * end[10.0][RENNALA]),
            evidence=f"{end[10.0][ASGD]:.2g}",
        ),
        Claim(
            statement="s = 100: Rennala, Ringmaster and asynchronous SGD stall, both forms of MindFlayer go on.",
            mark="poster, by eye",
            verdict=verdict(
                all(end[100.0][a] > 0.9 * early[a] for a in patient)
                and all(end[100.0][a] < 0.1 * early[a] and end[100.0][a] < 3 * end[1.0][a] for a in MINDFLAYER)
            ),
            evidence="after a tenth of the time and in the end: "
            + ", ".join(f"{a} {early[a]:.2g} and {end[100.0][a]:.2g}" for a in (*MINDFLAYER, *patient)),
        ),
        Claim(
            statement="s = 100: asynchronous SGD stalls at about 50.",
            mark="poster, by eye",
            verdict=verdict(_near([end[100.0][ASGD]], 50)),
            evidence=f"{end[100.0][ASGD]:.2g}",
        ),
        Claim(
            statement="s = 100: Rennala and Ringmaster stall at about 4.",
            mark="poster, by eye",
            verdict=verdict(_near([end[100.0][RENNALA]], 4)),
            evidence=f"{at_100.min():.1g} to {at_100.max():.1g}, median {end[100.0][RENNALA]:.2g}: it hangs on when all"
            " workers are stuck at once, which happens at one update in 50 (derived) and is luck",
        ),
        Claim(
            statement="The poster shows the square of the norm, if d = 1729 as in the same authors' Ringmaster paper.",
            mark="derived by us",
            verdict=verdict(norm < 50 < start),
            evidence=f"runs start at the norm {norm:.3g} and its square {start:.3g}; asynchronous SGD ends at 50 there",
        ),
        Claim(
            statement="With batches or thresholds of one gradient per worker both would stall at s = 10 already.",
            mark="derived by us",
            verdict=verdict(min(end[10.0][a] for a in larger) > 100 * end[10.0][RENNALA]),
            evidence="in the end: " + listed({a: end[10.0][a] for a in (*larger, RENNALA)}),
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Seconds per useful gradient."""
    mean = found["seconds"].mean("seed")
    example = {a: float(found["formula"].sel(algorithm=a, tail=EXAMPLE)) for a in POSTER}
    simulated = {a: float(mean.sel(algorithm=a, tail=EXAMPLE)) for a in POSTER}
    off = np.abs(mean / found["formula"] - 1).max("tail")
    tail = found["tail"]
    runs = found.sizes["seed"] * float(found.attrs["gradients_per_schedule"])
    error = np.sqrt((np.exp(tail**2) - 1) * np.exp(tail**2) / runs)
    misses = float((np.abs(mean - found["formula"]).sel(algorithm="Rennala") / error).max())
    cut, wait = (found["formula"].sel(algorithm=a) for a in ("MindFlayer, t = median", "Rennala"))
    pays = (mean.sel(algorithm="MindFlayer, t = median") < mean.sel(algorithm="Rennala")).values
    best = float((mean.sel(algorithm="MindFlayer, best t") / mean.sel(algorithm="Rennala")).max())
    return [
        Claim(
            statement="One device: Rennala 23.8 s per useful gradient, MindFlayer with t = median 3.3 s.",
            mark="poster; that it is tau = 1, lognormal(0, 2.5) is derived by us",
            verdict=verdict(all(abs(example[a] - POSTER[a]) < 0.051 for a in POSTER)),
            evidence="formula: " + listed(example) + "; simulated: " + listed(simulated),
        ),
        Claim(
            statement="Simulated schedules of MindFlayer cost what (tau + E min(eta, t)) / p says, within 2 %.",
            mark="derived by us",
            verdict=verdict(max(float(off.sel(algorithm=a)) for a in MINDFLAYER) < 0.02),
            evidence="largest deviation: " + listed({a: 100 * float(off.sel(algorithm=a)) for a in MINDFLAYER}, " %"),
        ),
        Claim(
            statement="Rennala's cost what tau + E eta says, within four standard errors.",
            mark="derived by us",
            verdict=verdict(misses < 4),
            evidence=f"at most {misses:.2g} standard errors off; {100 * float(off.sel(algorithm='Rennala')):.2g} % where the"
            " tail is heavy",
        ),
        Claim(
            statement="Cutting at the median pays for heavy tails only: it loses below, and wins above, one tail.",
            mark="derived by us",
            verdict=verdict(bool((np.diff(pays.astype(int)) >= 0).all()) and not pays[0] and bool(pays[-1])),
            evidence=f"wins from s = {float(tail[int(np.argmax(pays))]):g} on; by the formula at s = {float(tail[0]):g}"
            f" {float(cut[0]):.3g} against {float(wait[0]):.3g} s, at s = {float(tail[-1]):g} {float(cut[-1]):.3g} against"
            f" {float(wait[-1]):.3g} s",
        ),
        Claim(
            statement="Cut at the best t, MindFlayer is never slower than Rennala.",
            mark="derived by us",
            verdict=verdict(best < 1.001),
            evidence=f"its seconds over Rennala's are at most {best:.5g}",
        ),
    ]


def _near(values: Iterable[float], level: float) -> bool:
    """The same order of magnitude: read by eye on a logarithmic axis."""
    return all(level / 5 < value < 5 * level for value in values)
