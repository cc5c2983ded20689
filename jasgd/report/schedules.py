"""What is stored about the schedules of a result: how stale gradients were, and how many made a step."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MOST_ROWS = 40
_UNTOLD = ("delay", "deliveries_per_update", "seed", "cut_to_rows")


def staleness(attributes: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A row for each schedule of a result, from its attributes; those that differ in their seed only are put together.

    Example:
      >>> from jasgd.summary import described
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4), 100)
      >>> attributes = jasgd.results.provenance(schedules=[described(schedule)])
      >>> staleness(attributes, "run")[0]["mean"]
      2.94
    """
    schedules = [one for one in schedules_of(attributes) if isinstance(one.get("delay"), Mapping)]
    told = [key for key in dict.fromkeys(key for one in schedules for key in one) if key not in _UNTOLD]
    differs = [key for key in told if len({repr(one.get(key)) for one in schedules}) > 1]
    if "algorithm" in differs:
        differs = ["algorithm"]
    together: dict[str, list[Mapping[str, Any]]] = {}
    for one in schedules:
        label = ", ".join([name, *(_words(key, one[key]) for key in differs if key in one)])
        together.setdefault(label, []).append(one["delay"])
    return [{"label": label, "schedules": len(delays), **_merged(delays)} for label, delays in together.items()]


def deliveries_per_update(schedules: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> int | None:
    """How many gradients make a step at some values of the grid, if it is always the same number.

    Example:
      >>> schedules = [{"batch": 4, "deliveries_per_update": 4}, {"batch": 16, "deliveries_per_update": 16}]
      >>> deliveries_per_update(schedules, {"batch": 16, "learning_rate": 0.1})
      16
    """
    fitting = [one for one in schedules if all(one[name] == value for name, value in values.items() if name in one)]
    found = {one.get("deliveries_per_update") for one in fitting}
    return found.pop() if len(found) == 1 else None


def _words(key: str, value: Any) -> str:
    if key in ("protocol", "algorithm"):
        return str(value)
    said = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{key}={said if len(said) <= 40 else said[:39] + '…'}"


def schedules_of(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schedules of a result, as its attributes describe them.

    Example:
      >>> schedules_of({"schedules": '[{"protocol": "asynchronous"}]'}), schedules_of({})
      ([{'protocol': 'asynchronous'}], [])
    """
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
