"""What the page draws, as plain numbers that fit into JSON: which series, against what, on which scales."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jasgd.report.methods import Band, Method

# More lines than these cannot be told apart.
MOST_SERIES = 28
MOST_RECORDS = 240


def labels_of(methods: Sequence[Method]) -> list[str]:
    """What tells every method from all the others, in words.

    Example:
      >>> labels_of([])
      []
    """
    files = {method.source.file for method in methods}
    found = []
    for method in methods:
        named = [method.source.file] if len(files) > 1 else []
        found.append(", ".join([*named, *filter(None, [method.source.group]), *method.parts]) or method.source.file)
    return found


def curves(methods: Sequence[Method], labels: Sequence[str]) -> dict[str, Any]:
    """Every metric against every axis, the best methods first if there are too many."""
    series = []
    for i in _shown(methods):
        method = methods[i]
        keep = thinned(method.records)
        table = {
            "xs": {axis: plain(values[keep]) for axis, values in method.axes.items()},
            "ys": {_named(method, metric): _columns(values, keep) for metric, values in method.curves.items()},
        }
        series.append({"name": labels[i], "style": i, "tables": [table]})
    return _chart("curves", series, prefer=["simulated time [s]", "server updates"], ends=False)


def tried(methods: Sequence[Method], labels: Sequence[str]) -> dict[str, Any]:
    """The last values of every metric against the numbers of the grid, learning rates first."""
    series = []
    for i in _shown(methods):
        tables = [
            {
                "xs": {one.name: plain(one.values)},
                "ys": {_named(methods[i], metric): _columns(values, slice(None)) for metric, values in one.ends.items()},
                "best": one.chosen,
            }
            for one in methods[i].tried
        ]
        if tables:
            series.append({"name": labels[i], "style": i, "tables": tables})
    return _chart("tried", series, prefer=["learning_rate"], ends=True)


def plain(values: Any) -> list[Any]:
    """Numbers as JSON has them, to seven digits; None where there is none, and infinity in words.

    Example:
      >>> plain([1.0, 0.1234567891, float("nan"), float("inf")])
      [1, 0.1234568, None, 'Infinity']
    """
    return [_plain(float(value)) for value in np.asarray(values, np.float64)]


def _plain(value: float) -> Any:
    if np.isnan(value):
        return None
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    rounded = float(f"{value:.7g}")
    return int(value) if value.is_integer() and abs(value) < 2**53 else rounded


def thinned(records: int) -> np.ndarray:
    """Which of many records are drawn: evenly spaced ones, and as many that are spaced evenly on a logarithmic scale.

    Example:
      >>> len(thinned(100)), len(thinned(1_000_000)) <= MOST_RECORDS, thinned(1_000_000)[-1]
      (100, True, np.int64(999999))
    """
    if records <= MOST_RECORDS:
        return np.arange(records)
    half = MOST_RECORDS // 2
    even, early = np.linspace(0, records - 1, half), np.geomspace(1, records - 1, half)
    return np.unique(np.round(np.concatenate([even, early])).astype(int))


def _shown(methods: Sequence[Method]) -> list[int]:
    """Those with the smallest last values, in their order."""
    ends = [float(method.ends[method.metric].median[0]) for method in methods]
    return sorted(np.argsort(ends, kind="stable")[:MOST_SERIES].tolist())


def _named(method: Method, metric: str) -> str:
    unit = method.source.dataset[metric].attrs.get("units", "1")
    return metric if unit == "1" else f"{metric} [{unit}]"


def _columns(values: Band, keep: Any) -> dict[str, list[Any]]:
    shown = {"median": plain(values.median[keep])}
    if values.low is not None and values.high is not None:
        shown |= {"low": plain(values.low[keep]), "high": plain(values.high[keep])}
    return shown


def _chart(name: str, series: list[dict[str, Any]], *, prefer: Sequence[str], ends: bool) -> dict[str, Any]:
    """With the axes that the most series have, and the scales that suit them."""
    tables = [table for one in series for table in one["tables"]]
    xs, ys = (_by_number([list(table[key]) for table in tables]) for key in ("xs", "ys"))
    xs = sorted(xs, key=lambda x: prefer.index(x) if x in prefer else len(prefer))
    most = max((sum(x in table["xs"] for table in tables) for x in xs), default=0)
    return {
        "id": name,
        "ends": ends,
        "xs": xs,
        "ys": ys,
        "x": next((x for x in xs if sum(x in table["xs"] for table in tables) == most), None),
        "y": next(iter(ys), None),
        "logX": {x: _skewed([table["xs"][x] for table in tables if x in table["xs"]], ends) for x in xs},
        "logY": {y: _positive([table["ys"][y]["median"] for table in tables if y in table["ys"]]) for y in ys},
        "series": series,
    }


def _by_number(names: Sequence[Sequence[str]]) -> list[str]:
    """Names in the order in which they come, those that more have first."""
    listed = [name for some in names for name in some]
    return sorted(dict.fromkeys(listed), key=lambda name: -listed.count(name))


def _numbers(columns: Sequence[Sequence[Any]]) -> np.ndarray:
    found = np.array([value for column in columns for value in column if not isinstance(value, str | None)], float)
    return found[np.isfinite(found)]


def _positive(columns: Sequence[Sequence[Any]]) -> bool:
    values = _numbers(columns)
    return bool(len(values)) and bool(values.min() > 0)


def _skewed(columns: Sequence[Sequence[Any]], grid: bool) -> bool:
    """Whether most values lie at the left end; a grid of positive numbers need only be wide."""
    values = _numbers(columns)
    positive = values[values > 0]
    if grid:
        return len(values) > 0 and len(positive) == len(values) and bool(positive.max() >= 8 * positive.min())
    return len(positive) > 0 and bool(np.median(positive) < 0.25 * positive.max())


def words(name: str) -> str:
    """A name of a grid or an attribute, for people.

    Example:
      >>> words("learning_rate")
      'learning rate'
    """
    return re.sub(r"_+", " ", name).strip()


def lines(chart: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is drawn before anything is chosen: the columns of each series on the default axes."""
    found = []
    for one in chart["series"]:
        for table in one["tables"]:
            if chart["x"] in table["xs"] and chart["y"] in table["ys"]:
                columns = {name: _floats(values) for name, values in table["ys"][chart["y"]].items()}
                found.append({**one, "x": _floats(table["xs"][chart["x"]]), **columns, "best": table.get("best")})
    return found


def _floats(values: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])
