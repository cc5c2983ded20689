"""What the paper, its code and we say about the figures, measured on their results."""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.claims import Claim, listed, verdict
from experiments.mishchenko2022.figure2 import RULES, known_limit
from experiments.mishchenko2022.settings import WORKERS

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Least squares with 40 workers."""
    end = found["gap"].isel(gradients=-1)
    models = [str(model) for model in found["model"].values]
    slower = {m: float(end.sel(algorithm="minibatch", model=m) / end.sel(algorithm="asynchronous", model=m)) for m in models}
    factor = {
        m: float(end.sel(algorithm="delay-adaptive", model=m) / end.sel(algorithm="asynchronous", model=m)) for m in models
    }
    times = {m: _speedup(found.sel(model=m)) for m in models}
    late = found.isel(gradients=slice(found.sizes["gradients"] // 3, None))
    error = np.abs(late["gap"] / late["predicted"] - 1).max(("gradients", "model"))
    return [
        Claim(
            statement="Per gradient, minibatch SGD is the slowest of the three.",
            mark="authors' code (published plot)",
            verdict=verdict(min(slower.values()) > 1 and all(slower[m] > factor[m] for m in models)),
            evidence="final gap over asynchronous SGD's: " + listed(slower),
        ),
        Claim(
            statement="Delay-adaptive steps are slower than constant ones by a small factor only.",
            mark="authors' code (published plot)",
            verdict=verdict(all(0.95 < f < 3 for f in factor.values())),
            evidence="final gap over asynchronous SGD's: " + listed(factor),
        ),
        Claim(
            statement="In seconds, asynchronous SGD beats minibatch SGD whatever the delays.",
            mark="paper (abstract)",
            verdict=verdict(min(times.values()) > 1),
            evidence="how many times faster it reaches minibatch SGD's final gap: " + listed(times),
        ),
        Claim(
            statement="Once the stiff direction has died out, the gap depends on the sum of the steps alone, within 5 %.",
            mark="derived by us",
            verdict=verdict(bool((error < 0.05).all())),
            evidence="largest deviation after a third of the gradients: "
            + listed({str(m): 100 * float(error.sel(algorithm=m)) for m in found["algorithm"].values}, " %"),
        ),
    ]


def figure2(found: "xarray.Dataset") -> list[Claim]:
    """The largest stable step."""
    spacing = float(found["learning_rate"][1] / found["learning_rate"][0])
    limit = {(r, m): float(found["limit"].sel(rule=r, model=m)) for r in RULES for m in found["model"].values}
    equal, known = limit["constant", "equal"], known_limit(WORKERS - 1)
    constant = {str(m): limit["constant", m] for m in found["model"].values}
    spread = [m for m in constant if m != "equal"]
    gain = {m: limit["delay-adaptive", m] / limit["constant", m] for m in constant}
    return [
        Claim(
            statement="Equal speeds: the largest stable step is 2/L sin(pi / (2 (2 tau + 1))), tau = 39.",
            mark="derived by us",
            verdict=verdict(1 / spacing**2 < equal / known < spacing**2),
            evidence=f"{equal:.4g} measured, to {100 * (spacing - 1):.2g} %; {known:.4g} by the formula",
        ),
        Claim(
            statement="The notebook's step 0.43 diverges for equal speeds.",
            mark="derived by us",
            verdict=verdict(equal < 0.43),
            evidence=f"largest stable step {equal:.3g}",
        ),
        Claim(
            statement="Dispersed delays tolerate larger steps than equal ones.",
            mark="derived by us",
            verdict=verdict(all(constant[m] >= equal for m in spread)),
            evidence=", ".join(f"{m}: {constant[m]:.3g}" for m in constant),
        ),
        Claim(
            statement="Delay-adaptive steps are never less stable than constant ones of the same size.",
            mark="our conjecture",
            verdict=verdict(min(gain.values()) >= 1 / spacing),
            evidence="their limit over that of constant steps: " + ", ".join(f"{m} {g:.3g}" for m, g in gain.items()),
        ),
    ]


def figure3(found: "xarray.Dataset") -> list[Claim]:
    """Bounds and virtual iterates."""
    below = (found["left"] <= found["right"]) | found["right"].isnull()
    slack = (found["right"] / found["left"]).isel(update=-1)
    needed = np.hypot(found["largest_gradient"].sel(bound="A"), found.attrs["noise"]).max()
    error = float((found["error"].max("update") / found["distance"].max("update")).max())
    ratio = float((found["distance"] / found["ceiling"]).max())
    return [
        Claim(
            statement="The bounds (A) to (E) hold, for every number of updates.",
            mark="derived by us",
            verdict=verdict(bool(below.all()) and float(needed) <= float(found["lipschitz"])),
            evidence="bound over measured mean at the end, from the tightest model to the loosest: "
            + "; ".join(
                f"{b} {float(slack.sel(bound=b).min()):.3g} to {float(slack.sel(bound=b).max()):.3g}"
                for b in found["bound"].values
            ),
        ),
        Claim(
            statement="The real iterate differs from the virtual one by the steps in flight, exactly.",
            mark="recalled; derived by us",
            verdict=verdict(error < 1e-4),
            evidence=f"largest deviation {error:.1g} of the largest distance, in float32",
        ),
        Claim(
            statement="The virtual iterate is never further than the steps in flight reach.",
            mark="derived by us",
            verdict=verdict(ratio <= 1 + 1e-4),
            evidence=f"at most {ratio:.3g} of the sum of their lengths",
        ),
    ]


def _speedup(found: Any) -> float:
    """How many times sooner asynchronous SGD reaches what minibatch SGD has at its end."""
    goal = found["gap"].sel(algorithm="minibatch").values[-1]
    reached = np.flatnonzero(found["gap"].sel(algorithm="asynchronous").values <= goal)
    at = found["time"].sel(algorithm="asynchronous").values[reached[0]] if len(reached) else np.inf
    return float(found["time"].sel(algorithm="minibatch").values[-1] / at)
