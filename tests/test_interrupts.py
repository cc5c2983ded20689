"""Ctrl-C and SIGTERM: nothing that has been computed is lost, and the command goes on from there, bit for bit."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import xarray

import jasgd
from jasgd import batch
from jasgd.interrupts import held_back, raising
from jasgd.sweep_command import SweepCommand, sweep_command
from jasgd.tune import objective
from jasgd.tune.command import TuneCommand, tune_command

ROOT = Path(jasgd.__file__).parent.parent

# A record in every ten versions makes chunks of at most 128 steps, so eight of them.
STUDY = """
key = 3
every = 10
problem = {name = "quadratic", dim = 6, noise = 0.1}
fleet = {name = "power_law", num_workers = 5, exponent = 1.0}
[[sweep]]
label = "adam"
protocol = {name = "asynchronous", updates = 1000}
rule = {name = "adam"}
grid = {learning_rate = [0.01, 0.1]}
"""
CHUNKS = 8

SEARCH = """
key = 0
budget = 4
initial = 2
seconds = 30.0
metric = "gap"
problem = {name = "quadratic", dim = 10}
fleet = {name = "equal", num_workers = 4}
[space]
learning_rate = {low = 1e-3, high = 1.0, log = true}
[space.method.asynchronous_sgd]
"""

# The command in a process of its own, which sends itself a signal before a call of a function.
STOPPED = """
import importlib, os, sys
from jasgd import cli

owner, name, number, count = importlib.import_module(sys.argv[1]), sys.argv[2], int(sys.argv[3]), [int(sys.argv[4])]
if "." in name:
    kind, name = name.split(".")
    owner = getattr(owner, kind)
function = getattr(owner, name)

def stopping(*args):
    count[0] -= 1
    if count[0] == 0:
        os.kill(os.getpid(), number)
    return function(*args)

setattr(owner, name, stopping)
sys.argv = ["jasgd", *sys.argv[5:]]
cli.main()
"""


def stopped(folder, where, number, count, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", STOPPED, *where, str(int(number)), str(count), *arguments]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def counted(monkeypatch, owner, name):
    """Calls of a function."""
    calls, function = [], getattr(owner, name)

    def counting(*args):
        calls.append(args)
        return function(*args)

    monkeypatch.setattr(owner, name, counting)
    return calls


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_stopped_sweep_loses_nothing(number, code, tmp_path, monkeypatch):
    """Stopped in the fifth of eight chunks, long before a checkpoint is due: three are left."""
    config = tmp_path / "study.toml"
    config.write_text(STUDY)
    done = stopped(tmp_path, ("jasgd.batch", "step"), number, 5, "sweep", "study.toml", "--devices", "1", "--no-progress")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "stopping as soon as what has been computed is saved" in done.stderr
    assert "kept in jasgd-results/study. To go on: jasgd sweep study.toml --devices 1 --no-progress\n" in done.stderr
    assert "Traceback" not in done.stderr
    calls = counted(monkeypatch, batch, "step")
    for name in ("jasgd-results/study", "whole"):
        sweep_command(SweepCommand(config=config, out=tmp_path / name, devices=1, progress=False))
    assert len(calls) == (CHUNKS - 5) + CHUNKS
    with (
        xarray.open_dataset(tmp_path / "jasgd-results/study/results.nc", group="adam") as resumed,
        xarray.open_dataset(tmp_path / "whole/results.nc", group="adam") as whole,
    ):
        assert resumed.drop_attrs().identical(whole.drop_attrs())


def test_a_stopped_search_goes_on(tmp_path, monkeypatch):
    """Two at random together, then one after the other: stopped in the fourth evaluation, the third call."""
    config = tmp_path / "search.toml"
    config.write_text(SEARCH)
    where = ("jasgd.tune.objective", "Objective._of_one_method")
    done = stopped(tmp_path, where, signal.SIGINT, 3, "tune", "search.toml", "--no-progress", "--out", "found")
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "kept in found. To go on: jasgd tune search.toml --no-progress --out found" in done.stderr
    calls = counted(monkeypatch, objective.Objective, "_of_one_method")
    for name in ("found", "whole"):
        tune_command(TuneCommand(config=config, out=tmp_path / name, progress=False))
    assert len(calls) == 1 + 3
    found, whole = ((tmp_path / name / "evaluations.json").read_text() for name in ("found", "whole"))
    assert found == whole


def test_signals_wait_until_the_block_ends():
    """Then they come to whom they would have come, once."""
    log, before = [], signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, _: log.append(number))
    try:
        with held_back() as held:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (held.waiting, log) == (signal.SIGTERM, [])
        assert log == [signal.SIGTERM]
        with held_back(hold=False) as held:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (held.waiting, log) == (None, [signal.SIGTERM] * 2)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_does_not_wait():
    """Who is in a hurry presses Ctrl-C twice."""
    reached = []

    def impatient():
        with held_back():
            for press in (1, 2):
                os.kill(os.getpid(), signal.SIGINT)
                reached.append(press)

    with pytest.raises(KeyboardInterrupt):
        impatient()
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_ignored():
    """As with nohup and in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with held_back() as held:
            os.kill(os.getpid(), signal.SIGINT)
            assert held.waiting is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_threads_hold_nothing_back():
    """They get no signals, and may not change who does."""
    found = []

    def work():
        with held_back() as held:
            found.append(held.waiting)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


def test_a_signal_amid_a_collection_of_garbage_is_heard_afterwards():
    """Python prints and forgets what is raised in such a callback: the job would go on to its end."""
    went_on = []

    def _xla_gc_callback():
        signal.raise_signal(signal.SIGINT)
        went_on.append(True)

    def collects_garbage():
        _xla_gc_callback()
        time.sleep(5)

    before = signal.signal(signal.SIGINT, raising(KeyboardInterrupt))
    try:
        with pytest.raises(KeyboardInterrupt):
            collects_garbage()
    finally:
        signal.signal(signal.SIGINT, before)
    assert went_on == [True]
