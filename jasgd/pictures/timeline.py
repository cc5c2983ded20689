"""The timeline of a fleet: a row per worker, a bar per job."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.pictures import _extra
from jasgd.pictures._view import View, view
from jasgd.pictures.jobs import CANCELLED, DROPPED, LOST, NOT_KNOWN, UNDER_WAY, USED
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_WORKERS, _MOST_JOBS = 40, 400  # by default
_MOST_ARROWS, _MOST_TICKS = 60, 200

STYLES: dict[int, tuple[str, dict[str, Any]]] = {
    DROPPED: ("dropped on arrival", {"facecolor": "#ffffff", "edgecolor": "#6b6b6b", "hatch": "/////"}),
    CANCELLED: ("cancelled", {"facecolor": "#ffffff", "edgecolor": "#d0776c", "hatch": "xxxx"}),
    LOST: ("lost, when is not known", {"facecolor": "#ffffff", "edgecolor": "#8e6bb0", "hatch": "....."}),
    UNDER_WAY: ("still under way at the end", {"facecolor": "#d7e3ec", "edgecolor": "#9db3c2"}),
    NOT_KNOWN: ("not known", {"facecolor": "#f4f4f4", "edgecolor": "#dddddd"}),
}


def timeline(
    schedule: Schedule,
    axes: "Axes | None" = None,
    *,
    window: tuple[float, float] | None = None,
    workers: int | Sequence[int] | None = None,
) -> "Figure":
    """Draw who computed what when, and what became of it.

    A bar is a job, from its start to the use of its result, coloured by the delay of its gradient. Work that was dropped or
    cancelled is hatched, jobs still under way at the end are pale, and a worker without a bar is idle. Where it is known how
    many jobs were lost between two others but not when they ended, they are one hatched bar with their number. On top, the
    server: an arrow goes from the version that a job read to the version that its gradient became part of, once per pair
    that is in the window. Arrows are left out when there are more than 60, and the versions' marks when there are more than
    200. The title says what is shown and what not.

    Args:
      schedule: who delivers what when.
      axes: where to draw; by default on a new figure.
      window: begin and end in the schedule's clock; by default from the start until the workers shown have had 400 jobs.
      workers: how many, spread evenly from the first to the last, or a list of their numbers; by default 40, or all if
        there are fewer.

    Returns:
      The figure; ``figure.savefig(path)`` writes it.

    Example:
      >>> schedule = jasgd.protocols.ringmaster(jasgd.fleet.power_law(6, exponent=1.0), 20, threshold=3, stop=True)
      >>> jasgd.pictures.timeline(schedule, window=(0, 6)).axes[0].get_title(loc="left")
      'ringmaster: all 6 workers, 0 to 6 of 14 s, 9 of 20 deliveries'
    """
    shown = view(schedule, window, workers, most_workers=_MOST_WORKERS, most_jobs=_MOST_JOBS)
    if axes is None:
        axes = _extra.figure((11, 2.6 + 0.26 * max(len(shown.workers), 6))).subplots()
    _bars(axes, shown)
    notes = _server(axes, schedule, shown)
    _frame(axes, shown, notes)
    return axes.figure  # type: ignore[return-value]


def _bars(axes: Any, shown: View) -> None:
    from matplotlib.collections import PolyCollection

    found = shown.jobs
    height = 0.84 / shown.tracks[shown.row]
    top = shown.row - 0.42 + shown.track * height
    bottom, left, right = top + height * 0.98, np.maximum(found.start, shown.begin), np.minimum(found.end, shown.end)
    # Hatched bars side by side need a gap to be told apart.
    right = np.where(found.kind == USED, right, right - np.minimum(0.003 * (shown.end - shown.begin), 0.3 * (right - left)))
    corners = np.stack([[left, top], [right, top], [right, bottom], [left, bottom]], axis=0).transpose(2, 0, 1)
    used = found.kind == USED
    bars = PolyCollection(corners[used], cmap="viridis_r", edgecolors="white", linewidths=_line_width(shown))
    bars.set_array(found.delay[used])
    bars.set_clim(0, max(1, int(found.delay.max(initial=0))))
    axes.add_collection(bars)
    for kind, (_, style) in STYLES.items():
        axes.add_collection(PolyCollection(corners[found.kind == kind], linewidths=_line_width(shown), **style))
    for k in np.flatnonzero(found.kind == LOST).tolist():
        _write(axes, shown, k, f"{found.count[k]} job" + "s" * (found.count[k] > 1), "#5b3f78", "#ffffff")
    if used.sum() <= 120:
        for k in np.flatnonzero(used).tolist():
            share = found.delay[k] / bars.get_clim()[1]
            _write(axes, shown, k, f"{found.read[k]}→{found.made[k]}", "white" if share > 0.45 else "#222222", None)
    room = axes.inset_axes((1.01, 0, 0.14 / axes.figure.get_figwidth(), 1))
    bar = axes.figure.colorbar(bars, cax=room, label="delay [server updates]")
    bar.locator = _whole_numbers()
    bar.update_ticks()


def _line_width(shown: View) -> float:
    return 0.6 if len(shown.jobs) <= 1500 else 0.0


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(integer=True, nbins=6)


def _write(axes: Any, shown: View, k: int, text: str, colour: str, box: str | None) -> None:
    """A word in the middle of a bar, if there is room for it."""
    left, right = max(shown.jobs.start[k], shown.begin), min(shown.jobs.end[k], shown.end)
    if right - left < 0.011 * len(text) * (shown.end - shown.begin) or shown.tracks[shown.row[k]] > 1:
        return
    frame = None if box is None else {"facecolor": box, "edgecolor": "none", "pad": 1}
    axes.text((left + right) / 2, shown.row[k], text, ha="center", va="center", fontsize=7, color=colour, bbox=frame)


def _server(axes: Any, schedule: Schedule, shown: View) -> list[str]:
    """The server's line above the workers: marks where versions are made, arrows over it; what had to be left out."""
    made, found = schedule.version_time, shown.jobs
    versions = np.flatnonzero((made >= shown.begin) & (made <= shown.end))
    used = found.kind == USED
    pairs = np.unique(np.stack([found.read[used], found.made[used]], axis=1), axis=0)
    pairs = pairs[(made[pairs[:, 0]] >= shown.begin) & (made[pairs[:, 1]] <= shown.end)]
    line, notes = -1.0, []
    axes.plot([shown.begin, shown.end], [line, line], color="#333333", lw=1)
    if len(versions) <= _MOST_TICKS:
        axes.plot(made[versions], np.full(len(versions), line), "o", color="#333333", ms=2.5)
        room = -np.inf  # a number only where the one before it leaves room
        for version in versions.tolist():
            if made[version] - room >= 0.009 * (1 + len(str(version))) * (shown.end - shown.begin):
                axes.text(made[version], line + 0.12, str(version), ha="center", va="top", fontsize=6, color="#333333")
                room = made[version]
    else:
        notes.append(f"the marks of {len(versions)} versions")
    if len(pairs) <= _MOST_ARROWS:
        _arrows(axes, made, pairs, line, axes.collections[0])
    else:
        notes.append(f"{len(pairs)} arrows from the version read to the one made")
    return notes


def _arrows(axes: Any, made: np.ndarray, pairs: np.ndarray, line: float, bars: Any) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    high = float(np.max(pairs[:, 1] - pairs[:, 0], initial=1))
    for read, to in pairs.tolist():
        left, right, rise = made[read], made[to], line - 0.5 - 3.6 * (to - read) / high
        curve = Path(
            [(left, line - 0.1), ((left + right) / 2, rise), (right, line - 0.1)], [Path.MOVETO, Path.CURVE3, Path.CURVE3]
        )
        colour = bars.cmap(bars.norm(to - 1 - read))
        axes.add_patch(
            FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=7, color=colour, lw=0.9, shrinkA=0, shrinkB=0)
        )


def _frame(axes: Any, shown: View, notes: list[str]) -> None:
    from matplotlib.patches import Patch

    rows = len(shown.workers)
    every = max(1, -(-rows // 25))
    place = np.arange(0, rows, every)
    axes.set_yticks([-1, *place], ["server", *shown.workers[place].tolist()], fontsize=8)
    tall = any(type(patch).__name__ == "FancyArrowPatch" for patch in axes.patches)
    axes.set(xlim=(shown.begin, shown.end), ylim=(rows - 0.4, -3.4 if tall else -1.6))
    axes.set_xlabel(f"time [{shown.unit}]")
    axes.set_ylabel("worker")
    left_out = f"\nleft out: {' and '.join(notes)}" if notes else ""
    axes.set_title(shown.title + left_out, loc="left", fontsize=10)
    handles = [Patch(label=label, **style) for kind, (label, style) in STYLES.items() if np.any(shown.jobs.kind == kind)]
    if handles:
        _extra.legend_below(axes, handles=handles)
    _extra.bare(axes)
