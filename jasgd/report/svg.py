"""Charts as SVG without a script: what is printed, and what is seen where no script runs."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from jasgd.report.charts import lines, words

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 16, 22, 52
COLOURS, DASHES = 7, ("", "8 4", "2 3", "10 3 2 3")
Scale = Callable[[float], float]


def style(number: int) -> str:
    """Colour and dashes of a series, as attributes.

    Example:
      >>> style(1)
      'class="line c1" stroke-dasharray="8 4"'
    """
    dashes = DASHES[number % len(DASHES)]
    return f'class="line c{number % COLOURS}"' + (f' stroke-dasharray="{dashes}"' if dashes else "")


def number(value: float) -> str:
    """A number on an axis.

    Example:
      >>> number(0.25), number(1e-5), number(2e6), number(0.0)
      ('0.25', '10⁻⁵', '2·10⁶', '0')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = "10" + str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return power if float(mantissa) == 1 else f"{float(mantissa):g}·{power}"


def ticks(low: float, high: float, log: bool) -> list[float]:
    """Round numbers between two others.

    Example:
      >>> ticks(0.0, 10.0, False), ticks(0.01, 100.0, True)
      ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.01, 0.1, 1.0, 10.0, 100.0])
    """
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        factors = (1, 2, 5) if high / low < 200 else (1,)
        every = max(1, math.ceil((last - first) / 8))
        found = [f * 10.0**e for e in range(first, last + 1, every) for f in factors]
    else:
        rough = (high - low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= rough * 0.999)
        found = [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)] if log else found


def chart(data: Mapping[str, Any]) -> str:
    """A chart on its default axes.

    Example:
      >>> table = {"xs": {"time": [1, 2]}, "ys": {"loss": {"median": [2, 1]}}}
      >>> series = [{"name": "a", "style": 0, "tables": [table]}]
      >>> scales = {"logX": {"time": False}, "logY": {"loss": True}}
      >>> chart({"x": "time", "y": "loss", "ends": False, "series": series, **scales}).count("<path")
      1
    """
    shown, log_x, log_y = lines(data), data["logX"][data["x"]], data["logY"][data["y"]]
    if not shown:
        return ""
    left, right = _range([one["x"] for one in shown], log_x, margin=0.02)
    names = ("median", "low", "high")
    bottom, top = _range([one[name] for one in shown for name in names if name in one], log_y, margin=0.05)
    x, y = _scale(left, right, log_x, _LEFT, _WIDTH - _RIGHT), _scale(bottom, top, log_y, _HEIGHT - _BOTTOM, _TOP)
    words_x, words_y = words(data["x"]), ("final " if data["ends"] else "") + words(data["y"])
    drawn = [_frame(x, y, ticks(left, right, log_x), ticks(bottom, top, log_y), words_x, words_y)]
    drawn += [_series(one, x, y, markers=data["ends"]) for one in shown]
    label = escape(f"{words_y} against {words_x}: {', '.join(one['name'] for one in shown)}")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}" xmlns="http://www.w3.org/2000/svg">'
        f"{''.join(drawn)}</svg>"
    )


def intervals(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """A row for each schedule: 10 to 90 % as a bar, up to 99 % and to the largest as lines, the median and the mean.

    Example:
      >>> row = {"label": "a", "mean": 1.5, "quantiles": [0, 1, 3, 4], "max": 5}
      >>> intervals([row], "delay").count("<title>")
      1
    """
    height, width, left = 34, _WIDTH, 20
    largest = max(1.0, *(row["max"] for row in rows))
    x = _scale(0.0, largest, False, left, width - 24)
    bottom = height * len(rows) + 6
    drawn = []
    for tick in ticks(0.0, largest, False):
        drawn.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="4" y2="{bottom}"/>')
        drawn.append(f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{number(tick)}</text>')
    for i, row in enumerate(rows):
        low, middle, high, highest = row["quantiles"]
        y = height * i + 26
        said = (
            f"mean {row['mean']:.4g}; 10 % {low:g}, median {middle:g}, 90 % {high:g}, 99 % {highest:g}, max {row['max']:g}"
        )
        drawn.append(
            f"<g><title>{escape(row['label'])}: {said}</title>"
            f'<text class="name" x="{left}" y="{y - 11}">{escape(row["label"])}</text>'
            f'<line class="whisker" x1="{x(0)}" x2="{x(row["max"]):.1f}" y1="{y}" y2="{y}"/>'
            f'<line class="reach" x1="{x(low):.1f}" x2="{x(highest):.1f}" y1="{y}" y2="{y}"/>'
            f'<rect class="bar" x="{x(low):.1f}" width="{max(2.0, x(high) - x(low)):.1f}" y="{y - 5}" height="10" rx="2"/>'
            f'<line class="median" x1="{x(middle):.1f}" x2="{x(middle):.1f}" y1="{y - 7}" y2="{y + 7}"/>'
            f'<circle class="mean" cx="{x(row["mean"]):.1f}" cy="{y}" r="4"/>'
            f'<line class="whisker" x1="{x(row["max"]):.1f}" x2="{x(row["max"]):.1f}" y1="{y - 5}" y2="{y + 5}"/></g>'
        )
    drawn.append(f'<text class="label" x="{width / 2}" y="{bottom + 40}" text-anchor="middle">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {width} {bottom + 48}" role="img" aria-label="{escape(label)}">{"".join(drawn)}</svg>'


def _range(columns: Sequence[np.ndarray], log: bool, margin: float) -> tuple[float, float]:
    """The smallest and the largest number, apart from each other."""
    values = np.concatenate(columns)
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not len(values):
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if log:
        low, high = (low / 2, high * 2) if low == high else (low, high)
        factor = (high / low) ** margin
        return low / factor, high * factor
    low, high = (low - 0.5 * abs(low) - 0.5, high + 0.5 * abs(high) + 0.5) if low == high else (low, high)
    return low - margin * (high - low), high + margin * (high - low)


def _scale(low: float, high: float, log: bool, begin: float, end: float) -> Scale:
    def of(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return begin + share * (end - begin)

    def scale(value: float) -> float:
        return math.nan if not math.isfinite(value) or (log and value <= 0) else of(value)

    return scale


def _frame(x: Scale, y: Scale, xs: Sequence[float], ys: Sequence[float], label_x: str, label_y: str) -> str:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    drawn = []
    for tick in xs:
        drawn.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        drawn.append(f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{number(tick)}</text>')
    for tick in ys:
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        drawn.append(f'<text class="tick" x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    middle = (_TOP + bottom) / 2
    return (
        "".join(drawn)
        + f'<text class="label" x="{(_LEFT + right) / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(label_x)}</text>'
        + f'<text class="label" transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(label_y)}</text>'
    )


def _series(one: Mapping[str, Any], x: Scale, y: Scale, *, markers: bool) -> str:
    drawn = []
    points = [(x(a), y(b)) for a, b in zip(one["x"], one["median"], strict=True)]
    if "low" in one:
        edges = [(x(a), y(b), y(c)) for a, b, c in zip(one["x"], one["low"], one["high"], strict=True)]
        for part in _parts([(a, b, c if math.isfinite(c) else _TOP) for a, b, c in edges]):
            outline = [(a, b) for a, b, _ in part] + [(a, c) for a, _, c in reversed(part)]
            drawn.append(f'<path class="band c{one["style"] % COLOURS}" d="{_path(outline)}Z"/>')
    line = "".join(_path(part) for part in _parts(points))
    drawn.append(f'<path {style(one["style"])} d="{line}"/>')
    colour = f"c{one['style'] % COLOURS}"
    if markers:
        for i, (a, b) in enumerate(points):
            if math.isfinite(a) and math.isfinite(b):
                ring = f'<circle class="ring {colour}" cx="{a:.1f}" cy="{b:.1f}" r="8"/>' if i == one["best"] else ""
                drawn.append(f'{ring}<circle class="dot {colour}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>')
    lost = [x(a) for a, b in zip(one["x"], one["median"], strict=True) if math.isinf(b) and math.isfinite(x(a))]
    crosses = lost if markers else lost[:1]
    drawn += [f'<path class="cross {colour}" d="M{a - 4:.1f} {_TOP - 14}l8 8m0 -8l-8 8"/>' for a in crosses]
    return "".join(drawn)


def _parts(points: Sequence[tuple[float, ...]]) -> list[list[tuple[float, ...]]]:
    """Where the points are finite."""
    found: list[list[tuple[float, ...]]] = [[]]
    for point in points:
        if all(map(math.isfinite, point)):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [part for part in found if part]


def _path(points: Sequence[tuple[float, ...]]) -> str:
    return "M" + "L".join(f"{point[0]:.1f} {point[1]:.1f}" for point in points)
