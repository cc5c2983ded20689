"""The job of ``jasgd sweep``: several sweeps from a configuration, in one or several processes, into one labelled file."""

import contextlib
import dataclasses
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jasgd.heard import ask_to_save, hear
from jasgd.hosts import from_first, use_all_cores
from jasgd.interrupts import Terminated
from jasgd.output import listed, show, to_go_on
from jasgd.peers import Peers
from jasgd.progress import progress_bar
from jasgd.results import band, best, final, labels, save_datasets
from jasgd.sweep_changes import change
from jasgd.sweep_config import read_config, with_line
from jasgd.sweeps import plan_sweep

if TYPE_CHECKING:
    import xarray

_NOTICED = 5.0  # seconds within which it is known which process is gone, once an operation with it has failed
_SAVING = 8.0  # seconds that the main thread has for a last checkpoint; process 0 waits longer for the others to leave
_ENDING, _SAVED = threading.Lock(), threading.Event()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """Simulate the grids and seeds of a configuration, into one labelled file.

    What is finished is kept, and of the rest a checkpoint: the same command goes on after Ctrl-C, a kill or a crash.

    Examples:
      jasgd sweep experiments/sweep_example/three_methods.toml
      jasgd sweep experiments/sweep_example/different_data.py --out here --devices 1 --json
      jasgd sweep study.toml --coordinator 10.0.0.1:5000 --processes 2 --process 0
    """

    config: Path
    """A .toml file, or a .py file with a function sweeps() that returns {label: arguments of jasgd.sweep}."""
    out: Path | None = None
    """Folder for the result and for what is needed to go on; by default jasgd-results/NAME OF THE CONFIGURATION."""
    devices: int | None = None
    """How many devices of each process to use; by default all, where every core of a CPU counts as one."""
    save_every: float = 60.0
    """Seconds of real time between checkpoints."""
    coordinator: str | None = None
    """HOST:PORT of process 0, if several processes share the work; all need the same configuration."""
    processes: int | None = None
    """How many processes there are, with --coordinator."""
    process: int | None = None
    """Which of them this one is, from 0, with --coordinator."""
    distributed: bool = False
    """Several processes, which find each other by the variables of the cluster (Slurm, MPI and others)."""
    progress: bool = True
    """Show a progress bar."""
    json: bool = False
    """Print one JSON document instead of a table."""


def sweep_command(command: SweepCommand) -> int:
    """Run the command; returns the exit code. Errors of a single process are the caller's, who prints one sentence.

    Example:
      >>> config = tmp_path / "two.toml"
      >>> _ = config.write_text('''
      ... seeds = 3
      ... key = 0
      ... problem = {name = "quadratic", dim = 10}
      ... fleet = {name = "equal", num_workers = 4}
      ... [[sweep]]
      ... label = "asynchronous"
      ... protocol = {name = "asynchronous", updates = 100}
      ... rule = {name = "sgd"}
      ... grid = {learning_rate = [0.01, 0.1]}
      ... ''')
      >>> command = SweepCommand(config=config, out=tmp_path / "result", devices=1, progress=False)
      >>> sweep_command(command)  # doctest: +ELLIPSIS
                      runs  diverged  best               final loss (median, interquartile band)
      asynchronous       6         0  learning_rate=0.1  ...
      0
    """
    _check(command)
    kept = to_go_on(f"what is finished is kept in {_folder(command)}")
    peers = Peers(lambda why: _end(f"{why}, so this one ends too; {kept}", 1, peers, why))
    try:
        _connect(command, peers, lambda number: os._exit(_end(f"interrupted; {kept}", 128 + number, peers)))
        _run(command)
    except KeyboardInterrupt as stop:
        return _end(f"interrupted; {kept}", 143 if isinstance(stop, Terminated) else 130, peers)
    except (ValueError, RuntimeError, MemoryError, OSError, ImportError) as error:
        if not jax.distributed.is_initialized():
            raise
        if any(word in str(error).lower() for word in ("gloo", "nccl", "coordination", "peer")):
            time.sleep(_NOTICED)
            return _end(f"another process has ended, so this one ends too ({str(error).splitlines()[0]}); {kept}", 1, peers)
        return _end(str(error), 1, peers)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        return _end("this process has failed, see above.", 1, peers)
    return _leave(0, peers, None)


def _check(command: SweepCommand) -> None:
    given = [command.coordinator, command.processes, command.process]
    if any(value is not None for value in given) and (None in given or command.distributed):
        raise ValueError("give `--coordinator`, `--processes` and `--process` together, or `--distributed` alone.")
    host, _, port = (command.coordinator or "host:0").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"`--coordinator` must be HOST:PORT, got {command.coordinator!r}.")
    if command.processes is not None and not 0 <= (command.process or 0) < command.processes:
        raise ValueError(f"`--process` must lie between 0 and {command.processes - 1}, got {command.process}.")
    if command.process == 0:  # JAX would crash
        try:
            socket.create_server(("", int(port))).close()
        except OSError as error:
            raise OSError(f"port {port} of `--coordinator` cannot be used: {error}.") from error
    if command.devices is not None and command.devices < 1:
        raise ValueError(f"`--devices` must be a positive number, got {command.devices}.")
    if not command.save_every >= 0:
        raise ValueError(f"`--save-every` must not be negative, got {command.save_every}.")


def _connect(command: SweepCommand, peers: Peers, stopped: Callable[[int], object]) -> None:
    """Settings that JAX takes only before it starts; all processes find each other."""
    use_all_cores(command.devices)
    if not command.distributed and command.coordinator is None:
        return
    # Without these a process whose peer dies aborts with a page of C++, and one that gets SIGTERM does not hear of it.
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)
    hear(stopped)
    # Gloo prints to stdout; only the table belongs there.
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        jax.distributed.initialize(
            coordinator_address=command.coordinator,
            num_processes=command.processes,
            process_id=command.process,
        )
    except ValueError as error:
        raise ValueError(f"the processes cannot find each other ({error}); try `--coordinator`.") from error
    here = socket.create_server(("", 0))
    host = socket.gethostname() if command.coordinator is None else command.coordinator.rpartition(":")[0]
    host, port = from_first((host, here.getsockname()[1]))
    if jax.process_index() == 0:
        peers.wait_for(here, jax.process_count() - 1)
    else:
        here.close()
        peers.join(host, port, jax.process_index())


def _run(command: SweepCommand) -> None:
    configuration, text = read_config(command.config), command.config.read_text()
    folder, first = _folder(command), jax.process_index() == 0
    if first and command.config.suffix == ".toml":
        _require_growth(folder / "results.nc", command.config, text)
    devices = jax.local_devices()[: command.devices]
    if command.devices is not None and len(devices) < command.devices:
        raise ValueError(f"this process has {len(devices)} devices, not {command.devices}.")
    if from_first((text, len(devices))) != (text, len(devices)):
        raise ValueError("all processes need the same configuration and as many devices as process 0.")
    planned = {}
    for label, arguments in configuration.items():
        with _named(label, command.config):
            planned[label] = plan_sweep(**arguments, devices=devices, resume=folder / label, save_every=command.save_every)
    found = {}
    with progress_bar(sum(sweep.deliveries for sweep in planned.values()), first and command.progress) as bar:
        for label, sweep in planned.items():
            bar.set_description(label)
            with _named(label, command.config):
                found[label] = sweep.compute(bar)
    if first:
        path = folder / "results.nc"
        save_datasets(found, path, {"configuration": text})
        files = listed(result=path, to_open=f"xarray.open_datatree({str(path)!r})")
        summary = _summary(found)
        show(f"{_table(summary)}\n\n{files}", {"sweeps": summary, "files": {"result": path}}, as_json=command.json)
    from_first(None)  # nobody ends before the result is written


def _require_growth(path: Path, config: Path, text: str) -> None:
    """Results of a configuration are replaced by those of one that has them all."""
    if not path.exists():
        return
    with contextlib.suppress(OSError), labels().open_dataset(path, engine="h5netcdf") as file:
        if (found := change(file.attrs.get("configuration", text), text)) is not None:
            raise ValueError(
                f"{path} holds the results of an earlier {config.name}, in which {found}; give another `--out`, or remove "
                "that file."
            )


@contextlib.contextmanager
def _named(label: str, config: Path) -> Iterator[None]:
    """Say which sweep of the configuration an error is about."""
    try:
        yield
    except Exception as error:
        if isinstance(better := with_line(error, config), ValueError):
            raise ValueError(f"{config}: {label}: {better}") from error
        raise


def _folder(command: SweepCommand) -> Path:
    return Path("jasgd-results") / command.config.stem if command.out is None else command.out


def _summary(found: Mapping[str, "xarray.Dataset"]) -> dict[str, dict[str, Any]]:
    """Of every sweep: runs, how many diverged, the best point and its last losses; no point if most runs diverge at all."""
    sweeps = {}
    for label, dataset in found.items():
        dims = [str(dim) for dim in dataset["diverged"].dims if dim != "seed"]
        chosen = best(dataset, over=dims) if dims else dataset
        losses = band(final(chosen))
        names = [str(name) for name, c in dataset.coords.items() if set(c.dims) & set(dims) and set(c.dims) <= set(dims)]
        loss = {name: float(losses[name]) for name in ("median", "low", "high")}
        diverged = dataset["diverged"]
        sweeps[label] = {
            "runs": diverged.size,
            "diverged": int(diverged.sum()),
            "best": {name: chosen[name].item() for name in names} if loss["median"] < np.inf else None,
            "final_loss": loss,
        }
    return sweeps


def _table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [("", "runs", "diverged", "best", "final loss (median, interquartile band)")]
    for label, sweep in summary.items():
        point, shown = "-", "most runs diverge at every point"
        if sweep["best"] is not None:
            point = ", ".join(f"{name}={_short(value)}" for name, value in sweep["best"].items()) or "-"
            shown = "{median:.4g} ({low:.4g} to {high:.4g})".format(**sweep["final_loss"])
        rows.append((label, str(sweep["runs"]), str(sweep["diverged"]), point, shown))
    a, b, c, d, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(f"{row[0]:<{a}}  {row[1]:>{b}}  {row[2]:>{c}}  {row[3]:<{d}}  {row[4]}" for row in rows)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(sentence: str, code: int, peers: Peers, why: str | None = None) -> int:
    """Say why, and end, once the main thread has saved what it computes; what it says then is not needed any more."""
    several = jax.distributed.is_initialized()
    if several and not _ENDING.acquire(blocking=False):
        if threading.current_thread() is threading.main_thread():
            _SAVED.set()
        threading.Event().wait()
    if not ask_to_save():
        _SAVED.set()
    who = f" (process {jax.process_index()})" if several else ""
    print(f"\njasgd{who}: {sentence}", file=sys.stderr, flush=True)
    return _leave(code, peers, why or "process 0 has ended")


def _leave(code: int, peers: Peers, why: str | None) -> int:
    """End, process 0 last: JAX aborts the others if it is gone before them."""
    if jax.distributed.is_initialized():
        peers.end(why)
        if why is not None:
            _SAVED.wait(_SAVING)
        os._exit(code)
    return code
