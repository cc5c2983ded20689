"""How stale the gradients of a result were, from what is stored about its schedules."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray

MOST_ROWS = 40


def staleness(dataset: "xarray.Dataset", name: str) -> list[dict[str, Any]]:
    """A row for each schedule of a result; those that differ in their seed only are put together.

    Example:
      >>> problem, schedule = jasgd.problems.quadratic(dim=4), jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0))
      >>> staleness(run.to_dataset(), "run")[0]["mean"]
      2.94
    """
    schedules = [one for one in _schedules(dataset.attrs) if isinstance(one.get("delay"), Mapping)]
    told = [
        key for key in dict.fromkeys(key for one in schedules for key in one) if key not in ("delay", "seed", "cut_to_rows")
    ]
    differs = [key for key in told if len({repr(one.get(key)) for one in schedules}) > 1]
    if "algorithm" in differs:
        differs = ["algorithm"]
    together: dict[str, list[Mapping[str, Any]]] = {}
    for one in schedules:
        label = ", ".join([name, *(_words(key, one[key]) for key in differs if key in one)])
        together.setdefault(label, []).append(one["delay"])
    return [{"label": label, "schedules": len(delays), **_merged(delays)} for label, delays in together.items()]


def _words(key: str, value: Any) -> str:
    if key in ("protocol", "algorithm"):
        return str(value)
    said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{key}={said if len(said) <= 40 else said[:39] + '…'}"


def _schedules(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        return [one for one in json.loads(attributes.get("schedules", "[]")) if isinstance(one, dict)]
    except (TypeError, ValueError):
        return []


def _merged(delays: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of means and of quantiles, the largest of the largest."""
    count = len(delays)
    quantiles = zip(*(delay["quantiles"] for delay in delays), strict=True)
    return {
        "mean": sum(delay["mean"] for delay in delays) / count,
        "quantiles": [sum(column) / count for column in quantiles],
        "max": max(delay["max"] for delay in delays),
    }
