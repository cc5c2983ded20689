"""Simulations and sweeps that are killed go on, bit for bit; what is damaged, foreign or in use is refused by name."""

import os
import shutil
import signal
import subprocess
import sys
import warnings

import jax
import numpy as np
import optax
import pytest

import jasgd
from jasgd import batch, engine
from jasgd.sweep_folder import SweepFolder

KEY = jax.random.key(0)
PROBLEM = jasgd.problems.quadratic(6, noise=0.1)
SCHEDULE = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, 1.0), 1000)
GRID = {"learning_rate": [0.01, 0.1, 1e30]}


def simulate(**options):
    # A record in every ten versions makes chunks of at most 128 steps.
    return jasgd.simulate(PROBLEM, optax.adam(0.01), SCHEDULE, key=KEY, every=10, lanes=1, save_every=0.0, **options)


def sweep(**options):
    options = {"grid": GRID, "seeds": 2, "save_every": 0.0, **options}
    devices = jax.local_devices()[:1]
    return jasgd.sweep(PROBLEM, optax.sgd, SCHEDULE, key=KEY, every=10, runs_at_once=2, devices=devices, **options)


# Runs in a process of its own, which ends with SIGKILL in the middle of something.
KILLED = """
import os, pathlib, signal, sys
import test_resume
from jasgd import batch, checkpoints, engine, under_way

what, where, count = sys.argv[1], sys.argv[2], [int(sys.argv[3])]

def killing(function):
    def killed(*args, **kwargs):
        count[0] -= what in ("computing", "renaming") or what.endswith(pathlib.Path(args[0].name).parent.name)
        if count[0] == 0:
            if what.startswith("writing"):
                args[0].flush()  # the content is there, its name is not
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return killed

if what == "computing":
    batch.step, engine.step = killing(batch.step), killing(engine.step)
elif what.startswith("writing"):
    import numpy
    numpy.savez = killing(numpy.savez)
elif what == "renaming":
    os.replace = killing(os.replace)
else:  # while it is written in the background
    kind = under_way.UnderWay if where == "sweep" else checkpoints.Checkpoints
    save = kind.save
    def saved(self, *args):
        save(self, *args)
        count[0] -= 1
        if count[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    kind.save = saved
(test_resume.sweep if where == "sweep" else test_resume.simulate)(resume=sys.argv[4])
"""


def killed(what, where, count, folder):
    """Start, and be killed."""
    here = os.path.dirname(os.path.abspath(__file__))
    path = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.path.dirname(here)])}
    command = [sys.executable, "-c", KILLED, what, where, str(count), os.fspath(folder)]
    done = subprocess.run(command, env=path, capture_output=True, text=True, timeout=200)
    assert done.returncode == -9, done.stdout + done.stderr


def counted(monkeypatch, module):
    """How many chunks are computed."""
    calls, step = [], module.step

    def counting(*args):
        calls.append(1)
        return step(*args)

    monkeypatch.setattr(module, "step", counting)
    return calls


def same_run(one, other):
    for name in one.history:
        np.testing.assert_array_equal(one.history[name], other.history[name], err_msg=name)
    for a, b in zip(
        jax.tree.leaves((one.params, one.rule_state)), jax.tree.leaves((other.params, other.rule_state)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def same_sweep(one, other):
    assert set(one.variables) == set(other.variables)
    for name in one.variables:
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


@pytest.fixture(scope="module")
def whole_run():
    return simulate()


@pytest.fixture(scope="module")
def whole_sweep():
    return sweep()


# Killed.


@pytest.mark.parametrize("what", ["computing", "checkpointing"])
def test_a_killed_simulation_goes_on_bit_for_bit(what, whole_run, tmp_path, monkeypatch):
    """Killed before its sixth chunk, or while the fifth checkpoint is written: only the last interval is computed again."""
    killed(what, "simulate", {"computing": 6, "checkpointing": 5}[what], tmp_path)
    calls = counted(monkeypatch, engine)
    same_run(simulate(resume=tmp_path), whole_run)
    chunks = -(-1000 // 128)
    assert len(calls) <= chunks - 3, "it began anew"
    assert [path for path in tmp_path.iterdir() if path.name.isdigit()] == [], "checkpoints of a finished run are of no use"


@pytest.mark.parametrize(
    ("what", "count"),
    [("computing", 13), ("checkpointing", 12), ("writing running", 12), ("writing done", 2), ("renaming", 12)],
)
def test_a_killed_sweep_goes_on_bit_for_bit(what, count, whole_sweep, tmp_path, monkeypatch):
    """In the middle of computing, of writing a checkpoint or finished runs, and of giving a file its name."""
    killed(what, "sweep", count, tmp_path)
    calls = counted(monkeypatch, batch)
    same_sweep(sweep(resume=tmp_path), whole_sweep)
    assert 0 < len(calls) < 3 * 8 - 4, "it began anew"
    assert not list(tmp_path.rglob("*.partial"))
    calls.clear()
    same_sweep(sweep(resume=tmp_path), whole_sweep)
    assert not calls, "a run was computed twice"
    assert list((tmp_path / "running").iterdir()) == [], "checkpoints of finished runs are of no use"


def test_a_larger_grid_reuses_the_smaller(tmp_path, monkeypatch):
    """Only what is new is computed; a smaller grid is read."""
    sweep(grid={"learning_rate": [0.1]}, resume=tmp_path)
    calls = counted(monkeypatch, batch)
    same_sweep(
        sweep(grid={"learning_rate": [0.01, 0.1]}, seeds=3, resume=tmp_path),
        sweep(grid={"learning_rate": [0.01, 0.1]}, seeds=3),
    )
    reused = len(calls)
    calls.clear()
    sweep(grid={"learning_rate": [0.01]}, seeds=[2], resume=tmp_path)
    assert reused > 0
    assert not calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_simulation_goes_on_bit_for_bit(number, whole_run, tmp_path, monkeypatch):
    """Ctrl-C in the fourth chunk, long before a checkpoint is due: it is written before the signal comes through."""
    seen, calls, step = [], [], engine.step

    def stopping(*args):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return step(*args)

    def handler(*_):
        seen.extend(path.name for path in tmp_path.iterdir() if path.name.isdigit())
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "step", stopping)
    options = {"key": KEY, "every": 10, "lanes": 1, "resume": tmp_path}
    before = signal.signal(number, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            jasgd.simulate(PROBLEM, optax.adam(0.01), SCHEDULE, **options)
    finally:
        signal.signal(number, before)
    assert (seen, len(calls)) == (["0"], 4)
    same_run(jasgd.simulate(PROBLEM, optax.adam(0.01), SCHEDULE, **options), whole_run)
    assert len(calls) == 8


def test_a_simulation_that_keeps_nothing_stops_at_once(monkeypatch):
    """Without a folder there is nothing to wait for."""
    calls = []

    def stopping(*args):
        calls.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("went on")

    monkeypatch.setattr(engine, "step", stopping)
    with pytest.raises(KeyboardInterrupt):
        jasgd.simulate(PROBLEM, optax.adam(0.01), SCHEDULE, key=KEY, every=10, lanes=1)
    assert len(calls) == 1


# Damaged, foreign, in use, full.


def interrupted(folder, monkeypatch, *, after):
    """A simulation that stops with an exception: its checkpoints stay."""
    calls, step = [], engine.step

    def failing(*args):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "step", failing)
        with pytest.raises(KeyboardInterrupt):
            simulate(resume=folder)


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(damage, whole_run, tmp_path, monkeypatch):
    """Files of the newest one are cut short, changed in a byte, or missing."""
    interrupted(tmp_path, monkeypatch, after=5)
    newest = max((path for path in tmp_path.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    files = [path for path in (newest / "arrays").rglob("*") if path.is_file() and path.stat().st_size > 0]
    if damage == "gone":
        shutil.rmtree(newest / "arrays")
    for path in files if damage != "gone" else []:
        content = bytearray(path.read_bytes())
        if damage == "cut":
            content = content[: len(content) // 2]
        else:
            content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content))
    calls = counted(monkeypatch, engine)
    with pytest.warns(UserWarning, match=rf"the checkpoint .*/{newest.name} is damaged .* and not used"):
        same_run(simulate(resume=tmp_path), whole_run)
    assert len(calls) < 8, "it began anew"


def test_a_foreign_checkpoint_is_refused(tmp_path, monkeypatch):
    """Another step size, another schedule: named, and left alone."""
    interrupted(tmp_path, monkeypatch, after=3)
    before = sorted(path.name for path in tmp_path.iterdir())
    with (
        pytest.warns(UserWarning, match="is of another computation"),
        pytest.raises(ValueError, match="Choose another folder"),
    ):
        jasgd.simulate(PROBLEM, optax.adam(0.02), SCHEDULE, key=KEY, every=10, lanes=1, resume=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_lanes_of_a_checkpoint_stay(tmp_path, monkeypatch):
    """They are part of what makes the result the same to the bit."""
    interrupted(tmp_path, monkeypatch, after=3)
    with pytest.raises(ValueError, match="was made with lanes=1, got lanes=4"):
        jasgd.simulate(PROBLEM, optax.adam(0.01), SCHEDULE, key=KEY, every=10, lanes=4, resume=tmp_path)


def test_a_damaged_file_of_finished_runs_is_named_and_computed_again(whole_sweep, tmp_path):
    """Cut short after it was written; the others are still used."""
    sweep(resume=tmp_path)
    first = min((tmp_path / "done").glob("*.npz"))
    first.write_bytes(first.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=rf"{first.name} is damaged"):
        same_sweep(sweep(resume=tmp_path), whole_sweep)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_sweep(sweep(resume=tmp_path), whole_sweep)


def test_a_folder_of_another_sweep_is_refused(tmp_path):
    """The sentence says what differs."""
    sweep(grid={"learning_rate": [0.1]}, resume=tmp_path)
    with pytest.raises(ValueError, match=r"holds another sweep: its `rule` is 'sgd', not 'adam'"):
        jasgd.sweep(PROBLEM, optax.adam, SCHEDULE, key=KEY, grid={"learning_rate": [0.1]}, every=10, resume=tmp_path)


def test_two_processes_on_one_folder(tmp_path):
    """The second one is refused; when the first has ended, the folder is free again."""
    other = (
        "import sys; from jasgd.sweep_folder import SweepFolder; "
        "folder = SweepFolder(sys.argv[1], {}); print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", other, os.fspath(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RuntimeError, match=rf"another process \(process {process.pid}\) is computing in"):
            SweepFolder(tmp_path, {})
    finally:
        process.kill()
        process.communicate()
    SweepFolder(tmp_path, {}).close()


# Orbax writes in threads of its own, which may still be complaining when the test is over.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_ends_with_a_sentence_and_the_sweep_goes_on_elsewhere(whole_sweep, tmp_path):
    """On a file system of 24 kB."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24k", "tmpfs", os.fspath(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with pytest.raises(Exception, match=r"(?i)no space left|disk"):
            sweep(resume=small)
        shutil.copytree(small, tmp_path / "copy")
    finally:
        subprocess.run(["umount", os.fspath(small)], check=True)
    same_sweep(sweep(resume=tmp_path / "copy"), whole_sweep)


def test_a_negative_interval_is_refused(tmp_path):
    """For simulations and for sweeps."""
    with pytest.raises(ValueError, match=r"`save_every` must be a number of seconds, not negative, got -1\.0"):
        jasgd.simulate(PROBLEM, optax.sgd(0.01), SCHEDULE, key=KEY, lanes=1, resume=tmp_path / "one", save_every=-1.0)
    with pytest.raises(ValueError, match="`save_every` must be"):
        sweep(resume=tmp_path / "two", save_every=float("nan"))


def test_points_that_compute_the_same_are_all_known(tmp_path, monkeypatch):
    """A list may hold a point twice; when the sweep is done, neither is computed again."""
    twice = [{"learning_rate": 0.1}, {"learning_rate": 0.1}]
    whole = sweep(grid=twice, resume=tmp_path)
    calls = counted(monkeypatch, batch)
    same_sweep(sweep(grid=twice, resume=tmp_path), whole)
    assert not calls
