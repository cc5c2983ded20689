"""What the workers' time went into, over time."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.pictures import _extra
from jasgd.pictures._view import View, view
from jasgd.pictures.jobs import CANCELLED, DROPPED, LOST, NOT_KNOWN, UNDER_WAY, USED
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAYERS = {
    USED: ("used", "#0072b2", None),
    UNDER_WAY: ("under way at the end", "#a6cbe3", None),
    DROPPED: ("dropped on arrival", "#9a9a9a", "////"),
    CANCELLED: ("cancelled", "#e8a196", "xxxx"),
    LOST: ("between lost jobs, in part idle", "#c9b3dd", "...."),
    NOT_KNOWN: ("not known", "#eeeeee", None),
}


def utilisation(
    schedule: Schedule, axes: "Axes | None" = None, *, window: tuple[float, float] | None = None, bins: int = 200
) -> "Figure":
    """Draw how many jobs are in flight over time, stacked by what becomes of them; what is left is idle.

    Heights are means over a bin of time: worker seconds spent per second. The axis on the right is the share of the fleet.

    Args:
      schedule: who delivers what when.
      axes: where to draw; by default on a new figure.
      window: begin and end in the schedule's clock; by default all.
      bins: parts of the window.

    Example:
      >>> schedule = jasgd.protocols.m_synchronous(jasgd.fleet.power_law(6, exponent=1.0), 20, m=3)
      >>> figure = jasgd.pictures.utilisation(schedule)
      >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
      ['used, 33 %', 'cancelled, 50 %', 'idle, 17 %']
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ValueError(f"`bins` must be a positive whole number, got {bins!r}.")
    span = (0.0, float(schedule.time[-1])) if window is None and len(schedule) else window
    shown = view(schedule, span, None, most_workers=schedule.num_workers, most_jobs=0)
    axes = _extra.figure((9, 4)).subplots() if axes is None else axes
    edges = np.linspace(shown.begin, shown.end, bins + 1)
    layers = {kind: in_flight(shown, edges, kind) for kind in _LAYERS}
    n, below = schedule.num_workers, np.zeros(bins)
    for kind, (label, colour, hatch) in _LAYERS.items():
        if not layers[kind].any():
            continue
        top = below + layers[kind]
        name = f"{label}, {100 * layers[kind].mean() / n:.0f} %"
        axes.stairs(
            top, edges, baseline=below, fill=True, facecolor=colour, edgecolor="white", lw=0, hatch=hatch, label=name
        )
        below = top
    if not schedule.parallel:
        idle = max(0.0, 1 - below.mean() / n)  # rounding may leave less than nothing
        axes.stairs(np.full(bins, n), edges, baseline=below, fill=True, color="white", label=f"idle, {100 * idle:.0f} %")
        axes.axhline(n, color="#666666", lw=0.8, ls="--")
    axes.set(xlim=(shown.begin, shown.end), ylim=(0, 1.04 * max(n, below.max())), ylabel="jobs in flight")
    axes.set_xlabel(f"time [{shown.unit}]")
    share = axes.secondary_yaxis("right", functions=(_times(100 / n), _times(n / 100)))
    share.set_ylabel("of the fleet [%]")
    axes.set_title(shown.title, loc="left", fontsize=10)
    legend = _extra.legend_below(axes)
    for patch in legend.get_patches():
        patch.set(edgecolor="#666666", linewidth=0.5)
    axes.spines["top"].set_visible(False)
    return axes.figure  # type: ignore[return-value]


def _times(factor: float) -> Callable[[Any], Any]:
    return lambda value: value * factor


def in_flight(shown: View, edges: np.ndarray, kind: int) -> np.ndarray:
    """(bins,) mean number of jobs of a kind under way in each bin."""
    mine = shown.jobs.kind == kind
    start, end = np.sort(shown.jobs.start[mine]), np.sort(shown.jobs.end[mine])
    return np.diff(_seconds_since(start, edges) - _seconds_since(end, edges)) / np.diff(edges)


def _seconds_since(events: np.ndarray, times: np.ndarray) -> np.ndarray:
    """For every time the seconds since all events before it, added up."""
    before = np.searchsorted(events, times, side="right")
    total = np.concatenate([[0.0], np.cumsum(events)])
    return before * times - total[before]
