"""A timeline for the browser: one file with everything in it, to zoom into."""

import base64
import html
import importlib.resources
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jasgd.pictures._view import View, last_versions, view
from jasgd.pictures.jobs import KINDS
from jasgd.schedule import Schedule

_MOST_JOBS = 200_000  # by default


def zoomable(
    schedule: Schedule,
    path: str | os.PathLike[str],
    *,
    window: tuple[float, float] | None = None,
    workers: int | Sequence[int] | None = None,
) -> None:
    """Write a timeline that a browser opens, with or without a network, to zoom, to pan and to ask what a job was.

    It shows what :func:`timeline` shows, without a limit on workers. A job takes some 50 bytes.

    Args:
      schedule: who delivers what when.
      path: of the file, such as "timeline.html".
      window: begin and end in the schedule's clock; by default from the start until there have been 200 000 jobs.
      workers: how many, spread evenly, or a list of their numbers; by default all.

    Example:
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(3), 10)
      >>> jasgd.pictures.zoomable(schedule, tmp_path / "timeline.html")
    """
    shown = view(schedule, window, workers, most_workers=schedule.num_workers, most_jobs=_MOST_JOBS)
    page = importlib.resources.files("jasgd.pictures").joinpath("zoomable.html").read_text(encoding="utf-8")
    content = json.dumps(_content(schedule, shown)).replace("<", "\\u003c")  # nothing may end the script
    page = page.replace("SCHEDULE", content, 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(page.replace("<title>Timeline</title>", f"<title>{html.escape(shown.title)}</title>", 1))


def _content(schedule: Schedule, shown: View) -> dict[str, Any]:
    """What the page knows: jobs lane by lane, a lane being what holds one job at a time."""
    lane_of_row = np.cumsum(shown.tracks) - shown.tracks
    lane = lane_of_row[shown.row] + shown.track
    order = np.lexsort((shown.jobs.end, shown.jobs.start, lane))
    found, lanes = shown.jobs.where(order), int(shown.tracks.sum())
    row = np.repeat(np.arange(len(shown.workers)), shown.tracks)
    low, high = last_versions(schedule, shown)
    columns: dict[str, np.ndarray] = {
        "start": found.start,
        "end": found.end,
        "kind": found.kind,
        "job": found.job,
        "read": found.read,
        "made": found.made,
        "count": found.count.astype(np.int32),
        "lane_start": np.searchsorted(lane[order], np.arange(lanes + 1)).astype(np.int32),
        "lane_row": row.astype(np.int32),
        "lane_track": (np.arange(lanes) - lane_of_row[row]).astype(np.int32),
        "version_time": schedule.version_time[low : high + 1],
    }
    return {
        "title": shown.title,
        "unit": shown.unit,
        "begin": shown.begin,
        "end": shown.end,
        "workers": shown.workers.tolist(),
        "kinds": KINDS,
        "first_version": low,
        "columns": {name: _base64(column) for name, column in columns.items()},
    }


def _base64(column: np.ndarray) -> str:
    little = column.astype(column.dtype.newbyteorder("<"))
    return base64.b64encode(little.tobytes()).decode("ascii")
