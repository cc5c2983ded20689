"""Several processes share a sweep: each keeps the batch that it computes, and whoever comes next goes on from there."""

import os
import re
import signal
import socket
import subprocess
import sys

import jax
import pytest
import xarray

import jasgd
from jasgd.sweep_config import read_config

CHUNKS = 8  # a record in every ten versions makes chunks of at most 128 steps
BATCHES = 4  # two for each of two processes

STUDY = """
import logging, os, time
import jax, jasgd, optax
from jasgd import batch

logging.basicConfig(level=logging.INFO)
dies = os.environ.get("DIES", "").split()
step, count = batch.step, [0]

def counting(*args):
    count[0] += 1
    with open(f"steps-{jax.process_index()}", "a") as file:
        file.write(".")
    if str(jax.process_index()) in dies and count[0] == int(os.environ["STEP"]):
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        time.sleep(1)  # so that the thread which listens comes to work
    return step(*args)

if "STEP" in os.environ:
    batch.step = counting

def sweeps():
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, 1.0), 1000)
    problem, grid = jasgd.problems.quadratic(6, noise=0.1), {"learning_rate": [0.01, 0.02, 0.05, 0.1]}
    common = {"problem": problem, "schedule": schedule, "key": jax.random.key(3), "every": 10}
    return {"adam": {**common, "rule": optax.adam, "grid": grid, "seeds": 2, "runs_at_once": 2}}
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    return tmp_path / "study.py"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "study.py"
    path.write_text(STUDY)
    return jasgd.sweep(**read_config(path)["adam"], devices=jax.local_devices()[:1])


def started(folder, count, *, dies="", step=10**6, number=signal.SIGKILL, every=0, apart=()):
    """The command, by so many processes of which some are killed before one of their steps: exit codes, stderr, steps."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    line = ["timeout", "-s", "KILL", "100", sys.executable, "-c", "from jasgd.cli import main; main()", "sweep", "study.py"]
    line += ["--no-progress", "--devices", "1", "--save-every", str(every), "--out", "out"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "DIES": dies, "STEP": str(step), "SIGNAL": str(int(number))}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    for old in folder.glob("steps-*"):
        old.unlink()
    processes = []
    for index in range(count):
        options = ["--coordinator", where, "--processes", str(count), "--process", str(index)] if count > 1 else []
        where_it_is = folder / "apart" if index in apart else folder
        processes.append(subprocess.Popen([*line, *options], cwd=where_it_is, env=environment, **pipes))
    errors = [process.communicate()[1] for process in processes]
    steps = [len(path.read_text()) for path in sorted(folder.glob("steps-*"))]
    return [process.returncode for process in processes], errors, steps


def same(folder, whole):
    with xarray.open_dataset(folder / "out/results.nc", group="adam") as found:
        assert found.drop_attrs().identical(whole.drop_attrs())


def under_way(folder):
    """The files of every batch, the newest first."""
    found = {}
    for path in sorted((folder / "out/adam/running").glob("*.npz"), reverse=True):
        found.setdefault(path.name.partition("-")[0], []).append(path)
    return list(found.values())


@pytest.mark.slow
def test_a_killed_process_loses_one_interval(study, tmp_path, whole):
    """In the sixth chunk of its second batch; the newest file is damaged then, and the one before is used, bit for bit."""
    codes, _, _ = started(tmp_path, 2, dies="1", step=CHUNKS + 6)
    assert codes[1] in (-9, 137)
    kept = under_way(tmp_path)
    newest = max(kept, key=lambda files: files[0].name[-12:])[0]  # the end of the name is the next chunk
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    newest.write_bytes(bytes(content))
    codes, errors, steps = started(tmp_path, 2)
    assert codes == [0, 0], errors
    assert sum(len(re.findall(r"of 2 runs goes on at chunk \d of 8", error)) for error in errors) == len(kept)
    assert sum(error.count(f"{newest.name} is damaged") for error in errors) == 1
    assert sum(steps) < 2 * CHUNKS - 2, "it began anew"
    same(tmp_path, whole)
    assert [path.suffix for path in (tmp_path / "out/adam/running").iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_bit_for_bit(before, after, study, tmp_path, whole):
    """All are killed, or the only one: what is finished is not computed again, and what was under way goes on."""
    started(tmp_path, before, dies="0 1", step=CHUNKS + 6)
    codes, errors, steps = started(tmp_path, after)
    assert codes == [0] * after, errors
    left = BATCHES - before
    assert steps[0] < -(-left // after) * CHUNKS - 3, "it began anew"
    same(tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_processes_save_first(number, study, tmp_path, whole):
    """Both in the sixth chunk, long before a checkpoint is due: whoever hears of it from the other one saves, too."""
    codes, errors, _ = started(tmp_path, 2, dies="0 1", step=CHUNKS + 6, number=number, every=1000)
    assert 128 + number in codes
    assert set(codes) <= {1, 128 + number}, errors
    assert "Traceback" not in "".join(errors)
    kept = under_way(tmp_path)
    assert [len(files) for files in kept] == [1, 1]
    assert any(files[0].stem.endswith("-00000006") for files in kept)
    codes, errors, steps = started(tmp_path, 2)
    assert codes == [0, 0], errors
    assert sum(steps) < 2 * CHUNKS - 6
    same(tmp_path, whole)


@pytest.mark.slow
def test_a_process_that_does_not_see_the_folder_says_so_and_takes_part(study, tmp_path, whole):
    """It writes nothing where it is."""
    (tmp_path / "apart").mkdir()
    (tmp_path / "apart/study.py").write_text(STUDY)
    codes, errors, _ = started(tmp_path, 2, apart=(1,))
    assert codes == [0, 0], errors
    assert errors[1].count("process 1 does not see the folder") == 1
    assert "does not see" not in errors[0]
    assert sorted(path.name for path in (tmp_path / "apart").iterdir()) in (
        ["steps-1", "study.py"],
        ["__pycache__", "steps-1", "study.py"],
    )
    same(tmp_path, whole)
