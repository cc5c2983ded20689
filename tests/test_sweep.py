"""Sweeps: every run is what simulate computes alone; labels, divergence, refusals, compilations, batches."""

import dataclasses
import functools
import inspect
import itertools
import json
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import batch, sweeps, widths
from jasgd.batches import Group, Width, batches_of
from jasgd.grid import grid_of

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
N, UPDATES, EVERY = 5, 100, 20
PROBLEM = jasgd.problems.quadratic(6, noise=0.1)
FLEET = jasgd.fleet.power_law(N, 1.0)
RANDOM_FLEET = jasgd.fleet.exponential(np.ones(N))
SCHEDULE = jasgd.protocols.asynchronous(FLEET, UPDATES)
RATES = [0.02, 0.2]
EPS = float(np.finfo(np.float32).eps)
CLOSE = {"rtol": 200 * EPS, "atol": 20 * EPS}  # a hundred updates of order one in single precision


def sweep(problem=PROBLEM, rule=optax.sgd, schedule=SCHEDULE, **options):
    """The function under test, with the settings of this file."""
    return jasgd.sweep(problem, rule, schedule, **{"key": KEY, "every": EVERY, **options})


def made(maker, values):
    """A problem, rule or schedule of one run."""
    if not callable(maker):
        return maker
    return maker(**{name: values[name] for name in inspect.signature(maker).parameters if name in values})


def alone(problem, rule, schedule, point, seed, **options):
    """What :func:`jasgd.simulate` finds for one run of a sweep."""
    values = {**point, "seed": seed}
    makers = (made(maker, values) for maker in (problem, rule, schedule))
    return jasgd.simulate(*makers, **{"key": jax.random.fold_in(KEY, seed), "every": EVERY, **options})


def points_of(grid):
    """All points of a grid, each with how it is selected in the result."""
    if isinstance(grid, dict):
        points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        return [(point, point) for point in points]
    return [(point, {"point": i}) for i, point in enumerate(grid)]


def one_run(result, where, seed):
    """One run of a sweep's dataset."""
    chosen = result.sel(seed=seed)
    return chosen.isel(where) if "point" in where else chosen.sel(where)


def assert_runs_alone(result, problem, rule, schedule, *, grid, seeds, **options):
    """Metrics, versions and times of every run are those of :func:`jasgd.simulate`, and there are no others."""
    for (point, where), seed in itertools.product(points_of(grid), seeds):
        history = alone(problem, rule, schedule, point, seed, **options).history
        run = one_run(result, where, seed)
        recorded = run.sel(version=history["version"])
        np.testing.assert_array_equal(recorded["time"], history["time"])
        for name in set(history) - {"version", "time"}:
            assert int(run[name].notnull().sum()) == len(history["version"]), (point, seed)
            np.testing.assert_allclose(recorded[name], history[name], **CLOSE, err_msg=f"{name}: {point}, seed {seed}")
        assert not run["diverged"]
        assert run["diverged_at"] == -1


def swept_and_alone(problem, rule, schedule, *, grid, seeds, **options):
    """Sweep, compare every run with simulate, and return the dataset."""
    result = sweep(problem, rule, schedule, grid=grid, seeds=seeds, **options)
    options.pop("runs_at_once", None)
    assert_runs_alone(result, problem, rule, schedule, grid=grid, seeds=seeds, **options)
    return result


@pytest.fixture
def watched(monkeypatch):
    """What a sweep does: its groups, and what every call of the compiled loop is compiled for.

    ``devices`` are pretended: with a hundred, every schedule has too few runs for a group of its own. Without ``computes``
    the loop is not called at all.
    """
    seen = types.SimpleNamespace(devices=1, computes=True, groups=[], programs=[], together=[])
    groups, step = sweeps.groups_of, batch.step

    def watched_groups(runs, devices):
        found = groups(runs, list(devices) * seen.devices)
        seen.groups += [len(group.runs) for group in found]
        return found

    def watched_step(loop, mesh, *arguments):
        leaves, structure = jax.tree.flatten(arguments)
        seen.programs.append((loop, structure, tuple((leaf.shape, leaf.dtype) for leaf in map(jnp.asarray, leaves))))
        state = arguments[2]
        seen.together.append(state.params.shape[0])
        return step(loop, mesh, *arguments) if seen.computes else state

    monkeypatch.setattr(sweeps, "groups_of", watched_groups)
    monkeypatch.setattr(batch, "step", watched_step)
    return seen


@pytest.fixture
def stacked(watched):
    """One device behaves as many do for which each schedule has too few runs."""
    watched.devices = 100
    return watched


@pytest.fixture
def planned(watched):
    """Nothing is computed."""
    watched.computes = False
    return watched


# Every run is a simulation


def _ormo(learning_rate, momentum):
    return jasgd.rules.ormo(learning_rate, momentum, N)


def _dana_zero(learning_rate, momentum):
    return jasgd.rules.dana_zero(learning_rate, momentum, N)


def _ringleader(learning_rate):
    return jasgd.rules.ringleader(learning_rate, N)


def _delay_adaptive(learning_rate, concurrency):
    return jasgd.rules.delay_adaptive_sgd(learning_rate, concurrency)


def _injected(learning_rate):
    return optax.inject_hyperparams(optax.sgd)(learning_rate)


RATE = {"learning_rate": RATES}
MOMENTUM = {**RATE, "momentum": [0.5, 0.9]}
DRAWN_DELAYS = jasgd.protocols.delays(N, UPDATES, jasgd.protocols.uniform_delays(7))
ALONE = {
    "state, and numbers of its own": (optax.adam, SCHEDULE, {**RATE, "b1": [0.5, 0.9]}),
    "state that holds a number": (_injected, SCHEDULE, {"learning_rate": [0.1]}),
    "step and delay": (_ormo, SCHEDULE, MOMENTUM),
    "sends workers elsewhere": (_dana_zero, SCHEDULE, MOMENTUM),
    "sees rows that do not apply": (_ringleader, jasgd.protocols.ringleader(FLEET, 60), {"learning_rate": [0.1]}),
    "drawn delays": (_delay_adaptive, DRAWN_DELAYS, {**RATE, "concurrency": [1, 3]}),
    "stale parameters": (jasgd.rules.dc_asgd, SCHEDULE, {**RATE, "strength": [0.5]}),
    "rounds at one point": (optax.adam, jasgd.protocols.rennala(FLEET, 60, batch=3), RATE),
    "rounds of all": (optax.sgd, jasgd.protocols.minibatch(FLEET, 60), RATE),
}


@pytest.mark.parametrize("case", ALONE)
def test_every_run_equals_simulate(case):
    """Whatever the rule keeps or asks for, and however the schedule gathers."""
    rule, schedule, grid = ALONE[case]
    swept_and_alone(PROBLEM, rule, schedule, grid=grid, seeds=[0, 3])


def test_without_a_grid_there_are_only_seeds():
    """A finished rule; seeds as a number are the first ones."""
    result = sweep(rule=optax.sgd(0.1), seeds=3)
    assert result["loss"].dims == ("seed", "version")
    assert result["seed"].values.tolist() == [0, 1, 2]
    for seed in range(3):
        history = alone(PROBLEM, optax.sgd(0.1), SCHEDULE, {}, seed).history
        np.testing.assert_allclose(result["loss"].sel(seed=seed), history["loss"], **CLOSE)


def test_a_problem_may_depend_on_the_grid():
    """The noise of a quadratic: another constant in the program."""
    problem = functools.partial(jasgd.problems.quadratic, 6)
    swept_and_alone(problem, optax.sgd, SCHEDULE, grid={"noise": [0.0, 0.3], "learning_rate": RATES}, seeds=[0, 1])


def _regression(data):
    """Least squares on other numbers; metrics without the smallest loss, which would be part of the program."""
    rows = np.random.default_rng(data).normal(size=(20, 3)).astype(np.float32)
    problem = jasgd.problems.least_squares(rows, rows.sum(axis=1) + data, batch=2)
    whole = jnp.asarray(rows), jnp.asarray(rows.sum(axis=1) + data)

    def metrics(x):
        return {"loss": problem.loss(x, whole), "grad_norm": jnp.linalg.norm(jax.grad(problem.loss)(x, whole))}

    return dataclasses.replace(problem, metrics=metrics)


def test_problems_that_differ_in_data_alone_share_a_batch(watched):
    """Each run sees its own data, in samples and in metrics."""
    swept_and_alone(_regression, optax.sgd, SCHEDULE, grid={"data": [0, 1, 2], **RATE}, seeds=[0, 1])
    assert watched.groups == [12]


def test_the_starting_point_is_drawn_from_the_key_of_the_seed():
    """A problem made by hand, with a nested start."""
    problem = jasgd.Problem(
        init=lambda key: {"a": jax.random.normal(key, (3,)), "b": [jax.random.uniform(key, (2, 2))]},
        loss=lambda params, z: 0.5 * jnp.sum((params["a"] - z) ** 2) + jnp.sum(params["b"][0] ** 2),
        sample=lambda key, worker: 0.1 * jax.random.normal(key, (3,)) + worker,
        metrics=lambda params: {
            "loss": 0.5 * jnp.sum(params["a"] ** 2),
            "grad_norm": optax.tree.norm(params),
            "corner": params["b"][0][1, 1],
        },
    )
    result = swept_and_alone(problem, optax.sgd, SCHEDULE, grid=RATE, seeds=[0, 1, 2])
    start = result["corner"].isel(version=0)
    assert len(np.unique(start)) == 3
    np.testing.assert_array_equal(start.isel(learning_rate=0), start.isel(learning_rate=1))


GRID = {"learning_rate": [0.01, 0.03, 0.1, 0.2, 0.3]}
SEEDS = [4, 2**32 - 1]
TEN = {"seeds": SEEDS, "every": 5, "runs_at_once": 10}  # five points times two seeds at once: compiled once


@pytest.fixture(scope="module")
def reference():
    """Step sizes times seeds, all together."""
    return sweep(grid=GRID, **TEN)


def test_all_together_is_simulate(reference):
    """Plain SGD; seeds are 32 bits wide."""
    assert_runs_alone(reference, PROBLEM, optax.sgd, SCHEDULE, grid=GRID, seeds=SEEDS, every=5)


def test_a_given_start_is_that_of_all_runs():
    """Parameters in place of the problem's own."""
    params = np.linspace(-1, 1, 6, dtype=np.float32)
    result = swept_and_alone(PROBLEM, optax.sgd, SCHEDULE, grid=GRID, params=params, **TEN)
    np.testing.assert_allclose(result["loss"].isel(version=0), PROBLEM.metrics(params)["loss"], rtol=2 * EPS)


@pytest.mark.parametrize(("runs_at_once", "together"), [(1, 1), (2, 2), (3, 3), (10, 10), (None, 5)])
def test_the_result_does_not_depend_on_how_many_run_together(runs_at_once, together, reference, watched):
    """Strips of one seed, several seeds, and portions that do not divide the runs."""
    result = sweep(grid=GRID, **{**TEN, "runs_at_once": runs_at_once})
    assert set(watched.together) == {together}
    assert set(result.variables) == set(reference.variables)
    for name in result.variables:
        np.testing.assert_allclose(result[name], reference[name], **CLOSE, err_msg=name)


def test_values_that_change_the_structure_become_groups_of_their_own(watched):
    """A step size of zero, momentum or none, strings and bools, in a list of points."""

    def rule(learning_rate, kind, nesterov):
        return optax.sgd(learning_rate, momentum={"plain": None, "heavy": 0.9}[kind], nesterov=nesterov)

    table = [(0.0, "plain", False), (0.1, "plain", False), (0.1, "heavy", True), (0.2, "heavy", True)]
    grid = [dict(zip(inspect.signature(rule).parameters, values, strict=True)) for values in table]
    result = swept_and_alone(PROBLEM, rule, SCHEDULE, grid=grid, seeds=[0])
    assert sorted(watched.groups) == [1, 1, 2]
    assert result["loss"].dims == ("point", "seed", "version")
    assert result["kind"].values.tolist() == ["plain", "plain", "heavy", "heavy"]
    assert result["nesterov"].dtype == bool
    assert len(np.unique(result["loss"].isel(point=0))) == 1


def test_a_metric_may_be_whole_or_boolean():
    """Any scalar can be recorded."""

    def metrics(x):
        return {**PROBLEM.metrics(x), "negative": jnp.sum(x < 0), "first": x[0] > 1}

    problem = dataclasses.replace(PROBLEM, metrics=metrics)
    swept_and_alone(problem, optax.sgd, SCHEDULE, grid=GRID, **TEN)


def test_problems_that_record_different_metrics():
    """Metrics that a run does not have are missing, or the sweep is refused in a sentence before anything is computed."""

    def problem(more):
        if not more:
            return PROBLEM
        return dataclasses.replace(PROBLEM, metrics=lambda x: {**PROBLEM.metrics(x), "first": x[0]})

    try:
        result = sweep(problem, optax.sgd(0.1), grid={"more": [False, True]})
    except ValueError as error:
        assert "first" in str(error)  # noqa: PT017
    else:
        assert result["first"].sel(more=False).isnull().all()
        assert result["first"].sel(more=True).notnull().all()


def test_a_random_key_in_a_rule_is_a_number_like_any_other():
    """Rules that draw noise close over a key."""

    def rule(learning_rate):
        return optax.chain(optax.add_noise(0.01, 0.5, key=jax.random.key(3)), optax.sgd(learning_rate))

    swept_and_alone(PROBLEM, rule, SCHEDULE, grid=RATE, seeds=[0])


# Several schedules


def _of_exponent(exponent):
    return jasgd.protocols.asynchronous(jasgd.fleet.power_law(N, exponent), UPDATES)


def _until(seed):
    return jasgd.protocols.asynchronous(RANDOM_FLEET, 200, seed=seed).until(20.0)


def test_a_schedule_may_depend_on_the_grid(watched):
    """Enough runs of each schedule: one group per fleet."""
    grid = {"exponent": [0.0, 1.0], "learning_rate": RATES}
    result = swept_and_alone(PROBLEM, optax.sgd, _of_exponent, grid=grid, seeds=[0, 1])
    assert watched.groups == [4, 4]
    assert result["time"].dims == ("exponent", "learning_rate", "seed", "version")


def test_schedules_of_different_lengths_share_a_batch(stacked):
    """Random fleets until a time: every seed has its own number of updates."""
    assert len({_until(seed).updates for seed in (0, 1, 2)}) == 3
    result = swept_and_alone(PROBLEM, _dana_zero, _until, grid={**RATE, "momentum": [0.5]}, seeds=[0, 1, 2])
    assert stacked.groups == [6]
    ends = result["time"].max("version").isel(learning_rate=0, momentum=0)
    assert ends.values.tolist() == [_until(seed).time[-1] for seed in (0, 1, 2)]


def test_a_schedule_may_end_many_chunks_before_another(stacked):
    """What is not real changes nothing that is recorded; fleets of different sizes."""

    def schedule(updates):
        return jasgd.protocols.asynchronous(jasgd.fleet.power_law(updates // 4, 0.5), updates)

    swept_and_alone(PROBLEM, optax.adam, schedule, grid={"updates": [9, 100], **RATE}, seeds=[0], every=4)
    assert stacked.groups == [4]


def test_gathered_rounds_of_different_lengths_share_a_batch(stacked):
    """Rounds of two, and rounds of weights and numbers that differ, side by side."""
    schedules = {
        "two": jasgd.protocols.rennala(RANDOM_FLEET, 40, batch=2),
        "weights": jasgd.protocols.malenia(FLEET, 12),
    }

    def schedule(name):
        return schedules[name]

    grid = {"name": list(schedules), "learning_rate": [0.2]}
    together = sweep(schedule=schedule, grid=grid, seeds=[0, 1])
    for name in schedules:
        history = alone(PROBLEM, optax.sgd(0.2), schedule, {"name": name}, 1, lanes=1).history
        run = together.sel(name=name, seed=1).isel(learning_rate=0).sel(version=history["version"])
        np.testing.assert_allclose(run["loss"], history["loss"], **CLOSE, err_msg=name)
        np.testing.assert_array_equal(run["time"], history["time"])
    assert stacked.groups == [4]


def test_a_rule_that_sees_every_row_on_several_schedules(stacked):
    """Padding is not a delivery: tables and counts stay as they are."""

    def schedule(seed):
        return jasgd.protocols.ringleader(RANDOM_FLEET, 40 + 2 * seed, seed=seed)

    assert len({len(schedule(seed)) for seed in (0, 1, 2)}) == 3
    swept_and_alone(PROBLEM, _ringleader, schedule, grid={"learning_rate": [0.2]}, seeds=[0, 1, 2])
    assert stacked.groups == [3]


# Divergence

WILD = {"learning_rate": [0.05, 1e3, 1e6, 0.1, 1e9]}


def broken_between(run):
    """The versions between which simulate has seen a run diverge; None if it has not."""
    found = re.search(r"finite at version (\d+) and not at version (\d+)", run.message)
    assert bool(found) == run.diverged
    return tuple(map(int, found.groups())) if found else None


def assert_same_until_overflow(got, expected):
    """Close up to where squares overflow: whether that is infinite or NaN depends on how products are fused."""
    sane = np.abs(expected) < 1e15
    assert sane.any()
    np.testing.assert_allclose(np.asarray(got)[sane], expected[sane], **CLOSE)


@pytest.fixture(scope="module")
def wild():
    """Three of five step sizes are far too large."""
    return sweep(grid=WILD, **TEN)


def test_a_diverging_run_is_nan_from_the_record_that_simulate_names(wild):
    """``diverged_at`` is the last version of simulate's history; before it, metrics are those of simulate."""
    for rate, seed in itertools.product(WILD["learning_rate"], SEEDS):
        run = alone(PROBLEM, optax.sgd, SCHEDULE, {"learning_rate": rate}, seed, every=5)
        mine, history = wild.sel(learning_rate=rate, seed=seed), run.history
        assert bool(mine["diverged"]) == run.diverged == (rate > 1)
        assert int(mine["diverged_at"]) == (history["version"][-1] if run.diverged else -1)
        kept = len(history["version"]) - run.diverged
        for name in ("loss", "grad_norm", "gap"):
            assert_same_until_overflow(mine[name][:kept], history[name][:kept])
            assert mine[name][kept:].isnull().all()
    found = wild["diverged_at"].isel(seed=0).values.tolist()
    assert found[4] < found[2] < found[1] < UPDATES


@pytest.mark.compiled_fully
def test_a_diverging_run_leaves_its_neighbours_as_they_are():
    """The same bits beside tame runs, from the same program."""
    wild, tame = (sweep(grid=grid, **TEN) for grid in (WILD, {"learning_rate": [0.05, 0.2, 0.3, 0.1, 0.4]}))
    for rate in (0.05, 0.1):
        np.testing.assert_array_equal(tame["loss"].sel(learning_rate=rate), wild["loss"].sel(learning_rate=rate))


def test_divergence_at_times_is_that_of_the_versions():
    """A time whose version is not finite any more, and all after it, are NaN."""
    times = np.linspace(0, SCHEDULE.time[-1], 30)[1:]
    result = sweep(grid=WILD, every=None, times=times)
    for rate in WILD["learning_rate"]:
        run = alone(PROBLEM, optax.sgd, SCHEDULE, {"learning_rate": rate}, 0, every=None, times=times)
        mine, kept = result.sel(learning_rate=rate).isel(seed=0), result.sizes["time"]
        if run.diverged:
            version, (low, high) = result["version"].values, broken_between(run)
            kept = int(np.count_nonzero(version <= low))
            assert int(mine["diverged_at"]) == version[version >= high].min()
        assert bool(mine["diverged"]) == run.diverged
        assert_same_until_overflow(mine["loss"][:kept], run.history["loss"][:kept])
        assert mine["loss"][kept:].isnull().all()


def test_a_batch_in_which_all_have_diverged_stops(watched):
    """The rest of the schedule is not computed, and other batches go on."""
    schedule = jasgd.protocols.asynchronous(FLEET, 2_000)
    result = sweep(schedule=schedule, grid={"learning_rate": [1e6, 1e9, 0.1]}, runs_at_once=1, every=10)
    assert len(watched.programs) < 1.5 * 2_000 / 128  # chunks with sixteen records at most
    assert result["diverged"].values.ravel().tolist() == [True, True, False]
    assert result["loss"].isel(learning_rate=2).notnull().all()
    assert result["loss"].isel(learning_rate=0, version=slice(10, None)).isnull().all()


def test_a_run_may_diverge_after_another_has_ended(stacked):
    """Of several schedules, each run's versions are its own."""

    def schedule(updates):
        return jasgd.protocols.asynchronous(FLEET, updates)

    result = sweep(schedule=schedule, grid={"updates": [6, 100], "learning_rate": [0.1, 1e6]}, every=5)
    assert result["diverged"].values.ravel().tolist() == [False, False, False, True]
    run = alone(PROBLEM, optax.sgd, schedule, {"updates": 100, "learning_rate": 1e6}, 0, every=5)
    assert result["diverged_at"].values.ravel().tolist() == [-1, -1, -1, run.history["version"][-1]]


# The dataset


@pytest.fixture(scope="module")
def labelled():
    """Two dimensions of a grid and two seeds."""
    return sweep(rule=optax.adam, grid={**RATE, "b1": [0.5, 0.9]}, seeds=[3, 5])


def test_dimensions_coordinates_and_units(labelled):
    """Names of the grid, the seed, the version; every variable says its unit."""
    assert labelled["loss"].dims == ("learning_rate", "b1", "seed", "version")
    assert labelled["diverged"].dims == labelled["diverged_at"].dims == ("learning_rate", "b1", "seed")
    assert set(labelled.data_vars) == {"loss", "grad_norm", "gap", "diverged", "diverged_at"}
    expected = {"learning_rate": RATES, "b1": [0.5, 0.9], "seed": [3, 5], "version": [0, 20, 40, 60, 80, 100]}
    for name, values in expected.items():
        assert labelled[name].dims == (name,)
        assert labelled[name].values.tolist() == values
    assert labelled["time"].dims == ("version",)
    np.testing.assert_array_equal(labelled["time"], SCHEDULE.version_time[::EVERY])
    units = {name: labelled[name].attrs["units"] for name in ("loss", "version", "time", "diverged_at")}
    assert units == {"loss": "1", "version": "server updates", "time": "s", "diverged_at": "server updates"}
    assert labelled["diverged_at"].attrs["never"] == -1


def test_provenance_travels_with_the_result(labelled):
    """Configuration, versions, device and revision."""
    attributes = labelled.attrs
    assert {"jax", "jaxlib", "jasgd", "numpy", "device", "git_revision", "created"} <= set(attributes)
    assert attributes["problem"] == PROBLEM.name
    assert attributes["rule"] == "adam"
    stored = {name: json.loads(attributes[name]) for name in ("grid", "seeds", "key", "every", "times", "schedules")}
    schedules = stored.pop("schedules")
    assert stored == {
        "grid": {"learning_rate": RATES, "b1": [0.5, 0.9]},
        "seeds": [3, 5],
        "key": [0, 0],
        "every": EVERY,
        "times": None,
    }
    assert [(s["protocol"], s["updates"], s["fleet"]) for s in schedules] == [("asynchronous", UPDATES, FLEET.name)]


def test_times_are_a_dimension():
    """The times asked for, 0 and the end; the version of each is a coordinate."""
    times = [0.5, 1.0, 2.0, 2.0, 7.3]
    result = sweep(grid=RATE, seeds=[0, 1], every=None, times=times)
    assert result["loss"].dims == ("learning_rate", "seed", "time")
    assert result["time"].values.tolist() == [0.0, 0.5, 1.0, 2.0, 7.3, SCHEDULE.time[-1]]
    assert (result["time"].attrs["units"], result["version"].attrs["units"]) == ("s", "server updates")
    assert result["version"].dims == ("time",)
    assert result["version"].values.tolist() == [int(np.count_nonzero(SCHEDULE.time <= t)) for t in result["time"].values]
    for rate, seed in itertools.product(RATES, (0, 1)):
        history = alone(PROBLEM, optax.sgd, SCHEDULE, {"learning_rate": rate}, seed, every=None, times=times).history
        _, first = np.unique(history["time"], return_index=True)
        mine = result.sel(learning_rate=rate, seed=seed)
        np.testing.assert_array_equal(mine["version"], history["version"][first])
        np.testing.assert_allclose(mine["loss"], history["loss"][first], **CLOSE)


def test_times_on_several_schedules(stacked):
    """Only the times asked for: every schedule ends elsewhere; each run has versions of its own."""
    times = [3.0, 9.0, 15.0]
    result = sweep(schedule=_until, grid=RATE, seeds=[0, 1, 2], every=None, times=times)
    assert result["time"].values.tolist() == [0.0, *times]
    assert result["version"].dims == ("learning_rate", "seed", "time")
    for rate, seed in itertools.product(RATES, (0, 1, 2)):
        history = alone(PROBLEM, optax.sgd, _until, {"learning_rate": rate}, seed, every=None, times=times).history
        mine = result.sel(learning_rate=rate, seed=seed)
        assert mine["version"].values.tolist() == history["version"][:4].tolist()
        np.testing.assert_allclose(mine["loss"], history["loss"][:4], **CLOSE)


def test_a_clock_of_server_steps_says_so(planned):
    """Schedules that are drawn instead of timed have no seconds, and runs of both kinds have no common clock."""
    assert sweep(schedule=DRAWN_DELAYS, grid=RATE)["time"].attrs["units"] == "server steps"

    def schedule(timed):
        return SCHEDULE if timed else DRAWN_DELAYS

    with pytest.raises(ValueError, match="clock"):
        sweep(rule=optax.sgd(0.1), schedule=schedule, grid={"timed": [True, False]})


def test_only_what_is_recorded_counts(planned):
    """Without ``every``, the start and the end; the end also if ``every`` does not divide it."""
    assert sweep(grid=RATE, every=None)["version"].values.tolist() == [0, 100]
    assert sweep(grid=RATE, every=30)["version"].values.tolist() == [0, 30, 60, 90, 100]


def test_a_sweep_survives_the_disk(tmp_path, wild, planned):
    """Labels, strings, bools, NaN, units and provenance are the same after saving and loading."""

    def rule(kind, nesterov):
        return optax.adam(0.1) if kind == "adam" else optax.sgd(0.1, nesterov=nesterov)

    points = [{"kind": "adam", "nesterov": False}, {"kind": "sgd", "nesterov": True}]
    listed = sweep(rule=rule, schedule=_until, grid=points, seeds=2)
    for result in (wild, listed):
        jasgd.results.save_dataset(result, tmp_path / "sweep.nc")
        loaded = xarray.load_dataset(tmp_path / "sweep.nc")
        xarray.testing.assert_identical(loaded, result)
        assert {name: loaded[name].dtype.kind for name in loaded.variables} == {
            name: "O" if result[name].dtype.kind == "U" and loaded[name].dtype.kind == "O" else result[name].dtype.kind
            for name in result.variables
        }


def test_progress_bar_counts_gradients(capsys, planned):
    """The bar reaches the number of deliveries of all runs, on stderr."""
    sweep(grid={"learning_rate": [0.1, 0.2, 0.3]}, runs_at_once=2, progress="a label")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a label: 100%" in shown.err


# Refusals

NUMBERS = "`grid` must map 'learning_rate' to"
LATE = [1.0, float(SCHEDULE.time[-1]) + 1]
BAD = {
    "misspelt name": (
        {"grid": {"learning_rat": RATES}},
        ValueError,
        "'learning_rat' of the grid; did you mean 'learning_rate'",
    ),
    "name that nothing takes": ({"grid": {"zzz": [1.0]}}, ValueError, "no function takes 'zzz' of the grid"),
    "nothing is a function": ({"rule": optax.sgd(0.1), "grid": RATE}, ValueError, "give `rule` as a function of it"),
    "no values": ({"grid": {"learning_rate": []}}, ValueError, f"{NUMBERS} numbers, at least one"),
    "no points": ({"grid": []}, ValueError, "must hold at least one point"),
    "points without names": ({"rule": optax.sgd(0.1), "grid": [{}]}, ValueError, "`grid`"),
    "points of different names": ({"grid": [{"learning_rate": 0.1}, {"momentum": 0.1}]}, ValueError, "the same names"),
    "a grid that is a string": ({"grid": "learning_rate"}, (TypeError, ValueError), "`grid`"),
    "a grid that is a number": ({"grid": 3}, (TypeError, ValueError), "`grid`"),
    "value twice": (
        {"grid": {"learning_rate": [0.1, 0.2, 0.1]}},
        ValueError,
        "a value twice among those of 'learning_rate'",
    ),
    "one value": ({"grid": {"learning_rate": 0.1}}, ValueError, f"{NUMBERS} a list of values, got 0.1"),
    "a string": ({"grid": {"learning_rate": "0.1"}}, ValueError, f"{NUMBERS} a list of values, got '0.1'"),
    "no number": ({"grid": {"learning_rate": [None, 0.1]}}, ValueError, f"{NUMBERS} numbers, at least one, got None"),
    "a matrix": ({"grid": {"learning_rate": np.ones((2, 2))}}, ValueError, NUMBERS),
    "no seeds": ({"seeds": 0}, ValueError, "`seeds` must be a positive number"),
    "empty seeds": ({"seeds": []}, ValueError, "`seeds` must be a positive number"),
    "seed twice": ({"seeds": [1, 1]}, ValueError, "`seeds` must be .* different whole numbers"),
    "negative seed": ({"seeds": [-1]}, ValueError, "`seeds` must be"),
    "seed too large": ({"seeds": [2**32]}, ValueError, r"below 2\^32"),
    "broken seed": ({"seeds": [0.5]}, ValueError, "`seeds` must be"),
    "broken number of seeds": ({"seeds": 2.0}, (TypeError, ValueError), "`seeds` must be"),
    "seeds that are no number": ({"seeds": True}, (TypeError, ValueError), "`seeds` must be"),
    "times beyond the end": ({"times": LATE, "every": None}, ValueError, "the end of the schedule"),
    "times backwards": ({"times": [3.0, 2.0], "every": None}, ValueError, "`times` must increase"),
    "every and times": ({"times": [1.0]}, ValueError, "either `every` or `times`"),
    "every": ({"every": 0}, ValueError, "`every` must be a positive whole number"),
    "old key": ({"key": np.array([0, 0], np.uint32)}, TypeError, "`key` must be a single key"),
    "keys": ({"key": jax.random.split(KEY, 2)}, TypeError, "`key` must be a single key"),
    "a number as rule": ({"rule": 0.1, "grid": None}, TypeError, "`rule` must be an Optax transformation"),
    "a fleet as schedule": ({"schedule": FLEET}, TypeError, r"`schedule` must be a jasgd\.Schedule"),
    "a schedule as problem": ({"problem": SCHEDULE}, TypeError, r"`problem` must be a jasgd\.Problem"),
    "infinite start": ({"params": np.full(6, np.inf, np.float32)}, ValueError, "finite at the start"),
    "none together": ({"runs_at_once": 0}, ValueError, "`runs_at_once` must be"),
    "fewer than none": ({"runs_at_once": -1}, ValueError, "`runs_at_once` must be"),
    "one and a half": ({"runs_at_once": 1.5}, (TypeError, ValueError), "`runs_at_once` must be"),
    "no devices": ({"devices": []}, ValueError, "`devices` must"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_one_sentence(case):
    """What was expected and what came, before anything is compiled."""
    arguments, error, sentence = BAD[case]
    compiled = batch.step._cache_size(), batch.init._cache_size()
    with pytest.raises(error, match=sentence):
        sweep(**{"grid": RATE, **arguments})
    assert (batch.step._cache_size(), batch.init._cache_size()) == compiled


@pytest.mark.parametrize("name", ["seed", "version", "time", "record", "point"])
def test_names_of_the_result_are_taken(name):
    """Whether or not a function takes them."""
    with pytest.raises(ValueError, match=f"`grid` cannot have a dimension called {name!r}"):
        sweep(rule=lambda **point: optax.sgd(0.1), grid={name: [0.1]})


@pytest.mark.parametrize("name", ["loss", "gap", "diverged", "diverged_at"])
def test_names_of_variables_are_refused_before_anything_is_computed(name, planned):
    """A metric and a dimension cannot have one name, and to learn that at the end would cost a whole sweep."""
    problem = {
        "loss": lambda loss: PROBLEM,
        "gap": lambda gap: PROBLEM,
        "diverged": lambda diverged: PROBLEM,
        "diverged_at": lambda diverged_at: PROBLEM,
    }[name]
    with pytest.raises(ValueError, match=f"{name!r}"):
        sweep(problem, optax.sgd(0.1), grid={name: ["a", "b"]})
    assert not planned.programs


def test_values_of_different_kinds_keep_theirs_or_are_refused(planned):
    """A number beside a string must not become a string, which nothing could be selected by."""

    def rule(momentum):
        return optax.sgd(0.1, momentum=None if momentum == "none" else momentum)

    try:
        result = sweep(rule=rule, grid={"momentum": ["none", 0.9]})
    except (TypeError, ValueError) as error:
        assert "momentum" in str(error)  # noqa: PT017
    else:
        assert result["loss"].sel(momentum=0.9).notnull().all()


def test_times_must_be_reached_by_every_schedule():
    """One schedule that is too short is enough."""

    def schedule(updates):
        return jasgd.protocols.asynchronous(jasgd.fleet.equal(1), updates)

    with pytest.raises(ValueError, match="at most 10, the end of the schedule"):
        sweep(rule=optax.sgd(0.1), schedule=schedule, grid={"updates": [100, 10]}, every=None, times=[5.0, 20.0])


def test_what_does_not_fit_is_refused_with_numbers(monkeypatch):
    """Before anything is allocated: how much is needed, how much there is, and what to do."""
    monkeypatch.setattr(widths, "free_memory", lambda device: 100.0)
    with pytest.raises(MemoryError, match=r"one run on each of 1 devices needs about .* GiB but .* Use fewer devices"):
        sweep(grid=RATE)


# What papers take from results


def losses(values, dims, **coords):
    """A sweep's dataset with the loss at the end; at version 50 it is the other way round."""
    last = np.asarray(values, np.float64)
    variables = {
        "loss": ((*dims, "version"), np.stack([10 - last, last], axis=-1)),
        "grad_norm": ((*dims, "version"), np.stack([last, 10 - last], axis=-1)),
        "diverged": (dims, np.isnan(last)),
    }
    return xarray.Dataset(variables, {**coords, "version": [50, 100], "time": ("version", [5.0, 10.0])})


NAN = np.nan


def test_best_has_the_smallest_median_over_the_seeds():
    """Not the smallest mean, nor the smallest single run; the other dimensions and variables stay."""
    table = [[[1.0, 2.0, 9.0], [3.0, 4.0, 8.0]], [[0.0, 3.0, 3.5], [2.0, 2.5, 3.0]]]
    data = losses(table, ("rate", "momentum", "seed"), rate=[0.1, 0.2], momentum=[0.0, 0.5], seed=[0, 1, 2])
    chosen = jasgd.results.best(data, over="rate")
    assert chosen["rate"].dims == ("momentum",)
    assert chosen["rate"].values.tolist() == [0.1, 0.2]
    last = chosen["loss"].isel(version=-1).transpose("momentum", "seed")
    assert last.values.tolist() == [[1.0, 2.0, 9.0], [2.0, 2.5, 3.0]]
    assert set(chosen.data_vars) == set(data.data_vars)
    both = jasgd.results.best(data, over=["rate", "momentum"])
    assert (float(both["rate"]), float(both["momentum"])) == (0.1, 0.0)
    assert both["loss"].isel(version=-1).values.tolist() == [1.0, 2.0, 9.0]


def test_best_counts_at_a_version_or_a_time_and_by_a_metric():
    """At version 50, and by the other metric, the order is the other one."""
    data = losses([[1.0], [2.0], [3.0]], ("rate", "seed"), rate=[0.1, 0.2, 0.3], seed=[0])
    assert float(jasgd.results.best(data, over="rate")["rate"]) == 0.1
    assert float(jasgd.results.best(data, over="rate", at=50)["rate"]) == 0.3
    assert float(jasgd.results.best(data, over="rate", metric="grad_norm")["rate"]) == 0.3
    timed = data.swap_dims(version="time")
    assert float(jasgd.results.best(timed, over="rate", at=5.0)["rate"]) == 0.3
    assert float(jasgd.results.best(timed, over="rate", at=10.0)["rate"]) == 0.1


def test_diverged_runs_lose():
    """A value at which half of the runs are lost loses to a worse one; one lost run of three does not decide."""
    table = [[0.1, NAN, NAN], [5.0, 5.0, 5.0], [4.0, NAN, 4.5]]
    data = losses(table, ("rate", "seed"), rate=[0.3, 0.1, 0.2], seed=[0, 1, 2])
    assert float(jasgd.results.best(data, over="rate")["rate"]) == 0.2
    assert float(jasgd.results.best(data.isel(rate=[0, 1]), over="rate")["rate"]) == 0.1
    assert float(jasgd.results.best(data.isel(rate=[0, 1], seed=[0, 1]), over="rate")["rate"]) == 0.1
    assert float(jasgd.results.best(data.isel(seed=0), over="rate")["rate"]) == 0.3


def test_best_of_a_sweep_that_diverges(wild):
    """The large step sizes are not chosen."""
    assert float(jasgd.results.best(wild, over="learning_rate")["learning_rate"]) == 0.1


def test_best_of_a_list_of_points():
    """All names of the best point are chosen together."""
    data = losses([[3.0, 3.0], [1.0, 2.0], [NAN, NAN]], ("point", "seed"), seed=[0, 1])
    data = data.assign_coords(learning_rate=("point", [0.1, 0.2, 9.0]), kind=("point", ["a", "b", "c"]))
    chosen = jasgd.results.best(data, over="point")
    assert (float(chosen["learning_rate"]), str(chosen["kind"].values)) == (0.2, "b")
    assert chosen["loss"].dims == ("seed", "version")


def test_best_takes_the_last_record_of_every_run():
    """Runs that end earlier than others have not diverged: each counts at its own end."""
    drawn = sweep(schedule=_until, grid={"learning_rate": [1e-4, 0.2]}, seeds=3)
    assert float(jasgd.results.best(drawn, over="learning_rate")["learning_rate"]) == 0.2


BAD_BEST = {
    "over": ({"over": "momentum"}, "`over` must be out of the dimensions rate, seed and"),
    "metric": ({"over": "rate", "metric": "accuracy"}, "the variables loss, grad_norm, diverged"),
    "one of several": ({"over": ["rate", "b1"]}, r"got \['rate', 'b1'\] and 'loss'"),
    "the record itself": ({"over": "version"}, "`over`"),
    "a version that was not recorded": ({"over": "rate", "at": 70}, "`at`"),
}


@pytest.mark.parametrize("case", BAD_BEST)
def test_best_refuses_in_one_sentence(case):
    """What is not there, and what is."""
    arguments, sentence = BAD_BEST[case]
    data = losses([[1.0], [2.0]], ("rate", "seed"), rate=[0.1, 0.2], seed=[0])
    with pytest.raises(ValueError, match=sentence):
        jasgd.results.best(data, **arguments)


def test_a_band_counts_diverged_runs_as_infinite():
    """One of five diverges: the median stays, the widest band does not; values are those of runs, not between them."""
    values = xarray.DataArray([[3.0, 1.0, NAN, 2.0, 4.0], [5.0, 1.0, 2.0, 3.0, 4.0]], dims=("version", "seed"))
    shown = jasgd.results.band(values)
    assert [shown[name].values.tolist() for name in ("low", "median", "high")] == [[2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]
    widest = jasgd.results.band(values, inner=1.0)
    assert [widest[name].values.tolist() for name in ("low", "high")] == [[1.0, 1.0], [np.inf, 5.0]]
    assert jasgd.results.band(values, over="version")["median"].dims == ("seed",)
    mostly = jasgd.results.band(xarray.DataArray([NAN, NAN, NAN, 1.0, 2.0], dims="seed"))
    assert [float(mostly[name]) for name in ("low", "median", "high")] == [2.0, np.inf, np.inf]
    with pytest.raises(ValueError, match=r"`inner` must lie between 0 and 1, got 1\.5"):
        jasgd.results.band(values, inner=1.5)


def test_a_band_of_a_sweep(wild):
    """Over the seeds, for every other coordinate."""
    shown = jasgd.results.band(wild["loss"])
    assert shown["median"].dims == ("learning_rate", "version")
    assert np.isposinf(shown["median"].isel(learning_rate=4, version=-1))
    np.testing.assert_array_equal(shown["low"].sel(learning_rate=0.1), wild["loss"].sel(learning_rate=0.1).min("seed"))
    assert (shown["low"] <= shown["high"]).all()


# Compilations


def compilations():
    """Programs that have been compiled so far."""
    return [function._cache_size() for function in (batch.init, batch.step, batch.evaluate)]


def test_a_second_sweep_of_the_same_structure_compiles_nothing():
    """Other numbers, seeds, data and durations of the same shapes."""

    def run(data, rates, seeds, key, power):
        schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(N, power), UPDATES)
        grid = {"learning_rate": rates, "b1": [rates[0], 0.9]}
        options = {"grid": grid, "seeds": seeds, "key": jax.random.key(key), "runs_at_once": 4}
        return sweep(_regression(data), optax.adam, schedule, **options)

    run(0, [0.1, 0.2], [0, 1], 0, 1.0)
    compiled = compilations()
    run(1, [0.3, 0.01], [7, 5], 3, 0.9)
    assert compilations() == compiled


def test_other_seeds_of_random_schedules_compile_nothing(stacked, planned):
    """Schedules that are drawn for every seed, of one length."""

    def schedule(seed):
        return jasgd.protocols.asynchronous(RANDOM_FLEET, UPDATES, seed=seed)

    sweep(schedule=schedule, grid=RATE, seeds=[0, 1])
    sweep(schedule=schedule, grid={"learning_rate": [0.3, 0.4]}, seeds=[8, 3])
    assert stacked.groups == [4, 4]
    assert len(set(stacked.programs)) == 1


def test_batches_that_repeat_a_run_compile_nothing_more(planned):
    """Three points, two at a time: the second batch holds one point twice, under the same program."""
    sweep(grid={"learning_rate": [0.1, 0.2, 0.3]}, runs_at_once=2)
    assert planned.together == [2] * 4
    assert len(set(planned.programs)) == 1


def test_chunks_in_which_some_runs_have_ended_compile_nothing_more(stacked, planned):
    """Several schedules of different lengths: one program for all chunks."""
    sweep(schedule=_until, grid=RATE, seeds=3)
    assert planned.together == [6] * 2
    assert len(set(planned.programs)) == 1


def _multi_steps(learning_rate):
    return optax.MultiSteps(optax.sgd(learning_rate), 3).gradient_transformation()


NUMBERS_ALONE = {
    "sgd": optax.sgd,
    "cosine": lambda learning_rate: optax.sgd(optax.cosine_decay_schedule(learning_rate, 100)),
    "dana_zero": functools.partial(_dana_zero, momentum=0.9),
    "ringleader": _ringleader,
    "fedbuff": lambda learning_rate: jasgd.rules.fedbuff(learning_rate),
    "gap_aware": lambda learning_rate: jasgd.rules.gap_aware(learning_rate),
    "inject_hyperparams": _injected,
    "MultiSteps": _multi_steps,
}


class _PlannedEnoughError(Exception):
    """Groups are known."""


@pytest.mark.parametrize("rule", NUMBERS_ALONE)
def test_a_step_size_is_a_number_of_any_rule(rule, monkeypatch):
    """Rules that differ in a step size alone share a program, wherever the step size stands in them."""
    found, groups = [], sweeps.groups_of

    def stop(runs, devices):
        found.extend(len(group.runs) for group in groups(runs, devices))
        raise _PlannedEnoughError

    monkeypatch.setattr(sweeps, "groups_of", stop)
    with pytest.raises(_PlannedEnoughError):
        sweep(rule=NUMBERS_ALONE[rule], grid={"learning_rate": [0.1, 0.2, 0.3]})
    assert found == [3]


# Grids and batches

NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)
COLUMN = st.lists(st.one_of(st.integers(0, 9), st.floats(0.01, 1)), min_size=1, max_size=4, unique=True)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_grid_is_the_product_of_its_values(data):
    """Every combination once, the last name fastest; a list of points is as it was."""
    grid = {name: data.draw(COLUMN) for name in data.draw(NAMES)}
    found = grid_of(grid)
    assert [tuple(point.values()) for point in found.points] == list(itertools.product(*grid.values()))
    assert all(list(point) == list(grid) for point in found.points)
    assert found.dims == {name: len(values) for name, values in grid.items()}
    assert found.coords == {name: (name, values) for name, values in grid.items()}
    again = grid_of(found.points)
    assert (again.points, again.dims) == (found.points, {"point": len(found.points)})
    assert {name: column for name, (_, column) in again.coords.items()} == {
        name: [point[name] for point in found.points] for name in grid
    }


def test_numbers_of_arrays_become_plain_numbers():
    """NumPy's and JAX's scalars, whole and not."""
    grid = grid_of({"a": np.array([1, 2]), "b": jnp.array([0.5]), "c": [np.float32(0.25)], "d": [np.bool_(True)]})
    assert grid.points[0] == {"a": 1, "b": 0.5, "c": 0.25, "d": True}
    assert {type(value) for point in grid.points for value in point.values()} == {int, float, bool}


@settings(max_examples=100, deadline=None)
@given(points=st.integers(1, 12), seeds=st.integers(1, 7), most=st.integers(1, 90), devices=st.integers(1, 9))
def test_batches_hold_every_run_and_little_else(points, seeds, most, devices):
    """Strips of one seed, all of equal length, equally many in every batch, hardly any run twice."""
    runs = [
        types.SimpleNamespace(index=point * seeds + seed, point=point, seed=seed)
        for point, seed in itertools.product(range(points), range(seeds))
    ]
    group = Group.__new__(Group)
    group.runs = runs
    width = Width.at_most(most, group, devices)
    assert 1 <= width.runs <= most
    batches = batches_of(group, width, devices)
    strips = [strip for portion in batches for strip in portion]
    assert {id(run) for strip in strips for run in strip} == set(map(id, runs))
    assert all(len({run.seed for run in strip}) == 1 for strip in strips)
    assert {len(strip) for strip in strips} == {width.of_seed}
    assert {len(portion) for portion in batches} == {width.seeds * devices}
    # Of each seed as few strips as possible, of all strips as few batches; what is repeated is less than one run per strip
    # and less than one batch of strips.
    fewest = seeds * -(-points // min(most, points))
    different = len({(strip[0].seed, *(run.point for run in strip)) for strip in strips})
    assert different == fewest
    assert different * width.of_seed - len(runs) < fewest
    assert len(batches) == -(-fewest // (width.seeds * devices))
