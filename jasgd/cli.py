"""The ``jasgd`` command."""

import dataclasses
import subprocess
import sys
from pathlib import Path

from jasgd.race import RaceConfig, race
from jasgd.report.command import ReportCommand, report_command
from jasgd.sweep_command import SweepCommand, sweep_command
from jasgd.tune.command import TuneCommand, tune_command


@dataclasses.dataclass(frozen=True)
class _Bench:
    """Measure the engine against bare gradients and hand-written loops; its own --help lists its options."""


def main() -> None:
    """Entry point of the ``jasgd`` command."""
    if sys.argv[1:2] == ["bench"]:
        sys.exit(_bench(sys.argv[2:]))
    try:
        import tyro
    except ImportError:
        sys.exit('the jasgd command needs its extra packages: pip install "jasgd[experiments]"')
    from jasgd.reproduce import ReproduceCommand, reproduce

    commands = {
        "run": RaceConfig,
        "sweep": tyro.conf.PositionalRequiredArgs[SweepCommand],
        "tune": tyro.conf.PositionalRequiredArgs[TuneCommand],
        "reproduce": ReproduceCommand,
        "report": tyro.conf.PositionalRequiredArgs[ReportCommand],
        "bench": _Bench,
    }
    description = "Exact simulation of asynchronous SGD with many virtual workers."
    config = tyro.extras.subcommand_cli_from_dict(commands, prog="jasgd", description=description)
    try:
        if isinstance(config, SweepCommand):
            sys.exit(sweep_command(config))
        if isinstance(config, ReproduceCommand):
            reproduce(config, checkout())
        elif isinstance(config, RaceConfig):
            race(config)
        elif isinstance(config, TuneCommand):
            tune_command(config)
        elif isinstance(config, ReportCommand):
            report_command(config)
        else:
            raise AssertionError("every command is handled above.")
    except (ValueError, RuntimeError, MemoryError, OSError, ImportError) as error:
        sys.exit(f"jasgd: {error}")
    except KeyboardInterrupt:
        sys.exit("jasgd: interrupted.")


def _bench(arguments: list[str]) -> int:
    root = checkout()
    if root is None:
        print("jasgd: the benchmarks live in a checkout of jasgd; run this command in one.", file=sys.stderr)
        return 1
    return subprocess.call([sys.executable, "-m", "experiments.benchmarks", *arguments], cwd=root)


def checkout() -> Path | None:
    """The checkout that this package belongs to, or the current folder if that is one.

    Example:
      >>> jasgd.cli.checkout() is None or (jasgd.cli.checkout() / "experiments").is_dir()
      True
    """
    for root in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (root / "experiments" / "benchmarks").is_dir() and (root / "jasgd").is_dir():
            return root
    return None
