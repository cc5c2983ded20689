"""The tables, as Markdown for people and as JSON for everything else."""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.compare import Result
from experiments.benchmarks.device import Device
from experiments.benchmarks.measure import Spread
from jasgd.results import provenance

_RATES = ("engine", "limit", "as wide", "scan", "numpy", "torch")
_RATIOS = ("limit", "as wide", "scan", "numpy")
_HEADERS = ("case", "W", *_RATES, *(f"engine/{other}" for other in _RATIOS), "planning")
_BOUNDS = ("launches", "bytes", "arithmetic")
_OF_BOUNDS = ("launches/step", "launches", "kB", "MFLOP", *(f"µs of {name}" for name in _BOUNDS), "µs", "limit", "idle")


def about(*, repeats: int, quick: bool, device: Device | None = None) -> dict[str, str]:
    """Device, and what it does at best where that was measured; versions, date and settings of a measurement."""
    try:
        import torch

        version = str(torch.__version__)
    except ImportError:
        version = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    best = {}
    if device is not None:
        best = {
            "bandwidth": f"{device.bytes_per_second / 1e9:.3g} GB/s",
            "arithmetic": f"{device.operations_per_second / 1e9:.3g} GFLOP/s",
            "launch": f"{device.launch_seconds * 1e6:.3g} µs",
        }
    return provenance(
        repeats=repeats,
        quick=quick,
        torch=version,
        processor=_processor(),
        cores=cores,
        load=round(os.getloadavg()[0], 2),
        **best,
    )


def table(results: Sequence[Result], settings: Mapping[str, str]) -> str:
    """Medians over the rounds, in deliveries per second; ratios with smallest and largest value; then what limits them."""
    lines = [*_table(_HEADERS, [_row(result) for result in results]), ""]
    lines += [*_table(("case", "W", *_OF_BOUNDS), [_row_of_bounds(result) for result in results]), ""]
    lines += [f"{result.case.name}: {note}" for result in results for note in _notes(result)]
    lines += ["", "; ".join(f"{name} {value}" for name, value in settings.items())]
    return "\n".join(lines)


def document(
    results: Sequence[Result], device: Device, settings: Mapping[str, str], *, large: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything, for a JSON file."""
    cases = [dataclasses.asdict(result) for result in results]
    content = {"about": dict(settings), "device": dataclasses.asdict(device), "cases": cases}
    return content if large is None else {**content, "large": dict(large)}


def _row(result: Result) -> list[str]:
    rates = [_rate(result.rates.get(name), result.details.get(name, "")) for name in _RATES]
    ratios = [_ratio(result.ratios.get(name)) for name in _RATIOS]
    return [result.case.name, str(result.lanes), *rates, *ratios, f"{result.planning_seconds:.2f} s"]


def _row_of_bounds(result: Result) -> list[str]:
    """Of one gradient, but for the first column; the limit with its share of the measured time."""
    bounds, seconds = result.bounds, 1 / result.rates["engine"].median
    parts = [_micro(bounds.seconds[name]) for name in _BOUNDS]
    work = [
        f"{number:.3g}"
        for number in (bounds.launches_per_step, bounds.launches, bounds.bytes / 1e3, bounds.operations / 1e6)
    ]
    limit = f"{bounds.limit} {bounds.seconds[bounds.limit] / seconds:.0%}"
    idle = f"{result.idle.median:.1%} ({result.idle.low:.1%} to {result.idle.high:.1%})"
    return [result.case.name, str(result.lanes), *work, *parts, _micro(seconds), limit, idle]


def _notes(result: Result) -> list[str]:
    notes = list(result.notes)
    if "events" in result.ratios:
        speeds = f"event-driven engine on the same problem ({result.details['events']}), {result.case.speeds} speeds"
        notes.append(f"{_ratio(result.ratios['events'])} times the {speeds}: {_rate(result.rates['events'])}.")
    return notes


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(headers), _line("---" for _ in headers), *map(_line, rows)]


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(spread: Spread | None, detail: str = "") -> str:
    if spread is None:
        return "-"
    return f"{spread.median:,.0f}{f' ({detail})' if detail else ''}"


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:.3g}"


def _ratio(spread: Spread | None) -> str:
    return "-" if spread is None else f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def _processor() -> str:
    """The name of the host's processor, which JAX only calls cpu."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
