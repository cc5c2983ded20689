"""Read models: what a worker gets that reads while others write, against the definitions and a slow loop."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick

import jasgd
from jasgd.oracles import gradient, inconsistent
from jasgd.plan import plan
from jasgd.read_models import Coordinates, Updates, read_key

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(3)
DIM = 6
PROBLEM = jasgd.problems.quadratic(DIM, noise=0.3)
MODELS = [Updates(), Updates(probability=0.2), Coordinates(), Coordinates(window=2)]
FLEET = jasgd.fleet.exponential([1.0, 2.5, 1.7, 4.0, 0.6])


def reading(model, problem=PROBLEM):
    return inconsistent(gradient(), model).of(problem)


def stacked(points):
    return np.array([np.asarray(p) for p in points])


@pytest.mark.compiled_fully
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_point_is_what_the_definition_says(model):
    """x_k minus the unseen updates, or each coordinate of a version of its own, written out with loops."""
    rng, delay = np.random.default_rng(0), 5
    versions = rng.normal(size=(delay + 1, 3, 2))
    longer = np.concatenate([versions, np.repeat(versions[-1:], 4, axis=0)])  # as the engine pads it
    key = jax.random.key(7)
    found = model.form(key, jnp.asarray(longer), jnp.int32(delay))
    np.testing.assert_array_equal(found, model.form(key, jnp.asarray(versions), jnp.int32(delay)))
    past = versions[::-1]  # past[a] = x_{k - a}
    if isinstance(model, Updates):
        expected = past[0].copy()
        for a in range(delay):
            seen = jax.random.bernoulli(jax.random.fold_in(key, delay - 1 - a), model.probability)
            expected -= (1 - int(seen)) * (past[a] - past[a + 1])
    else:
        window = delay if model.window is None else model.window
        draws = jax.random.randint(jax.random.split(key, 1)[0], (3, 2), 0, window + 1)
        expected = np.array([[past[delay - draws[i, j]][i, j] for j in range(2)] for i in range(3)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_engine_equals_the_slow_loop(model):
    """Random durations, delays up to a dozen, gathered rows, and a rule that asks for the point."""
    schedule = jasgd.protocols.asynchronous(FLEET, 60, wait_for=2, seed=1)
    rule = jasgd.rules.dc_asgd(0.1, strength=0.5)
    run = jasgd.simulate(PROBLEM, rule, schedule, oracle=inconsistent(gradient(), model), key=KEY)
    compiled = types.SimpleNamespace(form=quick.jit(model.form))  # once per delay instead of once per operation
    slow = jasgd.reference.replay(dataclasses.replace(reading(model), read_model=compiled), rule, schedule, key=KEY)
    np.testing.assert_allclose(run.params, slow[-1], rtol=0, atol=2e-5)
    plain = jasgd.simulate(PROBLEM, rule, schedule, key=KEY)
    assert np.abs(np.asarray(plain.params) - np.asarray(run.params)).max() > 1e-3  # it does make a difference


def test_a_window_restores_lanes():
    """With a short window gradients are computed together, and the result is the same."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(16), 160)
    oracle = inconsistent(gradient(), Coordinates(window=3))
    slow = jasgd.reference.replay(oracle.of(PROBLEM), optax.sgd(0.05), schedule, key=KEY)
    wide = jasgd.simulate(PROBLEM, optax.sgd(0.05), schedule, oracle=oracle, key=KEY, lanes=8)
    assert wide.steps < 30
    np.testing.assert_allclose(wide.params, slow[-1], rtol=0, atol=1e-5)
    endless = jasgd.plan.plan(schedule, 8, window=100)
    assert endless.steps == 160  # each needs the version just before its use


@pytest.mark.compiled_fully
def test_without_delay_or_window_nothing_changes():
    """Bit for bit the consistent read: a lone worker, a window of 0, no update seen."""
    lone = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 30)
    late = jasgd.protocols.asynchronous(FLEET, 60, seed=2)
    for schedule, models in [(lone, MODELS), (late, [Coordinates(window=0), Updates(probability=0.0)])]:
        plain = jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, key=KEY, lanes=1)
        for model in models:
            run = jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, oracle=inconsistent(gradient(), model), key=KEY)
            np.testing.assert_array_equal(run.params, plain.params)


def test_all_updates_seen_is_the_current_version():
    """With probability 1 every job computes at the version just before its use, as a lone worker does."""
    problem = dataclasses.replace(PROBLEM, sample=lambda key, worker: jnp.zeros(DIM))
    schedule = jasgd.protocols.asynchronous(FLEET, 60, seed=2)
    fresh = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 60)
    oracle = inconsistent(gradient(), Updates(probability=1.0))
    run = jasgd.simulate(problem, optax.sgd(0.1), schedule, oracle=oracle, key=KEY)
    plain = jasgd.simulate(problem, optax.sgd(0.1), fresh, key=KEY)
    np.testing.assert_allclose(run.params, plain.params, rtol=0, atol=1e-6)


def test_the_mean_read_is_half_way_and_the_mean_of_the_versions():
    """E x = (x_k + x_{k - tau}) / 2 for updates; the mean of all versions for coordinates; 5 standard errors."""
    versions = jnp.asarray(np.random.default_rng(1).normal(size=(7, 40)), jnp.float32)
    keys = jax.random.split(KEY, 4000)
    for model, expected in [(Updates(), (versions[0] + versions[-1]) / 2), (Coordinates(), versions.mean(axis=0))]:
        draws = jax.vmap(lambda key, model=model: model.form(key, versions, jnp.int32(6)))(keys)
        error = np.asarray(draws.std(axis=0)) / np.sqrt(len(keys))
        assert np.all(np.abs(draws.mean(axis=0) - expected) < 5 * error)


def test_a_sweep_equals_single_runs():
    """Several read models, step sizes, seeds, and schedules of different delays in one program."""
    schedules = {n: jasgd.protocols.asynchronous(jasgd.fleet.equal(n), 40) for n in (1, 3, 9)}
    oracle = inconsistent(gradient(), Coordinates())
    found = jasgd.sweep(
        PROBLEM,
        optax.sgd,
        lambda workers: schedules[workers],
        grid={"learning_rate": [0.02, 0.1], "workers": list(schedules)},
        seeds=2,
        key=KEY,
        oracle=oracle,
    )
    for rate in (0.02, 0.1):
        for n, schedule in schedules.items():
            for seed in range(2):
                key = jax.random.fold_in(KEY, seed)
                alone = jasgd.simulate(PROBLEM, optax.sgd(rate), schedule, oracle=oracle, key=key)
                mine = found["loss"].sel(learning_rate=rate, workers=n, seed=seed).isel(version=-1)
                np.testing.assert_allclose(mine, alone.history["loss"][-1], rtol=2e-5)


def test_bad_input_is_refused():
    """One sentence each."""
    with pytest.raises(ValueError, match="`probability` must be a number from 0 to 1, got 2"):
        Updates(probability=2)
    with pytest.raises(ValueError, match="`window` must be a whole number of versions"):
        Coordinates(window=-1)
    with pytest.raises(TypeError, match="`read_model` must be one of"):
        inconsistent(gradient(), "coordinate")
    with pytest.raises(ValueError, match="has a read model already"):
        inconsistent(inconsistent(gradient(), Updates()), Updates()).of(PROBLEM)
    execution = jasgd.decentralized.dasgd(jasgd.fleet.equal(2), 4)
    with pytest.raises(ValueError, match="without a server"):
        jasgd.decentralized.simulate(reading(Updates()), optax.sgd(0.1), execution, key=KEY)


def test_the_key_of_a_read_is_not_that_of_the_sample():
    """Nor that of a message."""
    key = jasgd.job_key(KEY, 1, 2)
    assert jax.random.key_data(read_key(key)).tolist() != jax.random.key_data(key).tolist()


def test_versions_are_kept_while_some_read_may_see_them():
    """A slot of every version from the one that is read to the one before the use."""
    schedule = jasgd.protocols.asynchronous(FLEET, 50, seed=4)
    made = plan(schedule, 1, window=10**6)
    assert made.window == schedule.delay.max()
    assert made.seen_slots(slice(None)).shape == (50, made.window + 1)
    assert made.slots >= made.window
