"""Pairs of gradients on one sample, and the momentum that uses them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd.oracles import pairs
from jasgd.rules import Pair, storm

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(5)


def stretched(noise):
    """Noise that multiplies the curvature, so that a pair tells more than one gradient."""
    curvature = jnp.linspace(0.2, 1.0, 6)
    return jasgd.Problem(
        init=lambda key: jnp.ones(6),
        loss=lambda x, xi: 0.5 * jnp.sum(curvature * (1 + xi) * x**2) + 0.1 * jnp.sum(xi * x),
        sample=lambda key, worker: noise * jax.random.normal(key, (6,)),
        metrics=lambda x: {"loss": 0.5 * jnp.sum(curvature * x**2), "grad_norm": jnp.linalg.norm(curvature * x)},
    )


PROBLEM = stretched(0.5)
FLEET = jasgd.fleet.exponential([1.0, 2.0, 0.7])
SCHEDULE = jasgd.protocols.asynchronous(FLEET, 50, seed=1)


def test_the_rule_equals_a_slow_loop():
    """The formula, with the pair of the version that each job read."""
    run = jasgd.simulate(PROBLEM, storm(0.2, momentum=0.3), SCHEDULE, oracle=pairs(), key=KEY)
    _, jobs_key = jasgd.split_key(KEY)
    points, d = [np.ones(6)], None
    points.insert(0, points[0])  # points[v + 1] is version v, points[0] the one before version 0
    for k in range(len(SCHEDULE)):
        key = jasgd.job_key(jobs_key, int(SCHEDULE.worker[k]), int(SCHEDULE.job[k]))
        batch, read = PROBLEM.sample(key, SCHEDULE.worker[k]), int(SCHEDULE.read[k])
        now, before = (np.asarray(PROBLEM.gradient(jnp.asarray(points[v], jnp.float32), batch)) for v in (read + 1, read))
        d = now if d is None else now + 0.7 * (d - before)
        points.append(points[-1] - 0.2 * d)
    np.testing.assert_allclose(run.params.now, points[-1], rtol=0, atol=2e-6)
    np.testing.assert_allclose(run.params.before, points[-2], rtol=0, atol=2e-6)


def test_with_full_momentum_it_is_sgd():
    """Nothing of the last estimate is left with a = 1."""
    run = jasgd.simulate(PROBLEM, storm(0.1, momentum=1.0), SCHEDULE, oracle=pairs(), key=KEY)
    plain = jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE, key=KEY)
    np.testing.assert_allclose(run.params.now, plain.params, rtol=0, atol=1e-6)
    assert run.history["loss"][0] == plain.history["loss"][0]


def test_without_noise_and_delay_the_estimate_is_the_gradient():
    """The corrections telescope, whatever a is."""
    lone = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 40)
    exact = jasgd.simulate(stretched(0.0), optax.sgd(0.3), lone, key=KEY)
    for a in (0.0, 0.4):
        run = jasgd.simulate(stretched(0.0), storm(0.3, momentum=a), lone, oracle=pairs(), key=KEY)
        np.testing.assert_allclose(run.params.now, exact.params, rtol=0, atol=1e-6)


def test_the_estimate_is_better_than_a_gradient():
    """Its error is about sqrt(a / (2 - a)) = 0.16 of the noise of one gradient; without pairs it would lag behind, too."""
    lone = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), 500)
    errors, noise = [], []
    for seed in range(8):
        key = jax.random.key(seed)
        run = jasgd.simulate(PROBLEM, storm(0.05, momentum=0.05), lone, oracle=pairs(), key=key)
        exact = PROBLEM.gradient(run.params.before, jnp.zeros(6))
        errors.append(run.rule_state.estimate - exact)
        noise.append(PROBLEM.gradient(run.params.before, PROBLEM.sample(key, 0)) - exact)
    assert np.square(errors).mean() < 0.1 * np.square(noise).mean()


def test_rounds_sum_pairs_and_models_count_twice():
    """A gathered round steps with the mean pair; a worker is sent two models and sends two gradients."""
    rounds = jasgd.protocols.rennala(FLEET, 20, 4)
    run = jasgd.simulate(PROBLEM, storm(0.1, momentum=0.3), rounds, oracle=pairs(), key=KEY)
    slow = jasgd.reference.replay(pairs().of(PROBLEM), storm(0.1, momentum=0.3), rounds, key=KEY)
    np.testing.assert_allclose(run.params.now, slow[-1].now, rtol=0, atol=1e-6)
    plain = jasgd.simulate(PROBLEM, optax.sgd(0.1), rounds, key=KEY)
    for name in ("uploaded_bytes", "downloaded_bytes"):
        np.testing.assert_array_equal(run.history[name], 2 * plain.history[name])


def test_bad_input_is_refused():
    """One sentence each."""
    with pytest.raises(ValueError, match="`momentum` must be a number from 0 to 1"):
        storm(0.1, momentum=1.5)
    with pytest.raises(TypeError, match=r"`params` must be a jasgd\.rules\.Pair"):
        jasgd.simulate(PROBLEM, storm(0.1, momentum=0.5), SCHEDULE, key=KEY)
    with pytest.raises(ValueError, match="made by an oracle already"):
        pairs().of(dataclasses.replace(PROBLEM, job_gradients=np.asarray(3)))
    assert Pair(now=1, before=2).before == 2
