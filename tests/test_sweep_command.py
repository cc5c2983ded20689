"""``jasgd sweep``: configurations, what is kept and computed again, one result file, several processes."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
import xarray

import jasgd
from experiments import sweep_example
from jasgd.grid import grid_of, names_asked_for, require_used
from jasgd.sweep_changes import change
from jasgd.sweep_command import SweepCommand, sweep_command
from jasgd.sweep_config import read_config
from jasgd.sweeps import PlannedSweep

pytestmark = pytest.mark.compiled_quickly
EPS = float(np.finfo(np.float32).eps)
CLOSE = {"rtol": 200 * EPS, "atol": 20 * EPS}  # a hundred updates of order one in single precision

TOML = """
seeds = 2
key = 3
every = 20
problem = {name = "quadratic", dim = 6, noise = 0.1}
fleet = {name = "power_law", num_workers = 4, exponent = 1.0}

[[sweep]]
label = "asynchronous"
protocol = {name = "asynchronous", updates = 60}
rule = {name = "sgd", momentum = 0.5}
grid = {learning_rate = [0.05, 0.1]}

[[sweep]]
label = "everywhere"
problem = {name = "quadratic", dim = 6}
fleet = {name = "power_law", num_workers = 4}
protocol = {name = "rennala", updates = 40}
rule = {name = "sgd"}
grid = {learning_rate = [0.1, 1e30], noise = [0.0, 0.1], exponent = [0.0, 1.0], batch = [2]}

[[sweep]]
label = "per seed"
fleet = {name = "exponential", means = [1.0, 2.0]}
method = {name = "ringmaster", updates = 60}
grid = [{learning_rate = 0.1, threshold = 1}, {learning_rate = 0.05, threshold = 3}]
schedule_per_seed = true
"""

PYTHON = '''
import os, pathlib, signal, threading, time
import jax, jasgd, optax

def die_in_the_second():
    """Process 0 makes the folder when it begins."""
    while not pathlib.Path("out/second").exists():
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)

def noisy(noise: float) -> jasgd.Problem:
    return jasgd.problems.quadratic(6, noise)

def sweeps():
    if os.environ.get("DIES") == str(jax.process_index()):
        threading.Thread(target=die_in_the_second, daemon=True).start()
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, 1.0), 60)
    common = {"rule": optax.sgd, "schedule": schedule, "key": jax.random.key(3), "seeds": 2, "every": 20}
    rates = [0.02, 0.05, 0.1]
    return {
        "first": {**common, "problem": jasgd.problems.quadratic(6, 0.1), "grid": {"learning_rate": rates}},
        "second": {**common, "problem": noisy, "grid": {"learning_rate": rates, "noise": [0.0, 0.1]}},
    }
'''


def fleet(exponent=1.0):
    return jasgd.fleet.power_law(4, exponent)


def in_hand():
    """The sweeps of the TOML file as calls of jasgd.sweep."""
    common = {"key": jax.random.key(3), "seeds": 2, "every": 20}
    random, noisy = jasgd.fleet.exponential([1.0, 2.0]), jasgd.problems.quadratic(6, 0.1)
    yield (
        "asynchronous",
        jasgd.sweep(
            noisy,
            lambda learning_rate: optax.sgd(learning_rate, momentum=0.5),
            jasgd.protocols.asynchronous(fleet(), 60),
            grid={"learning_rate": [0.05, 0.1]},
            **common,
        ),
    )
    yield (
        "everywhere",
        jasgd.sweep(
            lambda noise: jasgd.problems.quadratic(6, noise),
            optax.sgd,
            lambda exponent, batch: jasgd.protocols.rennala(fleet(exponent), 40, batch),
            grid={"learning_rate": [0.1, 1e30], "noise": [0.0, 0.1], "exponent": [0.0, 1.0], "batch": [2]},
            **common,
        ),
    )
    yield (
        "per seed",
        jasgd.sweep(
            noisy,
            optax.sgd,
            lambda threshold, seed: jasgd.protocols.ringmaster(random, 60, threshold, seed=seed),
            grid=[{"learning_rate": 0.1, "threshold": 1}, {"learning_rate": 0.05, "threshold": 3}],
            **common,
        ),
    )


def written(path, text):
    path.write_text(text)
    return path


def run(config, out, **options):
    return sweep_command(SweepCommand(config=config, out=out, devices=1, progress=False, **options))


def same(mine, other, **tolerance):
    assert set(mine.variables) == set(other.variables)
    assert dict(mine.sizes) == dict(other.sizes)
    for name in mine.variables:
        np.testing.assert_allclose(mine[name], other[name], **tolerance, err_msg=name)


def finished(folder):
    """Which runs each file of a resume folder holds."""
    return {path.name: sorted(np.load(path)["run"].tolist()) for path in (folder / "done").glob("*.npz")}


@pytest.fixture(scope="module")
def from_toml(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toml")
    assert run(written(folder / "many.toml", TOML), folder / "out") == 0
    return folder / "out"


@pytest.mark.parametrize("number", range(3))
def test_a_toml_configuration_gives_what_sweep_gives(from_toml, number):
    """Names of the rule, problem, fleet, protocol and method in the grid; points; a schedule per seed."""
    label, expected = list(in_hand())[number]
    with xarray.open_datatree(from_toml / "results.nc") as tree:
        same(tree[label].to_dataset(), expected, **CLOSE)


def test_the_file_says_where_it_came_from(from_toml):
    """The configuration at the root, provenance in every group, nothing half written."""
    with xarray.open_datatree(from_toml / "results.nc") as tree:
        assert list(tree.children) == ["asynchronous", "everywhere", "per seed"]
        assert tree.attrs["configuration"] == TOML
        for group in tree.children.values():
            assert {"jax", "device", "git_revision", "grid", "seeds", "schedules"} <= set(group.attrs)
    assert not list(from_toml.glob("*.partial"))


def test_the_table_names_the_best_point(tmp_path, capsys):
    """Runs, diverged ones, the best point by the final median, and how to open the file."""
    run(written(tmp_path / "many.toml", TOML), tmp_path / "out")
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:12].strip(): line for line in lines[1:4]}
    with xarray.open_datatree(tmp_path / "out" / "results.nc") as tree:
        dataset = tree["asynchronous"].to_dataset()
    best = jasgd.results.best(dataset, over="learning_rate")
    band = jasgd.results.band(best["loss"].isel(version=-1))
    assert rows["asynchronous"].split()[1:4] == ["4", "0", f"learning_rate={float(best['learning_rate']):g}"]
    assert f"{float(band['median']):.4g} ({float(band['low']):.4g} to {float(band['high']):.4g})" in rows["asynchronous"]
    assert rows["everywhere"].split()[1:3] == ["16", "8"]
    assert "learning_rate=0.1" in rows["everywhere"]
    assert "threshold=" in rows["per seed"]
    assert lines[-1] == f"to open  xarray.open_datatree('{tmp_path / 'out' / 'results.nc'}')"


def test_the_best_point_counts_every_run_at_its_own_end(tmp_path, capsys):
    """Schedules that end at a time have as many versions as it happens; the last version of all is that of one run."""
    text = """
import jax, jasgd, numpy as np, optax
def sweeps():
    fleet = jasgd.fleet.exponential(np.ones(4))
    schedule = lambda seed: jasgd.protocols.asynchronous(fleet, 100, seed=seed).until(10.0)
    problem, grid = jasgd.problems.quadratic(6, 0.01), {"learning_rate": [1e-4, 0.1]}
    arguments = {"problem": problem, "rule": optax.sgd, "schedule": schedule, "grid": grid, "key": jax.random.key(0)}
    return {"until": {**arguments, "seeds": 3, "every": 5}}
"""
    run(written(tmp_path / "until.py", text), tmp_path / "out")
    assert "learning_rate=0.1" in capsys.readouterr().out


def test_a_python_configuration_gives_what_sweep_gives(tmp_path):
    """The arguments go to jasgd.sweep as they are."""
    config = written(tmp_path / "two.py", PYTHON)
    run(config, tmp_path / "out")
    with xarray.open_datatree(tmp_path / "out" / "results.nc") as tree:
        for label, arguments in read_config(config).items():
            same(tree[label].to_dataset(), jasgd.sweep(**arguments), **CLOSE)


@pytest.mark.compiled_fully
def test_a_larger_grid_computes_only_what_is_new(tmp_path):
    """Two learning rates, then three; then the same again."""
    config, out = tmp_path / "grows.toml", tmp_path / "out"
    part = TOML[: TOML.index('[[sweep]]\nlabel = "everywhere"')]
    run(written(config, part), out)
    old = xarray.open_dataset(out / "results.nc", group="asynchronous").load()
    before = finished(out / "asynchronous")
    run(written(config, part.replace("[0.05, 0.1]", "[0.05, 0.07, 0.1]")), out)
    after = finished(out / "asynchronous")
    new = [run for name, runs in after.items() if name not in before for run in runs]
    assert len(new) == 2
    assert not set(new) & {run for runs in before.values() for run in runs}
    larger = xarray.open_dataset(out / "results.nc", group="asynchronous").load()
    same(larger.sel(learning_rate=[0.05, 0.1]), old, rtol=0, atol=0)
    run(config, out)
    assert finished(out / "asynchronous") == after


@pytest.mark.parametrize(
    ("right", "other", "found"),
    [
        ("dim = 6, noise = 0.1}", "dim = 7, noise = 0.1}", "`problem` is {'name': 'quadratic', 'dim': 6"),
        ("learning_rate = [0.05, 0.1]}", "learning_rate = [0.05]}", "`grid` is {'learning_rate': [0.05, 0.1]}, not"),
        ("seeds = 2", "seeds = 1", "`seeds` is 2, not 1"),
        ('label = "asynchronous"', 'label = "another"', "there is a sweep 'asynchronous'"),
    ],
)
def test_results_of_another_configuration_are_not_replaced(tmp_path, right, other, found):
    """Only those of one that has grown; nothing is computed before that is said."""
    text = TOML[: TOML.index('[[sweep]]\nlabel = "everywhere"')]
    xarray.Dataset(attrs={"configuration": text}).to_netcdf(tmp_path / "results.nc", engine="h5netcdf")
    assert right in text
    with pytest.raises(ValueError, match=r"results\.nc holds the results of an earlier study\.toml, in which") as error:
        run(written(tmp_path / "study.toml", text.replace(right, other, 1)), tmp_path)
    assert found in str(error.value)
    assert not (tmp_path / "asynchronous").exists()
    assert change(text, TOML.replace("seeds = 2", "seeds = [0, 1, 5]").replace("[0.05, 0.1]", "[0.1, 0.2, 0.05]")) is None


WRONG = [
    ('rule = {name = "sgd", momentum', 'rule = {name = "sdg", momentum', "no rule called 'sdg'; did you mean 'sgd'?"),
    ("momentum = 0.5", "momentun = 0.5", "rule 'sgd' does not take 'momentun'; did you mean 'momentum'?"),
    ("{learning_rate = [0.05", "{learning_rat = [0.05", "no function takes 'learning_rat'; did you mean 'learning_rate'?"),
    ('name = "rennala"', 'name = "renala"', "no protocol called 'renala'; did you mean 'rennala'?"),
    ('name = "ringmaster"', 'name = "ringmister"', "no method called 'ringmister'; did you mean 'ringmaster'?"),
    ('name = "quadratic", dim = 6, n', 'name = "cuadratic", dim = 6, n', "no problem called 'cuadratic'; did you mean"),
    ('name = "exponential"', 'name = "exponental"', "no fleet called 'exponental'; did you mean 'exponential'?"),
    ("every = 20", "evry = 20", "no key 'evry'; did you mean 'every'?"),
    ("schedule_per_seed", "schedules_per_seed", "no key 'schedules_per_seed'; did you mean 'schedule_per_seed'?"),
    ("every = 20", "every = 20\ntimes = [1.0]", "give `every` or `times`, not both"),
    ("key = 3", "key = 0.5", "`key` must be a whole number"),
    ('label = "everywhere"', 'label = "asynchronous"', "the label 'asynchronous' is used twice"),
    ('label = "everywhere"', 'label = "../here"', "every sweep needs a `label` of letters"),
    (", batch = [2]}", "}", "the protocol 'rennala' needs `batch`, in its table or in the grid"),
    ("dim = 6}\nfleet", "dim = 6, noise = 0.0}\nfleet", "`noise` of the grid has a value in `problem` already"),
    ("dim = 6, noise", 'dim = "six", noise', "`dim` must be a positive whole number, got 'six'"),
    ('rule = {name = "sgd"}', 'method = {name = "rennala", updates = 4}', "either a `protocol` and a `rule`, or a `method`"),
    ("threshold = 1}", "smoothness = 1}, {learning_rate = 1, smoothness = 1}]\n#", "there can be no `schedule_per_seed`"),
    ("updates = 60}\ngrid", "updates = 60, seed = 1}\ngrid", "cannot have a `seed` of its own"),
    (
        'name = "rennala", updates = 40',
        'name = "delays", num_workers = 4, updates = 40, delays = 1',
        "the protocol 'delays' takes no `fleet`",
    ),
    ("seeds = 2", "seeds = 2\nseeds = 3", "Cannot overwrite a value"),
]


@pytest.mark.parametrize(("right", "wrong", "sentence"), WRONG)
def test_a_mistake_in_a_toml_file_is_one_sentence(tmp_path, right, wrong, sentence):
    """With the file and, where there is one, a suggestion."""
    assert right in TOML
    config = written(tmp_path / "wrong.toml", TOML.replace(right, wrong, 1))
    with pytest.raises(ValueError, match=r"wrong\.toml") as error:
        run(config, tmp_path / "out")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_in_the_last_sweep_is_found_before_the_first_is_computed(tmp_path):
    """Everything is planned first."""
    wrong = TOML.replace("threshold = 1}", "threshold = 0}")
    assert wrong != TOML
    with pytest.raises(ValueError, match=r"wrong\.toml: per seed: `threshold` must be"):
        run(written(tmp_path / "wrong.toml", wrong), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_could_belong_to_two_is_refused(tmp_path):
    """A batch of examples, or of gradients; once one of them has a value, it is the other."""
    text = """
key = 0
problem = {name = "logistic_regression", shards = 4}
fleet = {name = "equal", num_workers = 4}
[[sweep]]
label = "one"
method = {name = "rennala", updates = 10, learning_rate = 0.1}
grid = {batch = [2, 4]}
"""
    config = written(tmp_path / "two.toml", text)
    with pytest.raises(ValueError, match="`batch` of the grid could belong to problem or method"):
        read_config(config)
    written(config, text.replace("shards = 4", "shards = 4, batch = 8"))
    found = read_config(config)["one"]
    assert [names_asked_for(found[name]) for name in ("problem", "schedule", "rule")] == [set(), {"batch"}, {"batch"}]


def test_values_that_nothing_uses_are_refused(tmp_path):
    """A shared fleet or problem, if every sweep has its own or needs none."""
    text = TOML[: TOML.index("[[sweep]]")]
    delays = (
        'protocol = {name = "delays", num_workers = 4, updates = 40, delays = 1}\nrule = {name = "sgd", learning_rate = 1}'
    )
    config = written(tmp_path / "idle.toml", f'{text}\n[[sweep]]\nlabel = "a"\n{delays}')
    with pytest.raises(ValueError, match=r"no \[\[sweep\]\] uses the shared `fleet`"):
        read_config(config)
    own = 'problem = {name = "quadratic", dim = 3}\nfleet = {name = "equal", num_workers = 2}'
    written(config, f'{text}\n[[sweep]]\nlabel = "a"\n{own}\nmethod = {{name = "rennala", updates = 4}}')
    with pytest.raises(ValueError, match=r"no \[\[sweep\]\] uses the shared `problem`"):
        read_config(config)


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ('"every": 20', '"evry": 20', "first: jasgd.sweep has no argument 'evry'; did you mean 'every'?"),
        ('"every": 20', '"resume": "x"', "first: `resume` is an option of the command"),
        ('"key": jax.random.key(3), ', "", "first: `key` is missing"),
        ("def sweeps", "def sweps", "needs a function `sweeps()`"),
        ("(4, 1.0), 60)", "(4, 1.0), sixty)", "line 17: NameError: name 'sixty' is not defined"),
        ("quadratic(6, noise)", "quadratic(6, loudness)", "second: line 12: NameError: name 'loudness' is not defined"),
        ("import jax,", "import jax,,", "line 3: invalid syntax"),
    ],
)
def test_a_mistake_in_a_python_file_is_one_sentence(tmp_path, right, wrong, sentence):
    """With the line, where there is one."""
    assert right in PYTHON
    config = written(tmp_path / "wrong.py", PYTHON.replace(right, wrong, 1))
    with pytest.raises(ValueError, match=r"wrong\.py") as error:
        run(config, tmp_path / "out")
    assert sentence in str(error.value)


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path, capsys, monkeypatch):
    """The exit code of shells, and the command again."""
    monkeypatch.setattr(sys, "argv", ["jasgd", "sweep", "my file.py"])

    def interrupted(self, bar):
        if len(self.points.coords) == 2:
            raise KeyboardInterrupt
        return compute(self, bar)

    compute = PlannedSweep.compute
    monkeypatch.setattr(PlannedSweep, "compute", interrupted)
    assert run(written(tmp_path / "stops.py", PYTHON), tmp_path / "out") == 130
    said = capsys.readouterr()
    assert "To go on: jasgd sweep 'my file.py'" in said.err
    assert said.out == ""
    assert len(finished(tmp_path / "out" / "first")) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"coordinator": "127.0.0.1:1"}, "together, or `--distributed` alone"),
        ({"coordinator": "127.0.0.1", "processes": 2, "process": 1}, "`--coordinator` must be HOST:PORT"),
        ({"coordinator": "127.0.0.1:1", "processes": 2, "process": 2}, "`--process` must lie between 0 and 1, got 2"),
        ({"save_every": -1.0}, "`--save-every` must not be negative"),
    ],
)
def test_options_are_checked(tmp_path, options, sentence):
    """Before anything is computed."""
    with pytest.raises(ValueError, match=sentence):
        run(tmp_path / "none.toml", tmp_path / "out", **options)


def test_a_port_that_is_taken_is_named(tmp_path):
    """JAX itself would crash."""
    with socket.create_server(("", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(OSError, match=f"port {other.getsockname()[1]} of `--coordinator` cannot be used"):
            run(tmp_path / "none.toml", tmp_path / "out", coordinator=where, processes=2, process=0)


@pytest.mark.parametrize("name", ["three_methods.toml", "different_data.py"])
def test_the_examples_are_read(name):
    """All their functions take the names of their grids."""
    for arguments in read_config(Path(sweep_example.__path__[0]) / name).values():
        makers = {kind: arguments[kind] for kind in ("problem", "rule", "schedule")}
        require_used(grid_of(arguments["grid"]), makers)


def command(folder, *arguments, **environment):
    """The command as a process of its own; it is killed if it hangs."""
    line = ["timeout", "-s", "KILL", "100", sys.executable, "-c", "from jasgd.cli import main; main()", "sweep"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*line, *arguments], cwd=folder, env=environment, **pipes)


def test_the_command_from_outside(tmp_path):
    """The default folder, a bar on stderr only; and a mistake is one sentence and exit code 1."""
    written(tmp_path / "many.toml", TOML[: TOML.index('[[sweep]]\nlabel = "everywhere"')])
    good = command(tmp_path, "many.toml", "--devices", "2")
    bad = command(tmp_path, "missing.toml", "--no-progress")
    (out, err), said = good.communicate(), bad.communicate()
    assert good.returncode == 0, err
    assert "asynchronous: 100%" in err
    assert "result   jasgd-results/many/results.nc" in out
    with xarray.open_dataset(tmp_path / "jasgd-results/many/results.nc", group="asynchronous") as dataset:
        assert dataset.attrs["device"].startswith("2 x cpu")
    assert said == ("", "jasgd: there is no configuration missing.toml.\n")
    assert bad.returncode == 1


def processes(count, folder, *arguments, **environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    common = [*arguments, "--no-progress", "--devices", "1", "--coordinator", where, "--processes", str(count)]
    every = [command(folder, *common, "--process", str(i), **environment) for i in range(count)]
    return [(process.communicate(), process.returncode) for process in every]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_find_what_one_finds(tmp_path, count):
    """All groups of the file; only the first process prints on stdout."""
    config = written(tmp_path / "two.py", PYTHON)
    ((out, err), first), *others = processes(count, tmp_path, "two.py", "--out", "both")
    assert (first, *(code for _, code in others)) == (0,) * count, err
    assert "both/results.nc" in out
    assert out.startswith("        runs  diverged")
    assert {silent for (silent, _), _ in others} == {""}
    run(config, tmp_path / "alone")
    with (
        xarray.open_datatree(tmp_path / "both/results.nc") as both,
        xarray.open_datatree(tmp_path / "alone/results.nc") as one,
    ):
        for label in ("first", "second"):
            same(both[label].to_dataset(), one[label].to_dataset(), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "dies"), [(2, 1), (4, 1), (3, 0)])
def test_a_process_that_dies_ends_the_others_and_the_sweep_goes_on_afterwards(tmp_path, count, dies):
    """After kill -9 in the second sweep: one sentence from each other process; the first sweep is not computed again."""
    config = written(tmp_path / "two.py", PYTHON)
    found = processes(count, tmp_path, "two.py", "--out", "out", DIES=str(dies))
    (_, killed) = found.pop(dies)
    assert killed == (-9 % 256 if killed > 0 else -9)
    for (out, err), code in found:
        assert out == ""
        if dies == 0 and code != 1:  # JAX's own threads may be faster to end a process without coordinator
            assert "another task died" in err
            continue
        assert code == 1
        assert err.count(f"process {dies} has ended, so this one ends too") == 1
        assert "what is finished is kept in out. To go on: " in err
        assert "Traceback" not in err
        assert "stack trace" not in err
    before = finished(tmp_path / "out" / "first")
    assert sum(map(len, before.values())) == 6
    assert run(config, tmp_path / "out") == 0
    assert finished(tmp_path / "out" / "first") == before
    with xarray.open_datatree(tmp_path / "out/results.nc") as tree:
        for label, arguments in read_config(config).items():
            same(tree[label].to_dataset(), jasgd.sweep(**arguments), **CLOSE)
