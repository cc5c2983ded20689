"""All evaluations of a search in one picture."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jasgd.tune.result import Result

_ABSENT = -0.16  # where a line goes that has no value on an axis


def parallel_coordinates(result: Result, path: os.PathLike[str] | str) -> None:
    """A line per evaluation through an axis per knob; where a knob is inactive the line drops below the axis, or ends.

    Example:
      >>> knobs = {"method": {"plain": {}, "heavy ball": {"momentum": {"low": 0.1, "high": 0.9}}}}
      >>> result = jasgd.tune.search(
      ...     lambda points: [p.get("momentum", 0.7) for p in points], jasgd.tune.space(knobs), budget=5, backend="random"
      ... )
      >>> parallel_coordinates(result, tmp_path / "search.png")
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "jasgd[experiments]".') from None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names = _axes(result)
    columns = [[evaluation.configuration.get(name) for evaluation in result.evaluations] for name in names]
    figure, axes = plt.subplots(figsize=(2.2 + 1.15 * len(names), 5), layout="constrained")
    heights = np.stack([_axis(axes, i, column) for i, column in enumerate(columns)], axis=1)
    for i, name in enumerate(names):
        axes.text(i, 1.04, name.replace("_", "\n"), ha="center", va="bottom", fontsize=9)
    values = np.array([evaluation.value for evaluation in result.evaluations])
    # The best half tells the colours apart; what is far off is all the same.
    norm = matplotlib.colors.Normalize(values.min(), max(np.median(values), values.min() + 1e-12))
    colours = matplotlib.colormaps["viridis"]
    for k in np.argsort(-values):
        _line(axes, heights[k], colours(norm(values[k])), 2.5 if k == np.argmin(values) else 0.9)
    scale = matplotlib.cm.ScalarMappable(norm, colours)
    figure.colorbar(scale, ax=axes, label="value (small is good)", extend="max", shrink=0.8, pad=0.02)
    if np.isnan(heights).any():
        axes.text(-0.1, _ABSENT, "inactive", ha="right", va="center", fontsize=9, color="#777777")
    axes.set(xlim=(-0.4, len(names) - 0.4), ylim=(_ABSENT - 0.05, 1.18))
    axes.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _axes(result: Result) -> list[str]:
    """Words that are always there first, then what most evaluations have."""
    count: dict[str, int] = {}
    words = set()
    for evaluation in result.evaluations:
        for name, value in evaluation.configuration.items():
            count[name] = count.get(name, 0) + 1
            if isinstance(value, str):
                words.add(name)
    everywhere = len(result.evaluations)
    return sorted(count, key=lambda name: (-count[name], name not in words if count[name] == everywhere else False))


def _axis(axes: Any, x: int, column: Sequence[Any]) -> np.ndarray:
    """Draw an axis; how high on it every value lies, NaN where there is none."""
    axes.plot([x, x], [0, 1], color="#444444", lw=1, zorder=3)
    there = [value for value in column if value is not None]
    if any(isinstance(value, str | bool) for value in there):
        ticks = sorted(set(map(str, there)))
        places = dict(zip(ticks, np.linspace(0, 1, len(ticks)) if len(ticks) > 1 else [0.5], strict=True))
        heights = np.array([np.nan if value is None else places[str(value)] for value in column])
        labels = [(height, name.replace("_", " ")) for name, height in places.items()]
    else:
        low, high = float(min(there)), float(max(there))
        log = low > 0 and high > 20 * low
        scaled = np.array([np.nan if value is None else float(value) for value in column])
        ends = np.array([low, high])
        scaled, ends = (np.log10(scaled), np.log10(ends)) if log else (scaled, ends)
        heights = (scaled - ends[0]) / (ends[1] - ends[0]) if high > low else scaled * 0 + 0.5
        labels = [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")] if high > low else [(0.5, f"{low:.3g}")]
    for height, label in labels:
        side = {"ha": "right"} if x == 0 else {"ha": "left"}
        axes.text(x + (0.06 if x else -0.06), height, label, va="center", fontsize=8, zorder=4, **side,
                  bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.5})  # fmt: skip
    return heights


def _line(axes: Any, heights: np.ndarray, colour: Any, width: float) -> None:
    """Whole where both ends have a value, faint where one has, nothing where none has."""
    for x in range(len(heights) - 1):
        ends = heights[x : x + 2]
        if np.isnan(ends).all():
            continue
        absent = np.isnan(ends).any()
        axes.plot([x, x + 1], np.where(np.isnan(ends), _ABSENT, ends), color=colour, lw=0.6 if absent else width,
                  ls=":" if absent else "-", alpha=0.7 if absent else 0.95, zorder=2)  # fmt: skip
    axes.scatter(np.arange(len(heights)), heights, s=10 * width, color=[colour], zorder=3)
