"""matplotlib, where it is needed."""

from typing import Any


def figure(size: tuple[float, float]) -> Any:
    """An empty figure that belongs to nobody: it needs no window and no closing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('pictures need matplotlib: pip install "jasgd[experiments]".') from None
    return Figure(figsize=size, layout="constrained", dpi=110)


def bare(axes: Any) -> None:
    """No frame on the right and at the top."""
    axes.spines[["top", "right"]].set_visible(False)


def legend_below(axes: Any, **arguments: Any) -> Any:
    """A legend under the label of the axis of time, in a row."""
    from matplotlib.transforms import ScaledTranslation

    below = axes.transAxes + ScaledTranslation(0, -0.52, axes.figure.dpi_scale_trans)
    look = {"ncols": 4, "frameon": False, "fontsize": 8, "handlelength": 2.4, "handleheight": 1.2, "borderaxespad": 0}
    return axes.legend(loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, **look, **arguments)
