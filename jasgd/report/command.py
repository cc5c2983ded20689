"""The job of ``jasgd report``: one page that shows stored results."""

import dataclasses
from pathlib import Path

from jasgd.output import listed, show
from jasgd.report.write import write


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write one HTML page about stored results, with charts to explore; it needs no network and can be sent as it is.

    Examples:
      jasgd report jasgd-results/run/race.nc
      jasgd report jasgd-results/three_methods/results.nc --title "Three methods" --out three.html
    """

    results: tuple[Path, ...]
    """Files of run, sweep, tune and reproduce: .nc and evaluations.json; several are shown together."""
    out: Path = Path("report.html")
    """Where the page goes."""
    title: str | None = None
    """Of the page; by default the names of the results."""
    each: tuple[str, ...] = ()
    """Names of a grid whose values are shown side by side; out of those of all others the best are chosen."""
    metric: str | None = None
    """What is small at the best values; by default the gap, or the loss."""
    json: bool = False
    """Print one JSON document instead of words."""


def report_command(command: ReportCommand) -> None:
    """Run the command.

    Example:
      >>> history = {"version": [0, 10], "time": [0.0, 2.5], "loss": [1.0, 0.5]}
      >>> run = jasgd.results.to_dataset(history, jasgd.results.provenance())
      >>> jasgd.results.save_dataset(run, tmp_path / "run.nc")
      >>> report_command(ReportCommand(results=(tmp_path / "run.nc",), out=tmp_path / "page.html"))  # doctest: +ELLIPSIS
      page  ...page.html
    """
    out = write(command.results, command.out, title=command.title, each=command.each, metric=command.metric)
    show(listed(page=out), {"files": {"page": out}}, as_json=command.json)
