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
