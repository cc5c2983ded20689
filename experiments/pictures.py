"""What the pictures share: colours, frame and caption, curves with bands over seeds, smoothing."""

import contextlib
import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.results import band

if TYPE_CHECKING:
    import xarray

# Okabe and Ito's, which also the colour-blind tell apart; no yellow, which is too light for lines.
BLUE, RED, GREEN, PINK, ORANGE, SKY, BLACK, GREY = COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f",
)  # fmt: skip


@contextlib.contextmanager
def picture(
    path: Path, caption: str, *, rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None, **arguments: Any
) -> Iterator[Any]:
    """Panels to draw on, a (rows, columns) array or one alone; afterwards with caption and legends in the file."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    size = size or (5 * columns, 3.6 * rows + 0.8)
    figure, panels = plt.subplots(rows, columns, figsize=size, layout="constrained", **arguments)
    try:
        yield panels
        for axes in np.ravel(panels):
            axes.spines[["top", "right"]].set_visible(False)
            if axes.get_legend_handles_labels()[0] and axes.get_legend() is None:
                axes.legend(frameon=False, fontsize=8)
        lines = textwrap.fill(" ".join(caption.split()), width=int(13.5 * size[0]))
        figure.supxlabel(lines, fontsize=8, color="#444444")
        whole = io.BytesIO()
        figure.savefig(whole, dpi=100)
        Image.open(whole).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size
    finally:
        plt.close(figure)


def curve(axes: Any, x: Any, values: "xarray.DataArray", *, colour: str, label: str, style: str = "-") -> None:
    """The median over ``seed`` as a line, the interquartile band as a shade."""
    shown = band(values)
    axes.plot(x, shown["median"], style, color=colour, lw=1.3, label=label)
    axes.fill_between(x, shown["low"], shown["high"], color=colour, alpha=0.2, lw=0)


def log_average(values: "xarray.DataArray", *, along: str, points: int) -> "xarray.DataArray":
    """Moving geometric mean, over fewer points at the ends; it hides noise, so a caption must say so."""
    means = np.log(values).rolling({along: points}, center=True, min_periods=1).mean()
    return np.exp(means)
