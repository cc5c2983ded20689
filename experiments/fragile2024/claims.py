"""What the paper and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.fragile2024.settings import MINIBATCH, best_batch, last, speedup

if TYPE_CHECKING:
    import xarray

# How many times sooner Fragile SGD must have what minibatch SGD has in the end, by our reading of the paper's words.
WORDS = {
    0.1: ("nearly equal (factor of at most 2)", 0.5, 2.0),
    1.0: ("Fragile SGD ahead", 1.0, np.inf),
    10.0: ("Fragile SGD clearly ahead (factor of at least 2)", 2.0, np.inf),
}


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """The quadratic."""
    steps = found["learning_rate"]
    smallest, largest = found.attrs["smallest_rate"], found.attrs["largest_rate"]
    inside = bool(((steps > smallest) & (steps < largest)).all())
    return [
        *_speedups(found, "gap"),
        *_more_with_slower_edges(found, "gap"),
        Claim(
            statement="Every S and minibatch SGD have their best step inside the steps that were tried.",
            mark="our check",
            verdict=verdict(inside),
            evidence=f"best steps {float(steps.min()):g} to {float(steps.max()):g}; tried {smallest:g} to {largest:g}; "
            "those above 2 / L = 2 diverge",
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Rounds."""
    slow, size = float(found["edge"].max()), found.attrs["shown"]
    workers = found.sizes["worker"]
    contributors = (found["gradients"] > 0).sum("worker")
    few = contributors.sel(edge=slow, S=size)
    counts = {str(ties): float(few.sel(ties=ties)) for ties in found["ties"].values}
    gathered = found["gradients"].sum("worker")
    alone = found["S"] <= 2 * found["edge"]  # 2 rho + 1 > S
    ours, simple = found["seconds"].sel(ties="authors"), found["seconds"].sel(ties="simple")
    arrives = (2 * found["edge"] * found["hops"] + 1).where(found["gradients"] > 0).max("worker")
    pivot_only = alone & (found["seconds"] == found["S"]) & (contributors == 1)
    return [
        Claim(
            statement=f"At {slow:g} s per hop with S = {size} few workers contribute, less than a quarter.",
            mark="paper (text), the quarter ours",
            verdict=verdict(max(counts.values()) < workers / 4),
            evidence=f"contributors of {workers}, by order of ties: {listed(counts)}",
        ),
        Claim(
            statement="With fast edges nearly everybody contributes to the same round (more than nine tenths).",
            mark="derived by us",
            verdict=verdict(bool((contributors.isel(edge=0).sel(S=size) > 0.9 * workers).all())),
            evidence=f"{float(contributors.isel(edge=0).sel(S=size).min()):g} at {float(found['edge'][0]):g} s per hop",
        ),
        Claim(
            statement="While 2 rho + h > S h the pivot computes alone, and a round takes S h.",
            mark="derived by us",
            verdict=verdict(bool(alone.any()) and bool((pivot_only == alone).all())),
            evidence=f"for all {int(alone.sum())} such pairs of edge and S, in both orders",
        ),
        Claim(
            statement="No round is shorter than if links carried any number of messages at once.",
            mark="derived by us",
            verdict=verdict(bool((found["seconds"] >= found["least_seconds"] - 1e-9).all())),
            evidence=f"{float((found['seconds'] / found['least_seconds']).min()):.3g} to "
            f"{float((found['seconds'] / found['least_seconds']).max()):.3g} times that",
        ),
        Claim(
            statement="At least S gradients are gathered, no contributor is too far away, and larger S take no less time.",
            mark="derived by us",
            verdict=verdict(
                bool((gathered >= found["S"]).all())
                and bool((arrives <= found["seconds"] + 1e-9).all())
                and bool((found["seconds"].diff("S") >= 0).all())
            ),
            evidence=f"up to {float((gathered / found['S']).max()):.3g} S gradients in a round",
        ),
        Claim(
            statement="The order of what happens at the same time matters little: rounds within 20 % of each other.",
            mark="our question",
            verdict=verdict(bool((np.abs(ours / simple - 1) <= 0.2).all())),
            evidence="authors' order over the simple one: "
            + "; ".join(
                f"{edge:g} s per hop {float((ours / simple).sel(edge=edge).min()):.3g} to "
                f"{float((ours / simple).sel(edge=edge).max()):.3g}"
                for edge in found["edge"].values
            ),
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Logistic regression."""
    slow = found.isel(edge=-1)
    champion = best_batch(slow, "loss")
    accuracy, losses = last(slow, "test_accuracy"), last(slow, "loss")
    steps, smallest, largest = found["learning_rate"], found.attrs["smallest_rate"], found.attrs["largest_rate"]
    return [
        *_speedups(found, "loss"),
        *_more_with_slower_edges(found, "loss"),
        Claim(
            statement=f"At {float(slow['edge']):g} s per hop Fragile SGD has the better test accuracy.",
            mark="paper (figure)",
            verdict=verdict(float(accuracy.sel(option=champion)) > float(accuracy.sel(option=MINIBATCH))),
            evidence=f"Fragile, S = {champion}: {float(accuracy.sel(option=champion)):.4f}; "
            f"minibatch {float(accuracy.sel(option=MINIBATCH)):.4f}",
        ),
        Claim(
            statement=f"At {float(slow['edge']):g} s per hop the best S is 100 to 160.",
            mark="paper (figure), MNIST",
            verdict=verdict(100 <= champion <= 160),
            evidence="digits in place of MNIST, horizon ours; up to S = 20 the pivot computes alone; last losses: "
            + listed({f"S = {s}": float(losses.sel(option=s)) for s in losses["option"].values if s != MINIBATCH}),
        ),
        Claim(
            statement="The best steps lie inside the steps that were tried.",
            mark="our check",
            verdict=verdict(bool(((steps > smallest) & (steps < largest)).all())),
            evidence=f"best {float(steps.min()):g} to {float(steps.max()):g}; tried {smallest:g} to {largest:g}",
        ),
    ]


def figure4(found: "xarray.Dataset") -> list[Claim]:
    """Theory."""
    over = found["simulated"] / found["equilibrium"]
    formula = found["formula"] / found["equilibrium"]
    one = found.isel(batch=1)
    ends = (found["mean"].isel(fraction=-1) / found["accuracy"]).isel(batch=0)
    used = found["needed"] / found["updates"]
    slopes = _slopes(found)
    middle = {"line": 1 / 2, "mesh": 2 / 3, "torus": 2 / 3}
    return [
        Claim(
            statement="A round with S = s takes at least t* and at most 3.5 t*.",
            mark="derived by us",
            verdict=verdict(bool(((over >= 1 - 1e-9) & (over <= 3.5 + 1e-9)).all())),
            evidence="; ".join(
                f"{name}: {float(over.sel(network=name).min()):.3g} to {float(over.sel(network=name).max()):.3g}"
                for name in over["network"].values
            ),
        ),
        Claim(
            statement="The explicit formula is within a factor of 2 of min_j t*.",
            mark="paper (up to constants), the factor ours",
            verdict=verdict(bool(((formula >= 0.5) & (formula <= 2)).all())),
            evidence="formula over min_j t*: "
            + "; ".join(
                f"{name}: {float(formula.sel(network=name).min()):.3g} to {float(formula.sel(network=name).max()):.3g}"
                for name in formula["network"].values
            ),
        ),
        Claim(
            statement="In the middle regime t* grows like rho^(N / (N + 1)): powers 1/2 and 2/3, to 0.1.",
            mark="paper",
            verdict=verdict(all(abs(slopes[name] - middle[name]) < 0.1 for name in slopes)),
            evidence="fitted powers: " + listed(slopes),
        ),
        Claim(
            statement="K = 16 L Delta / epsilon rounds with S = sigma^2 / epsilon and step 1 / (2 L) suffice.",
            mark="paper",
            verdict=verdict(bool((ends <= 1).all())),
            evidence="mean of the squared gradients over epsilon: "
            + _by_accuracy(ends)
            + "; it is at most 1 after this part of K: "
            + _by_accuracy(used),
        ),
        Claim(
            statement="With S = 1 they do not: the batch is needed.",
            mark="our check",
            verdict=verdict(bool((one["mean"].isel(fraction=-1) > found["accuracy"]).all())),
            evidence="mean over epsilon: " + _by_accuracy(one["mean"].isel(fraction=-1) / found["accuracy"]),
        ),
    ]


def _speedups(found: "xarray.Dataset", metric: str) -> list[Claim]:
    claims = []
    for edge in found["edge"].values:
        one = found.sel(edge=edge)
        words, low, high = WORDS[float(edge)]
        factor, champion, ends = speedup(one, metric), best_batch(one, metric), last(one, metric)
        claims.append(
            Claim(
                statement=f"{float(edge):g} s per hop: {words}.",
                mark="paper (figures), the factor ours",
                verdict=verdict(low < factor <= high),
                evidence=f"Fragile SGD, S = {champion}, has minibatch SGD's last {metric} {factor:.3g} times sooner; last "
                f"{metric} {float(ends.sel(option=champion)):.3g} against {float(ends.sel(option=MINIBATCH)):.3g}",
            )
        )
    return claims


def _more_with_slower_edges(found: "xarray.Dataset", metric: str) -> list[Claim]:
    edges = {f"{float(edge):g} s per hop": found.sel(edge=edge) for edge in found["edge"].values}
    sooner = {name: speedup(one, metric) for name, one in edges.items()}
    lower = {name: _advantage(one, metric) for name, one in edges.items()}
    return [
        Claim(
            statement=f"The slower the edges, the smaller its last {metric} against that of minibatch SGD.",
            mark="paper (figures)",
            verdict=verdict(bool((np.diff(list(lower.values())) > 0).all())),
            evidence="times smaller: " + listed(lower),
        ),
        Claim(
            statement=f"The slower the edges, the sooner it has minibatch SGD's last {metric} for good.",
            mark="our question",
            verdict=verdict(bool((np.diff(list(sooner.values())) > 0).all())),
            evidence="times sooner: " + listed(sooner),
        ),
    ]


def _advantage(found: "xarray.Dataset", metric: str) -> float:
    ends = last(found, metric)
    return float(ends.sel(option=MINIBATCH) / ends.sel(option=best_batch(found, metric)))


def _by_accuracy(values: "xarray.DataArray") -> str:
    return listed({f"epsilon = {float(a):g}": float(values.sel(accuracy=a)) for a in values["accuracy"].values})


def _slopes(found: "xarray.Dataset") -> dict[str, float]:
    """Powers of the edge time in t*, between the two thresholds of the formula."""
    ratio, n, edge = found.attrs["ratio"], found.attrs["workers"], found["edge"].values
    slopes = {}
    for name, dimensions in {"line": 1, "mesh": 2, "torus": 2}.items():
        reached = (ratio / edge) ** (dimensions / (dimensions + 1))
        middle = (reached > 1) & (reached < n)
        times = found["equilibrium"].sel(network=name).values[middle]
        slopes[name] = float(np.polyfit(np.log(edge[middle]), np.log(times), 1)[0])
    return slopes
