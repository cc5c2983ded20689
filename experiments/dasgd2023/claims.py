"""What the paper's rates, its poster and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.contest import seconds_to
from experiments.dasgd2023.figure2 import FIXED, predicted, with_best_step
from experiments.dasgd2023.figure3 import ALL_REDUCE, DASGD, METHODS, SERVER
from experiments.dasgd2023.figure4 import AD_PSGD, DSGD, EVEN, R_FAST, SLOW, SWIFT

if TYPE_CHECKING:
    import xarray

RATES = "paper (abstract), shape only: constants unknown"


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Bounds and staleness."""
    below = (found["left"] <= found["bounded"]) & (found["left"] <= found["unbounded"])
    end = found.isel(prefix=-1)
    slack = {"bound 1": end["bounded"] / end["left"], "bound 2": end["unbounded"] / end["left"]}
    S, R = found["missing"], found["missed"]
    average, most = S.mean("gradient"), S.max("gradient")
    return [
        Claim(
            statement="Both bounds hold, for every T and every draw of latencies and noise.",
            mark="derived by us",
            verdict=verdict(bool(below.all())),
            evidence="bound over measured mean at the end: "
            + "; ".join(f"{name} {float(x.min()):.3g} to {float(x.max()):.3g}" for name, x in slack.items()),
        ),
        Claim(
            statement="What reads miss is what gradients are missed by: the sums of S_k and R_s are equal.",
            mark="derived by us",
            verdict=verdict(bool((S.sum("gradient") == R.sum("gradient")).all())),
            evidence=f"both {int(S.isel(seed=0).sum())} and {int(R.isel(seed=0).sum())} in the first draw",
        ),
        Claim(
            statement="S_avg is about 8.5 (within 10 %).",
            mark="derived by us",
            verdict=verdict(abs(float(average.median()) / 8.5 - 1) < 0.1),
            evidence=f"{float(average.min()):.3g} to {float(average.max()):.3g} over the draws, median "
            f"{float(average.median()):.3g}; S_max {int(most.min())} to {int(most.max())}, R_max "
            f"{int(R.max('gradient').min())} to {int(R.max('gradient').max())}",
        ),
        Claim(
            statement="The simulator's replicas are those of a replay in NumPy, in double precision.",
            mark="derived by us",
            verdict=verdict(float(found["error"]) < 1e-5),
            evidence=f"largest difference {float(found['error']):.1g} of the distance gone, in float32",
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """Rate shapes."""
    free, noisy = with_best_step(found)
    dense = found["every"].values == 1
    S = found["average"].values
    at = S[dense]
    power = _powers(1 + at[[0, -1]], free.values[dense][[0, -1]])[0]
    by_goal = {name: -_powers(found["goal"].values, x.values[dense].T) for name, x in (("free", free), ("noisy", noisy))}
    ratio = noisy.values[dense][-1] / noisy.values[dense][0]
    noise = float(found.attrs["noise"])
    left = found["left"].median("seed")
    base = predicted(FIXED[0], np.array([0.0]), noise)
    excess = left.sel(step=FIXED[0]).values[dense] - base
    growth = _powers(at[[0, -1]], excess[[0, -1]])
    early = [(left.sel(step=s).values / predicted(s, S, noise))[s * S < 0.3] - 1 for s in FIXED]
    late = [(left.sel(step=s).values / predicted(s, S, noise))[s * S >= 0.3] for s in FIXED]
    deviation, excessive = float(np.abs(np.concatenate(early)).max()), float(np.concatenate(late).max())
    same = [x.values[~dense].T / [np.interp(S[~dense], at, column) for column in x.values[dense].T] for x in (free, noisy)]
    rare = S[found["every"].values == 6]
    return [
        Claim(
            statement="Without noise, gradients to epsilon grow like S_avg: like 1 + S_avg to a power of 0.8 to 1.1.",
            mark=RATES,
            verdict=verdict(bool(((power > 0.8) & (power < 1.1)).all())),
            evidence=f"from S_avg {at[0]:.3g} to {at[-1]:.3g}: powers {_several(power)} for the goals "
            + _several(found["goal"].values),
        ),
        Claim(
            statement="Without noise they grow like 1 / epsilon (power 0.9 to 1.1).",
            mark=RATES,
            verdict=verdict(bool(((by_goal["free"] > 0.9) & (by_goal["free"] < 1.1)).all())),
            evidence=f"powers from goal to goal {by_goal['free'].min():.3g} to {by_goal['free'].max():.3g}",
        ),
        Claim(
            statement="With noise the power of 1 / epsilon rises towards 2 as epsilon falls, and stays below 2.1.",
            mark=RATES,
            verdict=verdict(
                bool((by_goal["noisy"][-1] > by_goal["noisy"][0]).all())
                and by_goal["noisy"].max() < 2.1
                and by_goal["noisy"][-1, 0] > 1.7
            ),
            evidence=f"from goal to goal {_several(by_goal['noisy'][:, 0])} for the smallest S_avg, "
            f"{_several(by_goal['noisy'][:, -1])} for the largest",
        ),
        Claim(
            statement="With noise staleness matters less and less as epsilon falls.",
            mark=RATES,
            verdict=verdict(bool(np.all(np.diff(ratio) < 0))),
            evidence=f"gradients for S_avg {at[-1]:.3g} over those for {at[0]:.3g}, from the largest goal to the smallest: "
            + _several(ratio),
        ),
        Claim(
            statement="At a fixed step, staleness adds to the mean squared gradient like S_avg squared (power over 1.7).",
            mark="derived by us, expected from bound 1",
            verdict=verdict(bool(growth[0] > 1.7)),
            evidence=f"power {float(growth[0]):.3g} at the step {FIXED[0]:g}: the squared term of the bound needs gradients "
            "that stay as long as Q in one direction, but those of a quadratic vanish; the noise that is missing adds a "
            "term linear in S_avg, until the iterates diverge",
        ),
        Claim(
            statement="What is left is that of a constant delay S_avg, within 5 %, while eta S_avg < 0.3, later less.",
            mark="derived by us",
            verdict=verdict(deviation < 0.05 and excessive < 1.0),
            evidence=f"largest deviation {100 * deviation:.2g} %; later at most {excessive:.3g} of it",
        ),
        Claim(
            statement="A message per 6 gradients raises S_avg from about 8.5 to about 21 (within 10 %).",
            mark="derived by us",
            verdict=verdict(rare.size == 1 and abs(float(rare[0]) / 21 - 1) < 0.1 and abs(_first(found) / 8.5 - 1) < 0.1),
            evidence=f"{_first(found):.3g} to {_several(rare)}",
        ),
        Claim(
            statement="S_avg tells what rare messages cost: within 25 % of what slow links of the same S_avg do.",
            mark="our conjecture",
            verdict=verdict(all(float(np.abs(x - 1).max()) < 0.25 for x in same)),
            evidence="gradients over those of slow links: "
            + ", ".join(
                f"{name} {x.min():.3g} to {x.max():.3g}"
                for name, x in zip(("without noise", "with noise"), same, strict=True)
            ),
        ),
    ]


def _first(found: "xarray.Dataset") -> float:
    return float(found["average"].values[(found["every"].values == 1) & (found["scale"].values == 1)][0])


def _powers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of power laws between neighbours, along the first axis."""
    x = np.asarray(x, float).reshape(-1, *(1,) * (np.ndim(y) - 1))
    return np.diff(np.log(y), axis=0) / np.diff(np.log(x), axis=0)


def _several(values: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in np.ravel(values))


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Seconds."""
    gain = {other: {str(s): _sooner(found.sel(setting=s), other) for s in found["setting"].values} for other in METHODS[1:]}
    uneven = {name: x for name, x in gain[ALL_REDUCE].items() if "sqrt(i)" in name}
    slow = {name: x for name, x in gain[SERVER].items() if name.endswith("messages 1 s")}
    equal = [f"{other} {x:.3g}" for other in METHODS[1:] for name, x in gain[other].items() if "equal" in name]
    idle = "; ".join(
        f"{s}: {listed(dict(zip(METHODS, 100 * found['busy'].sel(setting=s).values, strict=True)), ' %')}" for s in slow
    )
    rates = found["learning_rate"]
    strength = rates.sel(algorithm=ALL_REDUCE) / rates.sel(algorithm=DASGD)
    nodes = int(found.attrs["nodes"])
    claims = [
        Claim(
            statement="DASGD beats synchronous all-reduce in seconds if speeds differ, as nobody waits.",
            mark="poster (less idle time)",
            verdict=verdict(min(uneven.values()) > 1),
            evidence="how many times sooner it has the loss that the worse of both has at best: "
            + listed(uneven)
            + "; what it gains by never waiting it can lose to stale reads: per gradient the best step of all-reduce, where "
            "nothing is stale, is longer by the factors " + _several(strength.values / nodes) + " in the settings",
        ),
        Claim(
            statement="DASGD beats a parameter server in seconds if messages take a second, as nobody waits for the model.",
            mark="poster (less idle time), the server ours",
            verdict=verdict(min(slow.values()) > 1),
            evidence="how many times sooner: " + listed(slow) + "; share of the time that nodes compute: " + idle,
        ),
        Claim(
            statement="The best step of all-reduce is n times that of DASGD, which adds what it averages, to a factor of 2.",
            mark="derived by us, exact for nodes in lock-step only",
            verdict=verdict(bool(((strength >= nodes / 2) & (strength <= 2 * nodes)).all())),
            evidence=f"n = {nodes}; ratio of the best steps {_several(strength.values)}",
        ),
    ]
    if equal:
        alike = [float(x.split()[-1]) for x in equal]
        claims.append(
            Claim(
                statement="With equal speeds and short messages there is hardly anything to gain: a factor of at most 1.5.",
                mark="derived by us",
                verdict=verdict(max(alike) < 1.5),
                evidence="how many times sooner than " + ", ".join(equal),
            )
        )
    return claims


def _sooner(one: "xarray.Dataset", other: str) -> float:
    """How many times sooner DASGD has the median loss that the worse of it and another method has at best."""
    pair = one[["loss"]].sel(algorithm=[DASGD, other]).fillna(np.inf).median("seed")
    taken = seconds_to(pair, "loss", float(pair["loss"].min("time").max()))
    return float(taken.sel(algorithm=other) / taken.sel(algorithm=DASGD))


def figure4(found: "xarray.Dataset") -> list[Claim]:
    """Gossip."""
    names = [str(name) for name in found["setting"].values]
    first = names[-1].split(",")[0]
    methods = [str(name) for name in found["algorithm"].values]
    ratio = {m: _slower(found.sel(algorithm=m), f"{first}, {SLOW}", f"{first}, {EVEN}") for m in methods}
    free = {m: x for m, x in ratio.items() if m != DSGD}
    slow = [name for name in names if name.endswith(f", {SLOW}")]
    spread = found["spread"].sel(setting=slow).median("seed")
    order = np.argsort(found["gap"].sel(setting=slow).values)
    wide, narrow = spread.isel(setting=order[-1]), spread.isel(setting=order[0])
    gossip = [m for m in methods if m != "DASGD"]
    growth = {m: float(narrow.sel(algorithm=m) / wide.sel(algorithm=m)) for m in gossip}
    last = found["grad_norm"].isel(time=-1).median("seed") ** 2
    tracked = {
        name: {m: float(last.sel(setting=name, algorithm=m)) for m in methods if m in (AD_PSGD, SWIFT, R_FAST)}
        for name in slow
    }
    claims = [
        Claim(
            statement="A node that takes four times as long costs D-SGD at least twice the seconds.",
            mark="derived by us: its rounds last as long as the slowest node",
            verdict=verdict(ratio[DSGD] > 2),
            evidence=f"on the {first}, seconds to the loss that it ends with beside the slow node, over those without one: "
            f"{ratio[DSGD]:.3g}",
        ),
        Claim(
            statement="It costs methods that never wait less than half as much more.",
            mark="derived by us",
            verdict=verdict(max(free.values()) < 1.5),
            evidence=f"on the {first}, likewise: " + listed(free),
        ),
    ]
    if len(slow) > 1:
        claims.append(
            Claim(
                statement="At one step the distance of the replicas grows as the spectral gap shrinks.",
                mark="derived by us",
                verdict=verdict(min(growth.values()) > 1),
                evidence="from the largest gap to the smallest, by the factors "
                + listed(growth)
                + (", R-FAST's also as it steps along the share of its tracker that it keeps" if R_FAST in growth else ""),
            )
        )
    if all(R_FAST in values and SWIFT in values for values in tracked.values()):
        claims.append(
            Claim(
                statement="Data that differ, and a slow node: R-FAST, which tracks gradients, ends with smaller ones than "
                "SWIFT and AD-PSGD, which follow those who are fast.",
                mark="derived by us",
                verdict=verdict(all(v[R_FAST] < min(v[SWIFT], v[AD_PSGD]) for v in tracked.values())),
                evidence="; ".join(f"{name}: {listed(values)}" for name, values in tracked.items()),
            )
        )
    return claims


def _slower(one: "xarray.Dataset", beside: str, without: str) -> float:
    """Seconds to the larger of both last losses with a slow node, over those without."""
    losses = one["loss"].median("seed")
    goal = float(max(losses.sel(setting=beside)[-1], losses.sel(setting=without)[-1]))
    taken = seconds_to(losses.to_dataset(name="loss"), "loss", goal)
    return float(taken.sel(setting=beside) / taken.sel(setting=without))
