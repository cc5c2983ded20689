"""The ``jasgd`` command: which commands there are, and one place for errors and exit codes."""

import difflib
import importlib.util
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import jasgd
from jasgd.checkout import checkout, use_checkout
from jasgd.interrupts import Terminated, raising


class Command(NamedTuple):
    """A command: a line for people; the module, its dataclass of options, and its function of them."""

    does: str
    module: str
    options: str
    function: str


# In the order of a user's work.
COMMANDS = {
    "doctor": Command("Check the installation, the devices and the engine.", "jasgd.doctor", "DoctorCommand", "doctor"),
    "run": Command("Race asynchronous against synchronous SGD: a first result.", "jasgd.race", "RaceConfig", "race"),
    "schedule": Command(
        "Make a schedule or import a log, and look at it.", "jasgd.schedule_command", "ScheduleCommand", "schedule_command"
    ),
    "sweep": Command(
        "Simulate grids and seeds, from a configuration.", "jasgd.sweep_command", "SweepCommand", "sweep_command"
    ),
    "tune": Command("Search for the best method and its knobs.", "jasgd.tune.command", "TuneCommand", "tune_command"),
    "reproduce": Command(
        "Compute the figures of a paper and check its claims.", "jasgd.reproduce", "ReproduceCommand", "reproduce_command"
    ),
    "report": Command("Write an HTML page about stored results.", "jasgd.report.command", "ReportCommand", "report_command"),
    "bench": Command("Measure the engine against loops by hand.", "experiments.benchmarks.__main__", "Options", "main"),
    "completion": Command(
        "Print a script that lets TAB complete all this.", "jasgd.completion", "CompletionCommand", "completion"
    ),
}

_HELP = """\
Exact simulation of asynchronous SGD with many virtual workers.

usage: jasgd COMMAND [OPTIONS]

{commands}

Start with `jasgd doctor`, then `jasgd run`; `jasgd COMMAND --help` has options and examples.

  -h, --help     show this help
  --version      show the version

Results go to stdout, or with --json one JSON document; progress and errors go to stderr.

exit codes:
  0    done
  1    the job failed or was refused; a sentence on stderr says why
  2    the command line is wrong
  130  stopped by Ctrl-C; 143 by SIGTERM. What is kept is said, and how to go on

tab completion, once:
  bash  jasgd completion bash >> ~/.bashrc
  zsh   jasgd completion zsh > "${{fpath[1]}}/_jasgd"
  fish  jasgd completion fish > ~/.config/fish/completions/jasgd.fish
"""


def main() -> None:
    """Entry point of the ``jasgd`` command."""
    kinds = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
    before = {number: signal.signal(number, raising(kind)) for number, kind in kinds.items()}
    try:
        code = _run(sys.argv[1:])
    except KeyboardInterrupt as stop:
        said = "; ".join(["interrupted", *getattr(stop, "__notes__", [])])
        print(f"\njasgd: {said}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(143 if isinstance(stop, Terminated) else 130)  # XLA's threads, which may compile, would crash a slower end
    except BrokenPipeError:  # somebody reads no further: `jasgd ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if not is_for_users(error):
            raise
        hint = "; `jasgd doctor` says what to install" if isinstance(error, ModuleNotFoundError) else ""
        print(f"jasgd: {error}{hint}", file=sys.stderr)
        code = 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(code)


def is_for_users(error: Exception) -> bool:
    """Whether an error says all there is to say, so that nobody needs to see where it arose.

    That is so for what the system says about files and memory, for packages and devices that are missing, and for sentences
    that this project raises. All else is a bug.

    Example:
      >>> is_for_users(FileNotFoundError("no such file")), is_for_users(ZeroDivisionError("division by zero"))
      (True, False)
    """
    if isinstance(error, ModuleNotFoundError):
        return not (error.name or "").startswith("jasgd")
    if isinstance(error, OSError | MemoryError) or str(error).startswith("Unable to initialize backend"):
        return True
    if not isinstance(error, ValueError | TypeError | RuntimeError | ImportError):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    ours = frames and frames[-1].filename.startswith(_sources())
    return bool(ours) and (frames[-1].line or "").startswith("raise ")


def _sources() -> tuple[str, ...]:
    root = checkout()
    package = os.path.dirname(os.path.abspath(jasgd.__file__))
    return (package, *([str(root / "experiments")] if root else []))


def _run(arguments: Sequence[str]) -> int:
    name, *rest = arguments or [""]
    if name in ("", "-h", "--help", "help"):
        print(_help(), end="", file=sys.stdout if name else sys.stderr)
        return 0 if name else 2
    if name == "--version":
        print(f"jasgd {jasgd.__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `jasgd {near[0]}`?" if near else f"there are {', '.join(COMMANDS)}."
        print(f"jasgd: there is no command {name!r}; {hint}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("tyro") is None:
        if name != "doctor":  # who says what to install
            raise ImportError('the jasgd command needs its extra packages: pip install "jasgd[experiments]".')
        options, function = load(name)
        return function(options(json="--json" in rest)) or 0
    options, function = load(name)
    return function(parsed(name, options, rest)) or 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    return _HELP.format(commands="\n".join(f"  {name:<{width}}  {command.does}" for name, command in COMMANDS.items()))


def load(name: str) -> tuple[Any, Any]:
    """The options of a command, and its function of them.

    Example:
      >>> load("sweep")[0].__name__
      'SweepCommand'
    """
    command = COMMANDS[name]
    if command.module.startswith("experiments."):
        use_checkout(checkout(), "the benchmarks")
    module = importlib.import_module(command.module)
    return getattr(module, command.options), getattr(module, command.function)


def parsed(name: str, options: Any, arguments: Sequence[str]) -> Any:
    """The options with the values of a command line; says what is wrong with it, and ends with exit code 2.

    Example:
      >>> parsed("run", load("run")[0], ["--workers", "3"]).workers
      3
    """
    import tyro

    return tyro.cli(
        options, prog=f"jasgd {name}", description=inspect.getdoc(options), args=list(arguments), config=markers()
    )


def markers() -> tuple[Any, ...]:
    """How options become words: those without default by their place, those of a part without the name of the part.

    Example:
      >>> len(markers())
      3
    """
    from tyro import conf

    return conf.PositionalRequiredArgs, conf.OmitArgPrefixes, conf.OmitSubcommandPrefixes
