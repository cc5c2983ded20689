"""What the captions of the poster, and we, say about the figures, measured on their results."""

import math
from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.contest import seconds_to
from experiments.shadowheart2024.figure6 import alone_is_best
from experiments.shadowheart2024.settings import ASYNCHRONOUS, FASTEST, METHODS, MINIBATCH, QSGD, SHADOWHEART, last

if TYPE_CHECKING:
    import xarray

POSTER = "poster (captions)"
GOAL = 0.05  # the gap is 1 / 16 when the first coordinate is solved, and falls when the noise lets another move
SERVER = [name for name in METHODS if name != FASTEST]


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Three speeds, two noises."""
    ends = last(found)
    worse = ends / ends.sel(algorithm=SHADOWHEART)
    few, first, final = found["probability"].values[0], found["setting"].values[0], found["setting"].values[-1]
    taken = seconds_to(found[["gap"]].fillna(np.inf).median("seed"), "gap", GOAL)
    longer = taken.sel(algorithm=FASTEST) / taken.sel(algorithm=SHADOWHEART)
    slower = _ratio(worse, final, first)
    told = "; ".join(f"p = {p:g}: {_table(ends.sel(probability=p))}" for p in found["probability"].values)
    return [
        _robust(ends, told),
        Claim(
            statement="With more noise (smaller p) the fastest worker alone falls back at every speed: relative to "
            f"Shadowheart SGD, it takes longer to a gap of {GOAL:g}, and longer than it.",
            mark=POSTER + ", the measure ours",
            verdict=verdict(bool((longer[-1] > longer[0]).all() and (longer[-1] > 1).all()))
            if found.sizes["probability"] > 1
            else "not comparable",
            evidence="its seconds over Shadowheart's: "
            + "; ".join(f"p = {p:g}: {_values(longer.sel(probability=p))}" for p in found["probability"].values),
        ),
        _fall_back(slower),
        Claim(
            statement="With slow links and little noise (the first p, low speed) the fastest worker alone is best of all.",
            mark="derived by us: optimality is among methods that go through the server",
            verdict=verdict(bool(ends.sel(probability=few, setting=final).idxmin() == FASTEST)),
            evidence=f"last gaps at {final} speed, p = {few:g}: " + _listed(ends.sel(probability=few, setting=final)),
        ),
        _rounds(found),
        _inside(found),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """The small quadratic."""
    ends = last(found)
    first, final = found["setting"].values[0], found["setting"].values[-1]
    grows = ends.sel(setting=final, drop=True) / ends.sel(setting=first, drop=True)
    low, mine = ends.sel(setting=final), [MINIBATCH, ASYNCHRONOUS]
    goal = 2 * float(ends.sel(setting="medium", algorithm=MINIBATCH))
    sent = _bytes_to(found.sel(setting="medium"), goal)
    return [
        Claim(
            statement="Slower links cost the methods that send whole gradients more than a factor of 2 of the last gap.",
            mark="derived by us",
            verdict=verdict(bool((grows.sel(algorithm=mine) > 2).all())),
            evidence=f"last gap at {final} over that at {first} speed: " + _listed(grows),
        ),
        Claim(
            statement="They cost QSGD with one number per message less than a factor of 1.5.",
            mark="derived by us",
            verdict=verdict(float(grows.sel(algorithm=QSGD)) < 1.5),
            evidence=f"factor {float(grows.sel(algorithm=QSGD)):.3g}",
        ),
        Claim(
            statement="At low speed Shadowheart SGD is best among the methods that go through the server.",
            mark="paper (optimal up to a constant), tightened by us",
            verdict=verdict(bool(low.sel(algorithm=SERVER).idxmin() == SHADOWHEART)),
            evidence=_table(ends),
        ),
        Claim(
            statement="With so little noise the fastest worker alone beats all of them, at every speed.",
            mark="derived by us",
            verdict=verdict(bool((ends.idxmin("algorithm") == FASTEST).all())),
            evidence="best: " + ", ".join(f"{s} {ends.sel(setting=s).idxmin().values!s}" for s in ends["setting"].values),
        ),
        Claim(
            statement="Until the same gap it sends less than the methods that send whole gradients, and QSGD still less.",
            mark="our question",
            verdict=verdict(sent[QSGD] < sent[SHADOWHEART] < min(sent[MINIBATCH], sent[ASYNCHRONOUS])),
            evidence=f"bytes until the gap is {goal:.3g}, medium speed: {listed(sent)}",
        ),
        _rounds(found),
        _inside(found),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Logistic regression."""
    ends = last(found, "loss")
    first, final = found["setting"].values[0], found["setting"].values[-1]
    high = ends.sel(setting=first)
    rest = high.sel(algorithm=SERVER)
    return [
        Claim(
            statement="At high speed all methods are close: last losses within a factor of 2.",
            mark=POSTER + ", the factor ours",
            verdict=verdict(float(high.max()) < 2 * float(high.min())),
            evidence=f"{_listed(high)}; the fastest worker alone takes most steps, and data with so little noise need no "
            f"averages; without it a factor of {float(rest.max() / rest.min()):.3g}",
        ),
        _robust(ends, _table(ends)),
        _robust(ends.sel(algorithm=SERVER), "", " among the methods that go through the server"),
        _fall_back(_ratio(ends / ends.sel(algorithm=SHADOWHEART), final, first)),
        Claim(
            statement="With slow links the fastest worker alone is best of all.",
            mark="derived by us: there is little noise",
            verdict=verdict(bool(ends.sel(setting=final).idxmin() == FASTEST)),
            evidence=f"last losses at {final} speed: " + _listed(ends.sel(setting=final)),
        ),
        _rounds(found),
        _inside(found, largest=math.inf),
    ]


def figure4(found: "xarray.Dataset") -> list[Claim]:
    """Seconds per gradient from sqrt(i) to 1."""
    ends = last(found)
    mine = ends.sel(algorithm=SHADOWHEART)
    others = [MINIBATCH, QSGD, ASYNCHRONOUS]
    gains = ends.isel(setting=0, drop=True) / ends.isel(setting=-1, drop=True)
    return [
        Claim(
            statement="Shadowheart SGD gains when all workers compute as fast as the first: its last gap falls.",
            mark=POSTER,
            verdict=verdict(float(mine[-1]) < float(mine[0])),
            evidence="last gaps for i^q s per gradient: " + _values(mine),
        ),
        Claim(
            statement="It gains more than each other method.",
            mark="our reading of the caption",
            verdict=verdict(bool((gains.sel(algorithm=others) < gains.sel(algorithm=SHADOWHEART)).all())),
            evidence="first last gap over the last one: " + _listed(gains) + "; last gaps: " + _table(ends),
        ),
        _rounds(found),
        _inside(found),
    ]


def figure5(found: "xarray.Dataset") -> list[Claim]:
    """Random times, for the two noises."""
    ends = last(found)
    alone = ends.sel(algorithm=FASTEST) / ends.sel(algorithm=SHADOWHEART)
    return [
        *(
            Claim(
                statement="The fastest worker alone is at least as good as Shadowheart SGD on the slowest links, c = 100, "
                f"and only there: p = {p:g}.",
                mark=POSTER + ", p ours",
                verdict=verdict(float(one[-1]) <= 1 and bool((one[:-1] > 1).all())),
                evidence=f"its last gap over Shadowheart's, for c: {_values(one)}; last gaps: "
                + _table(ends.sel(probability=p)),
            )
            for p, one in zip(found["probability"].values, alone.transpose("probability", "setting"), strict=True)
        ),
        _rounds(found),
        _inside(found),
    ]


def figure6(found: "xarray.Dataset") -> list[Claim]:
    """Formulas."""
    median = found["seconds"].median("seed")
    ratio = median / median.sel(algorithm=SHADOWHEART)
    server = [*SERVER, "Rennala SGD"]
    lowest, at_one = ratio.sel(algorithm=server).min(), ratio.sel(speed=1.0)
    best = alone_is_best(found)
    begins = {f"s = {s:g}": float(found["speed"].where(best.sel(ratio=s)).min()) for s in found["ratio"].values}
    to_the_end = bool(best.isel(speed=-1).all()) and bool((best.astype(int).diff("speed") >= 0).all())
    mine = median.sel(algorithm=SHADOWHEART, speed=1.0)
    known = {f"s = {s:g}": float(mine.sel(ratio=s)) for s in found["ratio"].values}
    return [
        Claim(
            statement="No method that goes through the server needs less than a third of Shadowheart's time, at any speed.",
            mark="paper (optimal up to a constant); our formulas",
            verdict=verdict(float(lowest) > 1 / 3),
            evidence=f"smallest ratio {float(lowest):.3g}; at c = 1, times as long as Shadowheart: "
            + "; ".join(f"s = {s:g}: {_listed(at_one.sel(ratio=s))}" for s in found["ratio"].values)
            + "; Shadowheart itself: "
            + listed(known, " s"),
        ),
        Claim(
            statement="For every noise there is a speed of the links below which the fastest worker alone is best.",
            mark="derived by us; our formulas",
            verdict=verdict(to_the_end),
            evidence="from c on: " + listed(begins),
        ),
    ]


def _robust(ends: "xarray.DataArray", told: str, among: str = "") -> Claim:
    """Within a factor of the best; ``told`` are the numbers."""
    over = ends.sel(algorithm=SHADOWHEART) / ends.min("algorithm")
    return Claim(
        statement=f"Shadowheart SGD is robust: at every speed within a factor of 2 of the best{among}.",
        mark=POSTER + ", the factor ours",
        verdict=verdict(bool((over < 2).all())),
        evidence=f"at most {float(over.max()):.3g} times the best" + (told and f"; last medians: {told}"),
    )


def _fall_back(slower: "xarray.DataArray") -> Claim:
    both = slower.sel(algorithm=[ASYNCHRONOUS, MINIBATCH])
    if "probability" in both.dims:
        told = [f"p = {p:g}: {_listed(both.sel(probability=p))}" for p in both["probability"].values]
    else:
        told = [_listed(both)]
    return Claim(
        statement="With slower links asynchronous and minibatch SGD fall behind Shadowheart SGD.",
        mark=POSTER,
        verdict=verdict(bool((both > 1).all())),
        evidence="their last value over Shadowheart's, at the slowest links over that at the fastest: "
        + "; ".join(told)
        + "; near 1/16 and above, where only one coordinate has moved, a gap tells little" * ("probability" in both.dims),
    )


def _rounds(found: "xarray.Dataset") -> Claim:
    over = found["round_time"] / found["equilibrium_time"]
    return Claim(
        statement="A round of Shadowheart SGD takes at most twice the equilibrium time, for every s that was tried.",
        mark="derived by us; the time is that of the authors' code",
        verdict=verdict(bool((over <= 2 * (1 + 1e-9)).all())),
        evidence=f"{float(over.min()):.3g} to {float(over.max()):.3g} times t*, which is "
        f"{float(found['equilibrium_time'].min()):.3g} to {float(found['equilibrium_time'].max()):.3g} s",
    )


def _inside(found: "xarray.Dataset", largest: float = 1.0) -> Claim:
    """On the quadratic steps of 2 / L = 2 and more are not stable, so that 1 as the largest power of two is no border."""
    steps, small = (
        [2.0 ** int(power) for power in found.attrs.get(name, "()").strip("(),").split(",") if power]
        for name in ("steps", "small")
    )
    top, where = max(steps), []
    for name in found["algorithm"].values.astype(str):
        chosen = found["learning_rate"].sel(algorithm=name)
        bottom = min(steps) if name == SHADOWHEART else min(small + steps)
        if bool(((chosen == bottom) | ((chosen == top) & (top < largest))).any()):
            where.append(name)
    return Claim(
        statement="Every method's best step lies inside the steps that were tried.",
        mark="our check",
        verdict=verdict(not where),
        evidence=f"steps {min(small + steps):g} to {top:g}; at the border: "
        + (
            ", ".join(where) + "; a method that has solved one coordinate only ends the same with many steps"
            if where
            else "none"
        ),
    )


def _bytes_to(found: "xarray.Dataset", goal: float) -> dict[str, float]:
    """Bytes sent when the median gap is first at most ``goal``, infinite if it never is."""
    reached = found["gap"].fillna(np.inf).median("seed") <= goal
    sent = found["uploaded_bytes"].max("seed").where(reached).min("time").fillna(np.inf)
    return {name: float(sent.sel(algorithm=name)) for name in SERVER}


def _ratio(values: "xarray.DataArray", above: str, below: str) -> "xarray.DataArray":
    return values.sel(setting=above, drop=True) / values.sel(setting=below, drop=True)


def _listed(values: "xarray.DataArray") -> str:
    return listed({str(name): float(values.sel(algorithm=name)) for name in values["algorithm"].values})


def _values(values: "xarray.DataArray") -> str:
    return listed({str(name): float(values.sel(setting=name)) for name in values["setting"].values})


def _table(ends: "xarray.DataArray") -> str:
    return "; ".join(f"{name}: {_listed(ends.sel(setting=name))}" for name in ends["setting"].values)
