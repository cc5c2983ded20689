"""Local steps: pseudo-gradients against a loop that makes each step, their limits, FedBuff with them, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick

import jasgd
from jasgd import compressors, fleet, methods, oracles, problems, protocols, rules

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
JOB = jasgd.job_key(KEY, 1, 5)


def curved():
    """Two leaves, curvature, and a noise of each worker's own size that multiplies the point."""

    def loss(params, noise):
        x = jnp.concatenate([params["w"].ravel(), params["b"][None]])
        return jnp.sum(x**4) / 8 + jnp.sum((1 + noise) * x**2) / 2 - jnp.sum(noise * x)

    def metrics(params):
        value, gradient = jax.value_and_grad(loss)(params, jnp.zeros(5))
        return {"loss": value, "grad_norm": optax.tree.norm(gradient)}

    return jasgd.Problem(
        init=lambda key: {"w": jax.random.uniform(key, (2, 2)) + 0.5, "b": jnp.ones(())},
        loss=loss,
        sample=lambda key, worker: (1 + worker) * jax.random.uniform(key, (5,), minval=-0.5, maxval=0.5),
        metrics=metrics,
        name="curved",
    )


CURVED = curved()
INNER = {
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "adamw": optax.adamw(optax.linear_schedule(0.1, 0.01, 8)),
}


def assert_close(found, expected, tolerance=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance), found, expected)


GRADIENT = quick.jit(lambda y, key, worker: CURVED.gradient(y, CURVED.sample(key, worker)))


def by_hand(tx, start, key, worker, steps):
    """One step after the other, from a fresh state; returns start minus end."""
    y, state = start, tx.init(start)
    for step in range(steps):
        g = GRADIENT(y, key if steps == 1 else jax.random.fold_in(key, step), np.int32(worker))
        updates, state = tx.update(g, state, y)
        y = optax.apply_updates(y, updates)
    return jax.tree.map(lambda a, b: a - b, start, y)


@pytest.mark.parametrize("name", INNER)
def test_a_pseudo_gradient_is_that_of_a_loop(name):
    """Four steps of plain, momentum and AdamW steps from a fresh state, each with a sample of its own."""
    with jax.enable_x64(True):
        seen = oracles.local_steps(INNER[name], 4).of(CURVED)
        start = CURVED.init(KEY)
        found = jax.jit(lambda x: seen.gradient(x, seen.sample(JOB, jnp.int32(1))))(start)
        # The schedule and the bias correction of AdamW are single precision where they are not compiled.
        assert_close(found, by_hand(INNER[name], start, JOB, 1, 4), 1e-6 if name == "adamw" else 1e-12)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("steps", [1, [1, 1, 0]])
def test_one_step_of_sgd_is_the_scaled_gradient(steps):
    """Eta times the gradient with the sample without an oracle."""
    with jax.enable_x64(True):
        seen = oracles.local_steps(optax.sgd(0.1), steps).of(CURVED)
        x, batch = CURVED.init(KEY), seen.sample(JOB, jnp.int32(1))
        np.testing.assert_array_equal(batch, CURVED.sample(JOB, jnp.int32(1)))
        assert_close(seen.gradient(x, batch), jax.tree.map(lambda g: 0.1 * g, CURVED.gradient(x, batch)))


def test_samples_are_those_of_a_mean_of_gradients():
    """Without moving, that is with a step size of 1e-6, the sum of the steps is that of ``oracles.gradient(4)``."""
    with jax.enable_x64(True):
        x = CURVED.init(KEY)
        steps, mean = (
            oracle.of(CURVED).gradient(x, oracle.of(CURVED).sample(JOB, jnp.int32(1)))
            for oracle in (oracles.local_steps(optax.sgd(1e-6), 4), oracles.gradient(4))
        )
        assert_close(jax.tree.map(lambda d: d / 4e-6, steps), mean, 1e-4)


def test_workers_may_make_different_numbers_of_steps():
    """A simulation with three lanes under Delayed Nesterov is the loop over its schedule, with AdamW inside."""
    counts, tx, rule = [3, 1, 2], INNER["adamw"], rules.delayed_nesterov(0.7, momentum=0.9, num_workers=3)
    schedule = protocols.asynchronous(fleet.fixed([1.0, 1.3, 2.9]), 12)
    oracle = oracles.local_steps(tx, counts)
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, rule, schedule, oracle=oracle, key=KEY, lanes=3)
        assert_close(run.params, jasgd.reference.replay(oracle.of(CURVED), rule, schedule, key=KEY)[-1], 1e-11)
        init_key, jobs_key = jasgd.split_key(KEY)
        points, state = [CURVED.init(init_key)], rule.init(CURVED.init(init_key))
        for k, i in enumerate(schedule.worker.tolist()):
            # With counts that differ, a worker with one step also uses the key of its step 0.
            key = jasgd.job_key(jobs_key, i, int(schedule.job[k]))
            start, y, inner = points[schedule.read[k]], points[schedule.read[k]], tx.init(points[0])
            for step in range(counts[i]):
                g = GRADIENT(y, jax.random.fold_in(key, step), np.int32(i))
                updates, inner = tx.update(g, inner, y)
                y = optax.apply_updates(y, updates)
            delta = jax.tree.map(lambda a, b: a - b, start, y)
            updates, state = rule.update(delta, state, points[-1], step=k)
            points.append(optax.apply_updates(points[-1], updates))
        assert_close(run.params, points[-1], 1e-6)  # as above
    assert run.history["uploaded_bytes"].tolist() == [0, 12 * 5 * 8]


def test_fedbuff_with_local_steps_is_the_slow_loop():
    """A server step is w - eta_g / K sum_i (1 + tau_i)^{-1/2} (w^v - y_{i,Q}), with Q = 3 steps of momentum."""
    tx, buffer = INNER["momentum"], 2
    method = methods.fedbuff(
        fleet.fixed([1.0, 1.3, 2.9, 4.1]), 8, learning_rate=0.7, buffer=buffer, client=tx, local_steps=3, seed=1
    )
    schedule = method.schedule
    assert schedule.delay.max() > 1
    with jax.enable_x64(True):
        run = method.simulate(CURVED, key=KEY, lanes=4)
        init_key, jobs_key = jasgd.split_key(KEY)
        points, total = [CURVED.init(init_key)], 0.0
        for k, i in enumerate(schedule.worker.tolist()):
            key, read = jasgd.job_key(jobs_key, i, int(schedule.job[k])), int(schedule.read[k])
            delta = by_hand(tx, points[read], key, i, 3)
            weight = (1.0 + len(points) - 1 - read) ** -0.5
            total = (
                jax.tree.map(lambda d, t=total, w=weight: w * d, delta)
                if k % buffer == 0
                else jax.tree.map(lambda t, d, w=weight: t + w * d, total, delta)
            )
            if k % buffer == buffer - 1:
                points.append(jax.tree.map(lambda x, t: x - 0.7 / buffer * t, points[-1], total))
        assert_close(run.params, points[-1], 1e-6)  # the weights of the schedule are single precision
        assert optax.tree.norm(optax.tree.sub(points[-1], points[0])) > 0.1


def test_fedbuff_with_one_step_of_sgd_has_the_product_of_the_step_sizes():
    """Q = 1: the learning rate of the server times that of the clients."""
    arguments = {"buffer": 2, "concurrency": 3}
    workers = fleet.fixed([1.0, 1.3, 2.9, 4.1])
    with jax.enable_x64(True):
        one = methods.fedbuff(workers, 8, learning_rate=0.7, client=optax.sgd(0.1), **arguments).simulate(
            CURVED, key=KEY, lanes=1
        )
        two = methods.fedbuff(workers, 8, learning_rate=0.07, **arguments).simulate(CURVED, key=KEY, lanes=1)
        assert_close(one.params, two.params)


def test_a_lone_worker_and_a_server_with_step_one_is_the_worker():
    """The server ends where the worker did, job after job; a job's momentum starts anew."""
    tx = INNER["momentum"]
    schedule = protocols.asynchronous(fleet.equal(1), 3)
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, optax.sgd(1.0), schedule, oracle=oracles.local_steps(tx, 4), key=KEY, lanes=1)
        init_key, jobs_key = jasgd.split_key(KEY)
        y = CURVED.init(init_key)
        for job in range(3):
            y = jax.tree.map(lambda a, d: a - d, y, by_hand(tx, y, jasgd.job_key(jobs_key, 0, job), 0, 4))
        assert_close(run.params, y)


def test_what_is_sent_can_be_compressed():
    """A simulation is the slow replay, and messages are those of the compressor."""
    oracle = oracles.compressed(oracles.local_steps(optax.sgd(0.1), 2), compressors.rand_k(2))
    schedule = protocols.asynchronous(fleet.fixed([1.0, 1.3, 2.9]), 10)
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, optax.sgd(0.3), schedule, oracle=oracle, key=KEY, lanes=3)
        expected = jasgd.reference.replay(oracle.of(CURVED), optax.sgd(0.3), schedule, key=KEY)
        assert_close(run.params, expected[-1], 1e-11)
    assert run.history["uploaded_bytes"].tolist() == [0, 10 * 2 * 8]


def test_a_job_counts_as_many_gradients():
    """For schedules, and in forward passes."""
    oracle = oracles.local_steps(optax.sgd(0.1), [3, 1])
    assert oracle.forward_passes.tolist() == [9, 3]
    assert np.asarray(oracle.of(CURVED).job_gradients).tolist() == [3, 1]


PLAIN = problems.quadratic(5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: oracles.local_steps(0.1), TypeError, "`tx` must be an Optax transformation such as optax.sgd"),
        (
            lambda: oracles.local_steps(optax.sgd(0.1), 0),
            ValueError,
            "`steps` must be a positive whole number, or one for each",
        ),
        (
            lambda: oracles.local_steps(optax.sgd(0.1), 1.5),
            ValueError,
            "`steps` must be a positive whole number, .* got 1.5",
        ),
        (
            lambda: oracles.local_steps(rules.scale_by_delay()).of(PLAIN),
            ValueError,
            "`tx` asks for `delay`, which only the server's rule is told; give a plain optimizer",
        ),
        (
            lambda: oracles.local_steps(optax.sgd(0.1)).of(oracles.gradient(2).of(PLAIN)),
            ValueError,
            "are made by an oracle already",
        ),
        (
            lambda: methods.fedbuff(fleet.equal(3), 2, learning_rate=1.0, local_steps=4),
            ValueError,
            "`local_steps` need `client`, the optimizer that makes them",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message):
    """With one sentence."""
    with pytest.raises(error, match=message):
        call()
