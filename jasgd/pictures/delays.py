"""Who is how stale: the delays of every worker."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jasgd.pictures import _extra
from jasgd.schedule import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_ROWS = 60  # workers with a histogram each; more become bands of quantiles
_QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def delays(schedule: Schedule, axes: "Axes | None" = None) -> "Figure":
    """Draw the delays of every worker's gradients.

    Up to 60 workers have a histogram each, as a row of a heat map whose colour is the share of the worker's deliveries. Of
    more, the median and bands of quantiles are drawn against the worker's number. Workers that never deliver are counted in
    the title.

    Args:
      schedule: who delivers what when.
      axes: where to draw; by default on a new figure.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, exponent=1.0), 100)
      >>> jasgd.pictures.delays(schedule).axes[0].get_title(loc="left")
      'asynchronous: 100 deliveries, mean delay 3.83'
    """
    if not len(schedule):
        raise ValueError("an empty schedule has no delays to show.")
    axes = _extra.figure((8, 4.2)).subplots() if axes is None else axes
    (_heat_map if schedule.num_workers <= _MOST_ROWS else _bands)(axes, schedule)
    silent = schedule.num_workers - len(np.unique(schedule.worker))
    apart = f"; {silent} of {schedule.num_workers} workers never deliver" if silent else ""
    title = f"{schedule.protocol}: {len(schedule)} deliveries, mean delay {schedule.delay.mean():.3g}{apart}"
    axes.set_title(title, loc="left", fontsize=10)
    _extra.bare(axes)
    return axes.figure  # type: ignore[return-value]


def _heat_map(axes: Any, schedule: Schedule) -> None:
    n, largest = schedule.num_workers, int(schedule.delay.max())
    width = -(-(largest + 1) // 80)  # delays per column
    edges = np.arange(0, largest + 1 + width, width) - 0.5
    counts, _, _ = np.histogram2d(schedule.worker, schedule.delay, bins=(np.arange(n + 1) - 0.5, edges))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    image = axes.pcolormesh(edges, np.arange(n + 1) - 0.5, np.where(shares > 0, shares, np.nan), cmap="viridis_r", vmin=0)
    axes.figure.colorbar(image, ax=axes, label="share of the worker's deliveries", pad=0.02)
    every = max(1, -(-n // 20))
    axes.set(yticks=np.arange(0, n, every), ylim=(n - 0.5, -0.5), ylabel="worker")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("delay [server updates]" + (f", {width} per column" if width > 1 else ""))


def _bands(axes: Any, schedule: Schedule) -> None:
    n = schedule.num_workers
    order = np.lexsort((schedule.delay, schedule.worker))
    counts = np.bincount(schedule.worker, minlength=n)
    first, there = np.cumsum(counts) - counts, counts > 0
    bounds = []
    for quantile in _QUANTILES:
        place = first + np.floor(quantile * np.maximum(counts - 1, 0)).astype(np.int64)
        values = schedule.delay[order[np.minimum(place, len(order) - 1)]].astype(np.float64)
        bounds.append(np.where(there, values, np.nan))
    lowest, low, middle, high, highest = bounds
    worker = np.arange(n)
    axes.fill_between(worker, lowest, highest, color="#0072b2", alpha=0.15, lw=0, step="mid", label="all")
    axes.fill_between(worker, low, high, color="#0072b2", alpha=0.35, lw=0, step="mid", label="10 to 90 %")
    axes.step(worker, middle, color="#0072b2", lw=1.2, where="mid", label="median")
    axes.set(xlabel="worker", ylabel="delay [server updates]", xlim=(-0.5, n - 0.5), ylim=(0, None))
    axes.legend(frameon=False, fontsize=8)
