"""The job of ``jasgd report``: one page that shows stored results."""

import dataclasses
from pathlib import Path

from jasgd.report.write import write


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportCommand:
    """Write one HTML page about stored results, with charts to explore; it needs no network and can be sent as it is."""

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


def report_command(command: ReportCommand) -> None:
    """Run the command.

    Example:
      >>> problem, schedule = jasgd.problems.quadratic(dim=4), jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 8)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0))
      >>> jasgd.results.save_dataset(run.to_dataset(), tmp_path / "run.nc")
      >>> report_command(ReportCommand(results=(tmp_path / "run.nc",), out=tmp_path / "page.html"))  # doctest: +ELLIPSIS
      page     ...page.html
    """
    out = write(command.results, command.out, title=command.title, each=command.each, metric=command.metric)
    print(f"page     {out}")
