"""The jobs of ``jasgd schedule``: make a schedule or import a log, look at it, hand it to other viewers."""

import csv
import dataclasses
import io
import tomllib
from pathlib import Path
from typing import Any

from jasgd import pictures
from jasgd.output import listed, show
from jasgd.schedule import Schedule
from jasgd.sweep_config import Part, part_of, require_known

_RESULTS = Path("jasgd-results") / "schedule"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Make:
    """Compute the schedule of a protocol on a fleet, as a file names them or as the options do.

    For example: jasgd schedule make --fleet 'equal, num_workers=100' --protocol 'ringmaster, updates=500, threshold=20'
    """

    config: Path | None = None
    """A .toml file with a `protocol` and, if that takes one, a `fleet`: tables as in those of jasgd sweep."""
    fleet: str | None = None
    """A function of jasgd.fleet and its arguments, as in the example."""
    protocol: str | None = None
    """A function of jasgd.protocols and its arguments."""
    out: Path | None = None
    """The .npz file to write; by default jasgd-results/schedule/PROTOCOL.npz."""
    json: bool = False
    """Print one JSON document instead of words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """Make a schedule of a real cluster's log: a .csv file with the columns worker, start, finish, and maybe version.

    For example: jasgd schedule import log.csv --out cluster.npz
    """

    log: Path
    """One line per gradient, in any order, seconds from the start."""
    out: Path | None = None
    """The .npz file to write; by default jasgd-results/schedule/NAME OF THE LOG.npz."""
    json: bool = False
    """Print one JSON document instead of words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """Print delays, load, lost work and what a simulation will need.

    For example: jasgd schedule summary ringmaster.npz
    """

    schedule: Path
    """The .npz file."""
    json: bool = False
    """Print one JSON document instead of words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Show:
    """Draw a schedule: its timeline, its delays, its utilisation, and a timeline to zoom into with a browser.

    For example: jasgd schedule show ringmaster.npz --window 0 20
    """

    schedule: Path
    """The .npz file."""
    window: tuple[float, float] | None = None
    """Begin and end of the time to draw; by default as much as is readable, and what was left out is said."""
    workers: int | None = None
    """How many workers the timelines show, from the first to the last; by default as many as are readable."""
    out: Path | None = None
    """Folder for the pictures; by default jasgd-results/schedule/NAME OF THE FILE."""
    json: bool = False
    """Print one JSON document instead of words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """Write a trace that https://ui.perfetto.dev and chrome://tracing open.

    For example: jasgd schedule trace ringmaster.npz --window 0 100 --out trace.json.gz
    """

    schedule: Path
    """The .npz file."""
    window: tuple[float, float] | None = None
    """Begin and end; by default all. 100 000 deliveries take 74 MB, 8 MB compressed."""
    workers: int | None = None
    """How many workers, from the first to the last; by default all."""
    out: Path | None = None
    """The file to write, compressed if it ends in .gz; by default jasgd-results/schedule/NAME OF THE FILE/trace.json.gz."""
    json: bool = False
    """Print one JSON document instead of words."""


@dataclasses.dataclass(frozen=True)
class ScheduleCommand:
    """Make a schedule, import one from a log, summarise it, draw it, or write a trace of it.

    Examples:
      jasgd schedule make --fleet 'equal, num_workers=4' --protocol 'asynchronous, updates=40' --out four.npz
      jasgd schedule show four.npz
    """

    job: Make | Import | Summary | Show | Trace


def schedule_command(command: ScheduleCommand) -> None:
    """Run the command.

    Example:
      >>> out = tmp_path / "ring.npz"
      >>> make = Make(fleet="equal, num_workers=4", protocol="ringmaster, updates=20, threshold=2", out=out)
      >>> schedule_command(ScheduleCommand(make))  # doctest: +ELLIPSIS
      20 gradients in 20 updates by 2 of 4 workers, 10 s
      ...
    """
    job = command.job
    if isinstance(job, Make):
        schedule = _made(job)
        _save(schedule, job.out or _RESULTS / f"{schedule.protocol}.npz", job.json)
    elif isinstance(job, Import):
        _save(_imported(job.log), job.out or _RESULTS / f"{job.log.stem}.npz", job.json)
    elif isinstance(job, Summary):
        summary = Schedule.load(job.schedule).summary()
        show(str(summary), {"summary": summary}, as_json=job.json)
    elif isinstance(job, Trace):
        out = job.out or _RESULTS / job.schedule.stem / "trace.json.gz"
        _folder(out.parent)
        pictures.trace(Schedule.load(job.schedule), out, window=job.window, workers=job.workers)
        to_open = "to open  https://ui.perfetto.dev or chrome://tracing"
        show(f"{listed(trace=out)}\n{to_open}", {"files": {"trace": out}}, as_json=job.json)
    else:
        _show(Schedule.load(job.schedule), job)


def _save(schedule: Schedule, path: Path, as_json: bool) -> None:
    _folder(path.parent)
    schedule.save(path)
    summary, where = schedule.summary(), listed(schedule=path, to_draw=f"jasgd schedule show {path}")
    show(f"{summary}\n\n{where}", {"summary": summary, "files": {"schedule": path}}, as_json=as_json)


def _show(schedule: Schedule, command: Show) -> None:
    folder = _folder(command.out or _RESULTS / command.schedule.stem)
    files = {name: folder / f"{name}.png" for name in ("timeline", "delays", "utilisation")}
    files["to_zoom"] = folder / "timeline.html"
    timeline = pictures.timeline(schedule, window=command.window, workers=command.workers)
    timeline.savefig(files["timeline"])
    pictures.delays(schedule).savefig(files["delays"])
    pictures.utilisation(schedule, window=command.window).savefig(files["utilisation"])
    pictures.zoomable(schedule, files["to_zoom"], window=command.window, workers=command.workers)
    summary, shown = schedule.summary(), timeline.axes[0].get_title(loc="left").replace("\n", "; ")
    text = f"{summary}\n\n{listed(**files)}\n\ntimeline.png shows {shown}"
    show(text, {"summary": summary, "timeline": shown, "files": files}, as_json=command.json)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _made(command: Make) -> Schedule:
    if command.config is None:
        if command.protocol is None:
            raise ValueError("give a `--protocol`, and a `--fleet` if it takes one, or a .toml file with `--config`.")
        tables: dict[str, Any] = {"protocol": inline_table(command.protocol)}
        tables |= {} if command.fleet is None else {"fleet": inline_table(command.fleet)}
    else:
        if command.protocol is not None or command.fleet is not None:
            raise ValueError("give `--config` or `--fleet` and `--protocol`, not both.")
        tables = _read(command.config)
    require_known(tables, ("fleet", "protocol"), "there is no key")
    if "protocol" not in tables:
        raise ValueError("there is no `protocol`.")
    protocol = part_of("protocol", tables["protocol"])
    if protocol.takes_fleet != ("fleet" in tables):
        raise ValueError(f"the protocol {protocol.name!r} {'needs a' if protocol.takes_fleet else 'takes no'} `fleet`.")
    made: Schedule = _call(protocol, **({"fleet": _call(part_of("fleet", tables["fleet"]))} if protocol.takes_fleet else {}))
    return made


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{config} is not TOML: {error}.") from None


def _call(part: Part, **others: Any) -> Any:
    part.require_complete(())
    return part.make({}, **others)


def inline_table(text: str) -> dict[str, Any]:
    """A name and arguments as they stand in a TOML table.

    Example:
      >>> inline_table("power_law, num_workers=100, exponent=0.5")
      {'name': 'power_law', 'num_workers': 100, 'exponent': 0.5}
    """
    name, _, arguments = text.partition(",")
    table = text if "=" in name else f'name = "{name.strip()}", {arguments}'
    try:
        return dict(tomllib.loads(f"table = {{ {table.strip().rstrip(',')} }}")["table"])
    except tomllib.TOMLDecodeError as error:
        raise ValueError(
            f"expected a name and arguments, such as 'power_law, num_workers=100, exponent=0.5', got {text!r} ({error})."
        ) from None


def _imported(log: Path) -> Schedule:
    try:
        text = log.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{log} is no text; a log is a .csv file with the columns worker, start and finish.") from None
    with io.StringIO(text, newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if not {"worker", "start", "finish"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{log} must have the columns worker, start and finish, got {reader.fieldnames}.")
        names = {"worker": int, "start": float, "finish": float} | (
            {"version": int} if "version" in (reader.fieldnames or ()) else {}
        )
        columns: dict[str, Any] = {name: [] for name in names}
        for row in reader:
            try:
                if None in row:
                    raise ValueError
                for name, kind in names.items():
                    columns[name].append(kind(row[name]))
            except (TypeError, ValueError):
                raise ValueError(
                    f"{log}, line {reader.line_num}: expected one number for each of {', '.join(reader.fieldnames or ())}, "
                    f"got {', '.join(map(str, [*(v for n, v in row.items() if n), *(row.get(None) or [])]))}."
                ) from None
    try:
        return Schedule.from_events(**columns)
    except ValueError as error:
        raise ValueError(f"{log}: {error}") from error
