"""The table, as Markdown for people and as JSON for everything else."""

import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.compare import Result
from experiments.benchmarks.measure import Spread
from jasgd.results import provenance

_RATES = ("engine", "limit", "as wide", "scan", "numpy", "torch")
_RATIOS = ("limit", "as wide", "scan", "numpy")
_HEADERS = ("case", "W", *_RATES, *(f"engine/{other}" for other in _RATIOS), "planning")


def about(*, repeats: int, quick: bool) -> dict[str, str]:
    """Device, versions, date and settings of a measurement."""
    try:
        import torch

        version = str(torch.__version__)
    except ImportError:
        version = "not installed"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return provenance(
        repeats=repeats, quick=quick, torch=version, processor=_processor(), cores=cores, load=round(os.getloadavg()[0], 2)
    )


def table(results: Sequence[Result], settings: Mapping[str, str]) -> str:
    """Medians over the rounds, in deliveries per second; ratios with their smallest and largest value."""
    rows = [_row(result) for result in results]
    lines = [_line(_HEADERS), _line("---" for _ in _HEADERS), *map(_line, rows), ""]
    lines += [f"{result.case.name}: {note}" for result in results for note in _notes(result)]
    lines += ["", "; ".join(f"{name} {value}" for name, value in settings.items())]
    return "\n".join(lines)


def document(results: Sequence[Result], settings: Mapping[str, str], *, large: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything, for a JSON file."""
    content = {"about": dict(settings), "cases": [dataclasses.asdict(result) for result in results]}
    return content if large is None else {**content, "large": dict(large)}


def _row(result: Result) -> list[str]:
    rates = [_rate(result.rates.get(name), result.details.get(name, "")) for name in _RATES]
    ratios = [_ratio(result.ratios.get(name)) for name in _RATIOS]
    return [result.case.name, str(result.lanes), *rates, *ratios, f"{result.planning_seconds:.2f} s"]


def _notes(result: Result) -> list[str]:
    notes = list(result.notes)
    if "events" in result.ratios:
        speeds = f"event-driven engine on the same problem ({result.details['events']}), {result.case.speeds} speeds"
        notes.append(f"{_ratio(result.ratios['events'])} times the {speeds}: {_rate(result.rates['events'])}.")
    return notes


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(spread: Spread | None, detail: str = "") -> str:
    if spread is None:
        return "-"
    return f"{spread.median:,.0f}{f' ({detail})' if detail else ''}"


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
