"""What the papers and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.koloskova2022.figure3 import floor

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Concurrency, delays, and Lemma 11."""
    off = float(np.abs(found["mean_delay"] / (found["concurrency"] - 1) - 1).max())
    largest = found["largest_delay"].isel(concurrency=-1) / (found["concurrency"].values[-1] - 1)
    paper, queues = (found.isel(example=i) for i in (0, 1))
    simulated, formula = paper["simulated"].values, paper["formula"].values
    other, other_formula = queues["simulated"].values, queues["formula"].values
    known = np.isfinite(found["formula"])
    deviation = float(np.abs(found["simulated"] / found["formula"] - 1).where(known).max())
    return [
        Claim(
            statement="Delays delivered and ages in flight add up to (C - 1) per update, whatever the speeds.",
            mark="derived by us; paper (Remark 5, up to a constant)",
            verdict=verdict(bool(found["conserved"].all())),
            evidence=f"equal as integers in all {found['conserved'].size} schedules; "
            f"mean delay within {100 * off:.2g} % of C - 1",
        ),
        Claim(
            statement="The largest delay may be far larger than the average one.",
            mark="paper",
            verdict=verdict(float(largest.max()) > 10),
            evidence=f"over C - 1 = {found['concurrency'].values[-1] - 1}: "
            + listed({str(m): float(largest.sel(model=m)) for m in found["model"].values}),
        ),
        Claim(
            statement="900 clients at 10 s, 100 at 60 s, C = 10: 15 s per 10 gradients against 42.5 s with minibatches.",
            mark="paper (Lemma 11)",
            verdict=verdict(abs(simulated[0] - 15) < 0.3 and abs(simulated[3] - 42.5) < 1),
            evidence=f"{simulated[0]:.4g} s and {simulated[3]:.4g} s simulated, "
            f"{formula[0]:.4g} and {formula[3]:.5g} by formula",
        ),
        Claim(
            statement="A new client per gradient is never slower than minibatches of clients, also where its jobs queue.",
            mark="paper (Lemma 11) without queues; with queues our question",
            verdict=verdict(
                bool((found["simulated"].sel(scheduler="asynchronous, queues") <= found["simulated"][:, 3]).all())
            ),
            evidence=f"with queues {simulated[1]:.4g} s against {simulated[3]:.4g} s, "
            f"but {other[1]:.4g} s against {other[3]:.4g} s where one of ten clients is slow; without queues "
            f"{other[0]:.3g} s; the lemma needs clients that compute several jobs at once",
        ),
        Claim(
            statement="With queues and exponential times: C g_C / g_(C-1) seconds.",
            mark="derived by us",
            verdict=verdict(deviation < 0.05),
            evidence=f"{simulated[2]:.4g} s and {other[2]:.4g} s simulated, "
            f"{formula[2]:.5g} and {other_formula[2]:.5g} by formula; "
            f"largest deviation of all bars {100 * deviation:.2g} %",
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Delay-adaptive steps under stragglers."""
    mean = found["mean"].median("seed")
    shown = {str(fleet): mean.sel(fleet=fleet) for fleet in found["fleet"].values}
    adaptive = [rule for rule in found["rule"].values if rule[:2] in ("R2", "R3", "R4", "R5")]
    gain = {
        f"{rule[:2]}, {fleet.split(':')[0]}": float(m.sel(rule="R1: constant") / m.sel(rule=rule))
        for fleet, m in shown.items()
        for rule in adaptive
    }
    goal = 2 * found["squared_norm"].isel(gradients=-1).median("seed").max("rule")
    reached = found["squared_norm"].median("seed") <= goal
    seconds = found["time"].median("seed").where(reached).min("gradients").fillna(np.inf)
    faster = {
        f"{rule[:2]}, {fleet.split(':')[0]}": float(
            seconds.sel(rule="minibatch", fleet=fleet) / seconds.sel(rule=rule, fleet=fleet)
        )
        for fleet in shown
        for rule in found["rule"].values
        if rule != "minibatch"
    }
    rates = found["learning_rate"]
    limit = rates.where(
        np.isfinite(found["every_mean"].median("seed"))
        & (found["every_mean"].median("seed") < found["squared_norm"].isel(gradients=0).max())
    )
    limit = limit.max("learning_rate")
    return [
        Claim(
            statement="With tuned steps, every adaptive rule has a smaller mean squared norm than constant steps.",
            mark="paper (Theorems 6 and 8: upper bounds only)",
            verdict=verdict(min(gain.values()) > 1),
            evidence="mean with constant steps over theirs: " + listed(gain),
        ),
        Claim(
            statement="Adaptive rules tolerate larger steps than constant ones.",
            mark="paper (Theorem 8 against 6)",
            verdict=verdict(
                all(
                    float(limit.sel(rule=r, fleet=f)) >= float(limit.sel(rule="R1: constant", fleet=f))
                    for r in adaptive
                    for f in shown
                )
            ),
            evidence="largest step tried that does not diverge: "
            + "; ".join(
                f"{str(r)[:2]} {float(limit.sel(rule=r, fleet=f)):.3g}" for f in shown for r in ("R1: constant", *adaptive)
            ),
        ),
        Claim(
            statement="In seconds, asynchronous SGD is faster than minibatch SGD, with any of the rules.",
            mark="paper",
            verdict=verdict(min(faster.values()) > 1),
            evidence="how many times sooner they have twice the largest last median: " + listed(faster),
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Assignment policies."""
    levels = floor(found).median("seed")
    best = {str(p): float(levels.sel(policy=p).min()) for p in found["policy"].values}
    rates = found["learning_rate"].values
    small, larger = (levels.sel(policy="pure", learning_rate=r) for r in (rates[-1], rates[-2]))
    same = levels.sel(learning_rate=rates[len(rates) // 2])
    wander = found["grad_norm"].isel(version=slice(-found.sizes["version"] // 10, None)).std("version").median("seed")
    noise = {str(p): float(wander.sel(policy=p, learning_rate=rates[len(rates) // 2])) for p in found["policy"].values}
    return [
        Claim(
            statement="Pure asynchronous SGD stalls at a floor that smaller steps do not lower.",
            mark="recalled (shape), derived by us",
            verdict=verdict(float(small) > 0.9 * float(larger) and best["pure"] > 10 * best["shuffled"]),
            evidence=f"norm at the end with the two smallest steps {float(larger):.3g} and {float(small):.3g}; "
            "best floor of each policy: " + listed(best),
        ),
        Claim(
            statement="Shuffled assignment reaches lowest.",
            mark="recalled (shape)",
            verdict=verdict(best["shuffled"] == min(best.values())),
            evidence=f"floor at the step {rates[len(rates) // 2]:g}: "
            + listed({str(p): float(same.sel(policy=p)) for p in found["policy"].values}),
        ),
        Claim(
            statement="Random assignment is noisier than shuffled assignment.",
            mark="recalled (shape)",
            verdict=verdict(noise["random"] > noise["shuffled"]),
            evidence=f"standard deviation over the last tenth, step {rates[len(rates) // 2]:g}: " + listed(noise),
        ),
    ]
