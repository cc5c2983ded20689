"""The driver: recording, divergence, refusals, kinds of parameters."""

import dataclasses
import subprocess
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import jasgd
from jasgd import engine, memory, records
from jasgd.lanes import choose_lanes, gradients_per_round

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
PROBLEM = jasgd.problems.quadratic(6, noise=0.1)
FLEET = jasgd.fleet.power_law(5, 1.0)
SCHEDULE = jasgd.protocols.asynchronous(FLEET, 100)


def test_history_starts_at_version_0_and_ends_at_the_end():
    """Versions, times and metrics at version 0, every so often, and at the last version."""
    run = jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY, every=30)
    assert run.history["version"].tolist() == [0, 30, 60, 90, 100]
    np.testing.assert_array_equal(run.history["time"], SCHEDULE.version_time[[0, 30, 60, 90, 100]])
    points = jasgd.reference.replay(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY)
    for row, version in enumerate(run.history["version"]):
        for name, value in PROBLEM.metrics(points[version]).items():
            np.testing.assert_allclose(run.history[name][row], value, rtol=2e-5, atol=1e-6)
    assert jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY).history["version"].tolist() == [0, 100]


@pytest.mark.parametrize("lanes", [1, 3])
def test_recording_at_times_takes_the_version_of_that_moment(lanes):
    """At time t the history holds the newest version that exists at t."""
    times = [0.5, 1.0, 2.0, 2.0, 7.3, 20.0]
    run = jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY, times=times, lanes=lanes)
    assert run.history["time"].tolist() == [0.0, *times, SCHEDULE.time[-1]]
    expected = [int(np.count_nonzero(SCHEDULE.time <= t)) for t in run.history["time"]]
    assert run.history["version"].tolist() == expected


@pytest.mark.compiled_fully
def test_recording_does_not_change_the_result():
    """The same bits with and without records."""
    runs = [jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY, every=every) for every in (None, 1, 7)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.params, runs[0].params)


def test_divergence_stops_and_says_where():
    """Parameters that are no longer finite end the run, between two versions that are named."""
    run = jasgd.simulate(PROBLEM, optax.sgd(9.0), jasgd.protocols.asynchronous(FLEET, 20_000), key=KEY, every=10, lanes=1)
    assert run.diverged
    low, high = run.history["version"][-2:]
    assert f"finite at version {low} and not at version {high}" in run.message
    assert high - low == 10
    assert high < 20_000
    points = jasgd.reference.replay(PROBLEM, optax.sgd(9.0), jasgd.protocols.asynchronous(FLEET, int(high)), key=KEY)
    assert np.isfinite(points[low]).all()
    assert not np.isfinite(points[high]).all()


def test_a_run_that_ends_well_says_so():
    """No divergence, and a sentence."""
    run = jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY)
    assert (run.diverged, run.message) == (False, "finished after 100 updates.")


def test_provenance_is_stored_and_labelled():
    """Configuration, versions, device and revision travel with the labelled result."""
    run = jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=jax.random.key(5), every=50)
    dataset = run.to_dataset()
    assert dataset.attrs["key"] == "[0, 5]"
    assert dataset.attrs["jax"] == jax.__version__
    assert {"device", "git_revision", "problem", "schedule", "schedule_arguments", "numpy"} <= set(dataset.attrs)
    assert dataset["time"].attrs["units"] == "s"
    np.testing.assert_array_equal(dataset["loss"], run.history["loss"])
    drawn = jasgd.simulate(PROBLEM, optax.sgd(0.05), jasgd.protocols.delays(2, 10, 3), key=KEY)
    assert drawn.to_dataset()["time"].attrs["units"] == "server steps"
    assert drawn.provenance["clock"] == "steps"


def test_progress_bar_counts_gradients(capsys):
    """The bar reaches the number of deliveries, on stderr."""
    jasgd.simulate(PROBLEM, optax.sgd(0.05), SCHEDULE, key=KEY, progress="a label")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a label: 100%" in shown.err


BAD = {
    "every": ({"every": 0}, ValueError, "`every` must be a positive whole number"),
    "every and times": ({"every": 3, "times": [1.0]}, ValueError, "either `every` or `times`"),
    "times beyond the end": ({"times": [1e9]}, ValueError, "the end of the schedule"),
    "times backwards": ({"times": [3.0, 2.0]}, ValueError, "`times` must increase"),
    "lanes": ({"lanes": 0}, ValueError, "`lanes` must be a positive whole number, got 0"),
    "old key": ({"key": np.array([0, 0], np.uint32)}, TypeError, "`key` must be a single key"),
    "keys": ({"key": jax.random.split(KEY, 2)}, TypeError, "`key` must be a single key"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_get_one_sentence(case):
    """What was expected and what came, before anything is compiled."""
    arguments, error, sentence = BAD[case]
    with pytest.raises(error, match=sentence):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE, **{"key": KEY, **arguments})


def test_wrong_kinds_of_objects_are_refused():
    """A step size in place of a rule, a fleet in place of a schedule, too few shards, a gradient of another structure."""
    with pytest.raises(TypeError, match="`rule` must be an Optax transformation"):
        jasgd.simulate(PROBLEM, 0.1, SCHEDULE, key=KEY)
    with pytest.raises(TypeError, match=r"`schedule` must be a jasgd\.Schedule"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), FLEET, key=KEY)
    with pytest.raises(ValueError, match="5 workers but the problem has data for 3"):
        jasgd.simulate(jasgd.problems.logistic_regression(3), optax.sgd(0.1), SCHEDULE, key=KEY)
    with pytest.raises(ValueError, match="the schedule is empty"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE.first_updates(0), key=KEY)


def test_bad_problems_and_starts_are_refused():
    """Integer or infinite parameters, gradients of another shape or dtype, metrics that cannot be recorded."""

    def attempt(start=None, **changes):
        jasgd.simulate(dataclasses.replace(PROBLEM, **changes), optax.sgd(0.1), SCHEDULE, key=KEY, params=start)

    with pytest.raises(TypeError, match="floating point, but params is int32"):
        attempt(np.ones(6, np.int32))
    with pytest.raises(ValueError, match="finite at the start, but params is not"):
        attempt(np.full(6, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"the gradient of params must be float32\[6\], got float32\[\]"):
        attempt(gradient=lambda x, z: jnp.sum(x))
    with pytest.raises(ValueError, match=r"must be bfloat16\[6\], got float32\[6\]"):
        attempt(jnp.ones(6, jnp.bfloat16), gradient=lambda x, z: x.astype(jnp.float32))
    with pytest.raises(ValueError, match="the gradient must have the structure"):
        attempt(gradient=lambda x, z: {"x": x})
    with pytest.raises(ValueError, match="at least `loss` and `grad_norm`"):
        attempt(metrics=lambda x: {"loss": x[0]})
    with pytest.raises(ValueError, match=r"must not return 'time': the history has version, time, .* already"):
        attempt(metrics=lambda x: {"loss": x[0], "grad_norm": x[0], "time": x[0]})
    with pytest.raises(TypeError, match=r"`problem` must be a jasgd\.Problem"):
        jasgd.simulate(SCHEDULE, optax.sgd(0.1), SCHEDULE, key=KEY)


def test_unlawful_schedules_are_refused():
    """Whatever breaks a law of schedules is refused before anything is computed."""
    twice = dataclasses.replace(SCHEDULE, job=np.zeros(100, np.int32), ledger=None)
    with pytest.raises(ValueError, match=r"a \(worker, job\) pair must occur once"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), twice, key=KEY)
    broken = dataclasses.replace(SCHEDULE, weight=np.full(100, np.nan))
    with pytest.raises(ValueError, match="`weight` must be finite"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), broken, key=KEY)


def test_many_records_close_together_need_few_slots():
    """Records that cluster make shorter chunks, not a larger ring; equal versions are kept once."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(10, 0.5), 2_000)
    times = np.linspace(0, 20.0, 500)[1:]
    run = jasgd.simulate(PROBLEM, optax.sgd(0.01), schedule, key=KEY, times=times, lanes=1)
    assert run.history["version"][0] == 0
    assert run.history["version"].tolist() == [0, *(np.count_nonzero(schedule.time <= t) for t in times), 2_000]
    program = engine.traced(PROBLEM, optax.sgd(0.1), PROBLEM.init(KEY), KEY)
    steps = records.steps_per_chunk(program, schedule, 1, np.unique(run.history["version"]))
    assert np.bincount(np.unique(run.history["version"]) // steps).max() <= 17


def test_what_does_not_fit_is_refused_with_numbers(monkeypatch):
    """Before anything is allocated: how much is needed, how much there is, and what to do."""
    monkeypatch.setattr(memory, "free_memory", lambda: 100.0)
    with pytest.raises(MemoryError, match=r"needs about .* GiB but .* GiB are free: 5 snapshots .* use fewer lanes"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE, key=KEY, lanes=1)


class _Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(nnx.relu(self.hidden(x)))


def _nnx_problem():
    graph, _ = nnx.split(_Net(nnx.Rngs(0)))
    return (lambda key: nnx.state(_Net(nnx.Rngs(params=key)))), lambda state, x: nnx.merge(graph, state)(x)


def _linen_problem():
    model = nn.Sequential([nn.Dense(4), nn.relu, nn.Dense(1)])
    return (lambda key: model.init(key, jnp.zeros((1, 3)))), model.apply


def _nested_problem():
    def init(key):
        return {"a": {"w": jax.random.normal(key, (3, 4))}, "b": [jnp.zeros(4), (jnp.ones((4, 1)),)]}

    return init, lambda p, x: jnp.tanh(x @ p["a"]["w"] + p["b"][0][None, :]) @ p["b"][1][0]


@pytest.mark.parametrize("kind", [_nnx_problem, _linen_problem, _nested_problem])
def test_parameters_may_be_any_pytree(kind):
    """Flax nnx states, linen variables and nested containers train, and keep their structure."""
    init, apply = kind()
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True)

    def loss(params, rows):
        return jnp.mean((apply(params, rows[0]) - rows[1]) ** 2)

    problem = jasgd.Problem(
        init=init,
        loss=loss,
        sample=lambda key, worker: tuple(a[jax.random.randint(key, (8,), 0, 20)] for a in (jnp.asarray(x), jnp.asarray(y))),
        metrics=lambda p: {"loss": loss(p, (x, y)), "grad_norm": optax.tree.norm(jax.grad(loss)(p, (x, y)))},
    )
    run = jasgd.simulate(problem, optax.adam(0.05), SCHEDULE, key=KEY, lanes=2)
    assert jax.tree.structure(run.params) == jax.tree.structure(init(KEY))
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]


def test_double_precision():
    """Under jax_enable_x64 parameters, times and results are float64, and agree with the reference to 1e-12."""
    script = """
import jax, jasgd, optax, numpy as np
jax.config.update("jax_enable_x64", True)
problem = jasgd.problems.quadratic(6)
schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, 1.0), 100)
run = jasgd.simulate(problem, optax.sgd(0.05), schedule, key=jax.random.key(0), lanes=2)
points = jasgd.reference.replay(problem, optax.sgd(0.05), schedule, key=jax.random.key(0))
assert run.params.dtype == np.float64
assert abs(run.params - points[-1]).max() < 1e-12, abs(run.params - points[-1]).max()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_simulation_needs_no_extra():
    """The core imports neither xarray, matplotlib, tyro, tqdm nor scikit-learn."""
    script = """
import sys
import jax, jasgd, optax
schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 5)
jasgd.simulate(jasgd.problems.quadratic(3), optax.sgd(0.1), schedule, key=jax.random.key(0))
assert not {"xarray", "matplotlib", "tyro", "tqdm", "sklearn", "h5netcdf"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_width_of_rounds():
    """Rounds of m gathered gradients get m lanes; other schedules count as rounds of one."""
    program = engine.traced(PROBLEM, optax.sgd(0.1), PROBLEM.init(KEY), KEY)
    rounds = jasgd.protocols.minibatch(FLEET, 4)
    assert gradients_per_round(rounds) == 5
    assert gradients_per_round(SCHEDULE) == 1
    assert choose_lanes(program, rounds, room=100) == 5
    assert choose_lanes(program, rounds, room=3) <= 3
    assert choose_lanes(program, SCHEDULE, room=100) == 1


def test_minibatch_is_batched_sgd():
    """All gradients of a round at one point, averaged: the reference's result, and delays 0."""
    schedule = jasgd.protocols.minibatch(FLEET, 20)
    run = jasgd.simulate(PROBLEM, optax.sgd(0.5), schedule, key=KEY)
    np.testing.assert_allclose(run.params, jasgd.reference.replay(PROBLEM, optax.sgd(0.5), schedule, key=KEY)[-1], atol=1e-6)
    assert run.steps == 20
