"""Oracles: means of gradients and of messages against loops that make each of them, the estimator's law, and refusals."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick

import jasgd
from jasgd import compressors, fleet, methods, oracles, problems, protocols, theory
from jasgd.traffic import Contents

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
MADE = fleet.fixed([1.0, 2.0, 4.0, 99.0]).with_links(upload=[1.0, 0.5, 1.5, 0.1])
# Counts (5, 2, 1, 0) and (5, 10, 3, 0): the fourth worker takes no part.
ROUNDS = protocols.shadowheart(MADE, 4, omega=2.0, noise_ratio=1.0, time=5.0)
B, M = ROUNDS.contents.gradients, ROUNDS.contents.messages
DIM = 7


def curved():
    """Seven coordinates in two leaves, no mean_sample, and noise that says which worker drew it and multiplies the point."""

    def loss(params, noise):
        x = jnp.concatenate([params["w"].ravel(), params["b"][None]])
        return jnp.sum(x**4) / 8 + jnp.sum((1 + noise) * x**2) / 2 - jnp.sum(noise * x)

    def sample(key, worker):
        return (1 + worker) * jax.random.uniform(key, (DIM,), minval=-0.5, maxval=0.5)

    def init(key):
        return {"w": jax.random.uniform(key, (2, 3)) + 0.5, "b": jnp.ones(())}

    def metrics(params):
        value, gradient = jax.value_and_grad(loss)(params, jnp.zeros(DIM))
        return {"loss": value, "grad_norm": optax.tree.norm(gradient)}

    return jasgd.Problem(init=init, loss=loss, sample=sample, metrics=metrics, name="curved")


CURVED, ADAM, MOMENTUM, SGD = curved(), optax.adam(0.1), optax.sgd(0.1, momentum=0.5), optax.sgd(0.05)


@functools.cache
def compiled(function):
    """One program per function, shared by the tests."""
    return quick.jit(function)


@functools.cache
def one_of(problem):
    """A gradient at a point, with a sample of a key; and one with a mean of so many."""
    at_once = problem.mean_sample
    return (
        quick.jit(lambda x, key, worker: problem.gradient(x, problem.sample(key, worker))),
        quick.jit(lambda x, key, worker, count: problem.gradient(x, at_once(key, worker, count))),
    )


def plain_sum(trees):
    return jax.tree.map(lambda *leaves: sum(np.asarray(leaf) for leaf in leaves), *trees)


def made_by(problem, compressor, x, key, worker, b, m):
    """All gradients of a job (or their mean, where the problem draws it), and all messages about their mean."""
    one, at_once = one_of(problem)
    if problem.mean_sample is not None:
        gradients = [at_once(x, key, np.int32(worker), np.int32(b))]
    else:
        gradients = [one(x, jax.random.fold_in(key, sample), np.int32(worker)) for sample in range(b)]
    mean = jax.tree.map(lambda total: total / len(gradients), plain_sum(gradients))
    messages_key = jax.random.fold_in(key, jnp.uint32(2**32 - 1))
    messages = [compiled(compressor.compress)(jax.random.fold_in(messages_key, j), mean) for j in range(m)]
    return gradients, messages


def explicit(problem, compressor, schedule, rule, gradients, messages, key=KEY):
    """Every gradient and message, one after the other, with the keys that the docstrings say; steps with their means."""
    gradients, messages = (np.broadcast_to(counts, schedule.num_workers).tolist() for counts in (gradients, messages))
    init_key, jobs_key = jax.random.split(key)
    points, parts = [compiled(problem.init)(init_key)], []
    state, update = rule.init(points[0]), compiled(rule.update)
    for row, i in enumerate(schedule.worker.tolist()):
        job_key = jax.random.fold_in(jax.random.fold_in(jobs_key, i), int(schedule.job[row]))
        _, sent = made_by(problem, compressor, points[schedule.read[row]], job_key, i, gradients[i], messages[i])
        weight = float(schedule.weight[row]) / len(sent)  # in single precision
        parts.append(jax.tree.map(lambda total, w=weight: w * total, plain_sum(sent)))
        if schedule.apply[row]:
            step, state = update(plain_sum(parts), state, points[-1])
            points.append(plain_sum([points[-1], step]))
            parts = []
    return points


def losses_of(problem, points):
    return [float(compiled(problem.metrics)(point)["loss"]) for point in points]


def assert_close(found, expected, tolerance):
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance)


def shadowheart_oracle(compressor, gradients=B, messages=M):
    return oracles.compressed(oracles.gradient(gradients), compressor, messages=messages)


# The arithmetic.

EVERY = [
    compressors.rand_k(1),
    compressors.rand_k(3),
    compressors.bernoulli(0.4),
    compressors.qsgd(2),
    compressors.natural(),
    compressors.identity(),
]


@pytest.mark.parametrize(
    ("compressor", "lanes", "rule"),
    [*zip(EVERY, [3, 1, 3, 2, 1, None], [ADAM, MOMENTUM, ADAM, MOMENTUM, ADAM, MOMENTUM], strict=True)],
    ids=[compressor.name for compressor in EVERY],
)
def test_a_simulation_makes_every_gradient_and_message(compressor, lanes, rule):
    """In double precision to 1e-11; a rule with a state sees only their weighted sum; a problem without mean_sample."""
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, rule, ROUNDS, oracle=shadowheart_oracle(compressor), key=KEY, lanes=lanes, every=1)
        points = explicit(CURVED, compressor, ROUNDS, rule, B, M)
        assert_close(run.params, points[-1], 1e-11)
        np.testing.assert_allclose(run.history["loss"], losses_of(CURVED, points), rtol=1e-11)
        per_message = compressor.message_bytes(DIM, jnp.float64)
    np.testing.assert_allclose(run.history["uploaded_bytes"], np.arange(5) * M.sum() * per_message)
    np.testing.assert_array_equal(run.history["downloaded_bytes"], np.arange(5) * 3 * DIM * 8)
    np.testing.assert_allclose(run.history["wire_seconds"], np.arange(5) * (M @ MADE.upload))


def test_means_that_a_problem_draws_at_once_are_sent_likewise():
    """With a ``mean_sample`` the sample is that of the job's own key; the messages stay as they are. In single precision."""
    problem, compressor = problems.progress_quadratic(DIM, 0.3), compressors.qsgd(3)
    run = jasgd.simulate(problem, SGD, ROUNDS, oracle=shadowheart_oracle(compressor), key=KEY, lanes=3)
    points = explicit(problem, compressor, ROUNDS, SGD, B, M)
    assert_close(run.params, points[-1], 1e-5)
    assert np.abs(points[-1] - points[0]).max() > 0.1


def test_every_run_of_a_sweep_is_the_loop():
    """Two seeds in one program; the key of a run is ``fold_in(key, seed)``."""
    arguments = {"oracle": shadowheart_oracle(EVERY[1]), "key": KEY, "every": 1, "runs_at_once": 2}
    with jax.enable_x64(True):
        found = jasgd.sweep(CURVED, MOMENTUM, ROUNDS, seeds=2, **arguments)
        for seed in (0, 1):
            points = explicit(CURVED, EVERY[1], ROUNDS, MOMENTUM, B, M, jax.random.fold_in(KEY, seed))
            run = found["loss"].sel(seed=seed).to_numpy().ravel()
            np.testing.assert_allclose(run, losses_of(CURVED, points), rtol=1e-11)


def test_asynchronous_messages_are_the_slow_replay():
    """Two gradients and three messages per job, each at its own stale point, four lanes together."""
    schedule = protocols.asynchronous(fleet.fixed([1.0, 1.3, 2.9, 4.1]), 25)
    assert schedule.delay.max() > 3
    oracle = shadowheart_oracle(EVERY[1], 2, 3)
    with jax.enable_x64(True):
        expected = jasgd.reference.replay(oracle.of(CURVED), SGD, schedule, key=KEY)
        run = jasgd.simulate(CURVED, SGD, schedule, oracle=oracle, key=KEY, lanes=4)
        assert_close(run.params, expected[-1], 1e-11)


# The estimator.


def directions(problem, compressor, schedule, x, draws=5_000):
    """(draws, d) independent directions g of one round at x."""
    seen = shadowheart_oracle(compressor).of(problem)

    def one(key, worker):
        return seen.gradient(x, seen.sample(jasgd.job_key(key, worker, 0), worker))

    workers, weights = jnp.asarray(schedule.worker[:3]), jnp.asarray(schedule.weight[:3])
    many = jax.jit(jax.vmap(lambda key: weights @ jax.vmap(one, (None, 0))(key, workers)))
    return np.asarray(many(jax.random.split(jax.random.key(7), draws)), np.float64)


def variance_of(schedule, omega, norm, noise):
    """The sum of alpha^2 (omega |grad|^2 / m + omega sigma^2 / (m b) + sigma^2 / b); norm and noise are squared."""
    b, m = (counts[schedule.worker[:3]] for counts in (B, M))
    alpha = schedule.weight[:3].astype(np.float64)
    return np.sum(alpha**2 * (omega * norm / m + omega * noise / (m * b) + noise / b))


@pytest.mark.parametrize(
    ("compressor", "at_once"),
    [
        (compressors.rand_k(1), True),
        (compressors.rand_k(4), False),
        (compressors.bernoulli(0.3), True),
        (compressors.qsgd(2), True),
    ],
    ids=lambda x: str(getattr(x, "name", x)),
)
def test_mean_and_variance_of_the_estimator(compressor, at_once):
    """Unbiased, with the variance of the formula, or at most that if omega is only a bound; within 5 standard errors."""
    d, noise = 10, 9.0
    problem = problems.quadratic(d, noise=math.sqrt(noise / d))
    problem = problem if at_once else dataclasses.replace(problem, mean_sample=None)
    x = jnp.linspace(-2.0, 3.0, d)
    gradient = np.asarray(problem.gradient(x, jnp.zeros(d)), np.float64)
    found = directions(problem, compressor, ROUNDS, x)
    error = np.abs(found.mean(0) - gradient)
    np.testing.assert_array_less(error, 5 * found.std(0) / math.sqrt(len(found)) + 1e-6)
    variance = variance_of(ROUNDS, compressor.omega(d), np.sum(gradient**2), noise)
    squares = np.sum((found - gradient) ** 2, axis=1)
    standard_error = squares.std() / math.sqrt(len(squares))
    assert squares.mean() <= variance + 5 * standard_error
    if compressor.weights is not None:
        assert squares.mean() == pytest.approx(variance, abs=5 * standard_error)


def test_variance_is_at_most_the_larger_of_gradient_and_accuracy_over_z():
    """By the formula that is measured above; equal where |grad|^2 is the accuracy. Weights are kept in single precision."""
    omega, s, norm = 2.0, 1.0, 7.0
    counts = theory.shadowheart_counts(omega, s, MADE.computing.times, MADE.upload, time=5.0)
    for accuracy in norm * np.array([0.01, 0.5, 1.0, 2.0, 100.0]):
        allowed = max(norm, accuracy) / counts.normaliser
        assert variance_of(ROUNDS, omega, norm, s * accuracy) <= allowed * (1 + 1e-6)
    assert variance_of(ROUNDS, omega, norm, s * norm) == pytest.approx(norm / counts.normaliser, rel=1e-6)


# Special cases. Weights are kept in single precision, hence 1e-6; programs are those of the simulations above.


def first_step(compressor, *, omega, s, lanes):
    """The first step of rounds with the counts above, and all their gradients and messages at the start."""
    schedule = protocols.shadowheart(MADE, 4, omega=omega, noise_ratio=s, time=5.0)
    oracle = shadowheart_oracle(compressor, schedule.contents.gradients, schedule.contents.messages)
    run = jasgd.simulate(CURVED, MOMENTUM, schedule, oracle=oracle, key=KEY, lanes=lanes, every=1)
    init_key, jobs_key = jax.random.split(KEY)
    x = compiled(CURVED.init)(init_key)
    made = [made_by(CURVED, compressor, x, jasgd.job_key(jobs_key, i, 0), i, B[i], M[i]) for i in range(3)]
    return run.history["loss"][1], x, [g for pair in made for g in pair[0]], [c for pair in made for c in pair[1]]


def loss_after_step(x, direction):
    step, _ = compiled(MOMENTUM.update)(direction, MOMENTUM.init(x), x)
    return losses_of(CURVED, [plain_sum([x, step])])[0]


def test_without_compression_it_is_the_mean_of_all_gradients():
    """Omega = 0: SGD with one batch of all workers' gradients."""
    with jax.enable_x64(True):
        found, x, gradients, _ = first_step(EVERY[-1], omega=0.0, s=3.0, lanes=None)
        assert len(gradients) == 8
        mean = jax.tree.map(lambda total: total / 8, plain_sum(gradients))
        assert found == pytest.approx(loss_after_step(x, mean), rel=1e-6)


def test_without_noise_it_is_the_mean_of_all_messages():
    """S = 0: every message weighs the same, however many gradients it is about."""
    with jax.enable_x64(True):
        found, x, _, messages = first_step(EVERY[1], omega=2.0, s=0.0, lanes=1)
        assert len(messages) == 18
        mean = jax.tree.map(lambda total: total / 18, plain_sum(messages))
        assert found == pytest.approx(loss_after_step(x, mean), rel=1e-6)


@pytest.mark.compiled_fully
def test_one_gradient_and_one_message_is_compressed_minibatch_sgd():
    """Equal workers with time for one of each: the same run bit for bit, in the same clock; means are not drawn at once."""
    problem = problems.progress_quadratic(DIM, 0.3)
    made, compressor = fleet.equal(3).with_links(upload=1.0), EVERY[1]
    schedule = protocols.shadowheart(made, 4, omega=2.5, noise_ratio=1.0, time=1.0)
    assert schedule.contents.gradients.tolist() == schedule.contents.messages.tolist() == [1, 1, 1]
    plain = methods.compressed_minibatch_sgd(made, 4, compressor=compressor, learning_rate=0.1)
    oracle = shadowheart_oracle(compressor, [1] * 3, [1] * 3)
    one = jasgd.simulate(problem, plain.rule, schedule, oracle=oracle, key=KEY, lanes=3)
    two = plain.simulate(problem, key=KEY, lanes=3)
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)
    for name in ("version", "time", "loss", "uploaded_bytes", "downloaded_bytes", "wire_seconds"):
        np.testing.assert_array_equal(one.history[name], two.history[name])


def one_job(oracle, problem=CURVED):
    """What a job of worker 1 sends, as a program of its key and point."""
    seen = oracle.of(problem)
    return jax.jit(lambda key, x: seen.gradient(x, seen.sample(key, jnp.int32(1))))


POINT = {"w": jnp.linspace(-1.0, 2.0, 6).reshape(2, 3), "b": jnp.ones(())}
JOB = jasgd.job_key(KEY, 1, 5)


@pytest.mark.compiled_fully
def test_all_coordinates_are_no_compression():
    """RandK with K = d: bit for bit with one message, to rounding with many."""
    none, one, many = (
        one_job(oracles.compressed(oracles.gradient(), compressor, messages=messages))(JOB, POINT)
        for compressor, messages in ((EVERY[-1], 5), (compressors.rand_k(DIM), 1), (compressors.rand_k(DIM), 5))
    )
    assert_close(one, none, 0)
    assert_close(many, none, 1e-6)
    assert_close(none, one_of(CURVED)[0](POINT, JOB, np.int32(1)), 1e-5)


def test_a_lone_worker_sends_the_mean_of_its_messages():
    """N = 1: its weight is one, and its part is the mean of all messages about the mean of all gradients."""
    schedule = protocols.shadowheart(fleet.fixed([1.0]).with_links(upload=0.5), 2, omega=2.0, noise_ratio=1.0)
    assert schedule.weight.tolist() == [1.0, 1.0]
    found = one_job(shadowheart_oracle(EVERY[1], [0, 4], [0, 6]))(JOB, POINT)
    _, messages = made_by(CURVED, EVERY[1], POINT, JOB, 1, 4, 6)
    assert_close(found, jax.tree.map(lambda total: total / 6, plain_sum(messages)), 1e-5)


# The method.


def test_the_steps_that_theory_asks_for_are_enough():
    """The mean of |grad|^2 over K = 8 L Delta / eps steps of 1 / (2L) is at most eps; a step takes at most 2 t*."""
    d, variance, accuracy = 30, 2.0, 0.05
    i = np.arange(1, 9)
    h, tau = np.sqrt(i), np.sqrt(i) / d**0.75
    problem = problems.quadratic(d, noise=math.sqrt(variance / d))
    smoothness = problem.facts["smoothness"]
    gap = float(problem.metrics(problem.init(KEY))["gap"])
    steps = theory.shadowheart_iterations(smoothness, gap, accuracy)
    assert steps == math.ceil(8 * smoothness * gap / accuracy)
    method = methods.shadowheart(
        fleet.fixed(h).with_links(upload=tau),
        steps,
        compressor=compressors.rand_k(1),
        dim=d,
        noise_ratio=variance / accuracy,
        smoothness=smoothness,
    )
    run = method.simulate(problem, key=KEY, every=1, lanes=8)
    squares = run.history["grad_norm"][:steps] ** 2
    assert np.mean(squares) <= accuracy
    assert squares[0] > 50 * accuracy  # it had something to do
    t = theory.equilibrium_time(d - 1, variance / accuracy, h, tau)
    assert run.history["time"][-1] <= 2 * t * steps * (1 + 1e-9)


# Determinism and independence.


@pytest.mark.compiled_fully
def test_the_same_key_is_the_same_run_and_another_key_another():
    """Bit for bit."""
    with jax.enable_x64(True):
        oracle = shadowheart_oracle(EVERY[1])
        one, two, other = (
            jasgd.simulate(CURVED, MOMENTUM, ROUNDS, oracle=oracle, key=jax.random.key(seed), lanes=1, every=1).params
            for seed in (3, 3, 4)
        )
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert np.all(one["w"] != other["w"])


@pytest.mark.compiled_fully
def test_samples_are_those_without_compression():
    """Common random numbers: what is compressed is what would be used uncompressed, whatever compresses it, bit for bit."""

    def drawn(problem):
        return problem.sample(JOB, jnp.int32(1))

    @jax.jit
    def pairs():
        """What ought to be the same."""
        found = []
        for gradients in (1, 4, [1, 1, 0], [4, 2, 1]):
            plain = oracles.gradient(gradients)
            for problem in (CURVED, problems.progress_quadratic(DIM, 0.3)):
                expected = drawn(plain.of(problem))
                found += [(drawn(oracles.compressed(plain, c).of(problem))[0], expected) for c in (EVERY[1], EVERY[4])]
                found += [(expected, drawn(problem))] if np.max(gradients) == 1 else []
        return jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, found)

    assert len(pairs()) == 20
    for one, two in pairs():
        jax.tree.map(np.testing.assert_array_equal, one, two)


def test_messages_of_different_jobs_and_workers_differ():
    """Twelve jobs of three workers draw twelve different sets; the same job the same one, however many gradients it had."""
    problem = problems.quadratic(40, noise=1.0)

    def weights(worker, job):
        key = jasgd.job_key(KEY, worker, job)
        return [shadowheart_oracle(compressors.rand_k(3), b, 1).of(problem).sample(key, worker)[1] for b in (2, 5)]

    few, many = jax.jit(jax.vmap(weights))(jnp.repeat(jnp.arange(3), 4), jnp.tile(jnp.arange(4), 3))
    assert len({tuple(row) for row in (np.asarray(few) != 0).tolist()}) == 12
    np.testing.assert_array_equal(few, many)


def test_messages_do_not_depend_on_samples():
    """Over jobs, the weight of a coordinate and its noise are uncorrelated, within 5 standard errors."""
    draws, d = 20_000, 4
    seen = shadowheart_oracle(compressors.rand_k(1), 1, 1).of(problems.quadratic(d, noise=1.0))
    sample = jax.jit(jax.vmap(lambda job: seen.sample(jasgd.job_key(KEY, 0, job), jnp.int32(0))))
    noise, weights = (np.asarray(each, np.float64) for each in sample(jnp.arange(draws)))
    products = noise[:, :, None] * (weights - 1)[:, None, :]
    standard_error = math.sqrt((d - 1) / draws)  # a weight has the variance d - 1
    assert np.abs(products.mean(0)).max() <= 5 * standard_error
    np.testing.assert_allclose(weights.mean(0), 1, atol=5 * standard_error)


# Refusals.


def simulated(schedule, oracle, problem=None):
    return jasgd.simulate(problem or problems.quadratic(5), SGD, schedule, oracle=oracle, key=KEY, lanes=1)


RAND = compressors.rand_k(1)
ALONE = protocols.fastest_worker(MADE, 2)
MINIBATCH = protocols.minibatch(fleet.equal(3), 2)
COMPRESSED = oracles.compressed(oracles.gradient(), RAND)
TWICE = oracles.gradient(2).of(problems.quadratic(5))
HELD = "give the `oracle` that belongs to it"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: simulated(ROUNDS, None),
            f"a job of worker 0 holds 5 gradients .* shadowheart, but the oracle makes 1; {HELD}",
        ),
        (
            lambda: simulated(ROUNDS, oracles.gradient(B)),
            f"a job of worker 0 holds 5 messages .* the oracle makes 1; {HELD}",
        ),
        (
            lambda: simulated(ROUNDS, shadowheart_oracle(RAND, [5, 2, 2, 0])),
            f"a job of worker 2 holds 1 gradients in this schedule of shadowheart, but the oracle makes 2; {HELD}",
        ),
        (
            lambda: simulated(ROUNDS, shadowheart_oracle(RAND, B, 5)),
            f"a job of worker 1 holds 10 messages in this schedule of shadowheart, but the oracle makes 5; {HELD}",
        ),
        (
            lambda: simulated(ROUNDS, shadowheart_oracle(RAND, B[:3], M)),
            "the oracle has gradients for 3 workers but the schedule has 4 workers",
        ),
        (
            lambda: simulated(ROUNDS, shadowheart_oracle(RAND, B, M[:2])),
            "the oracle has messages for 2 workers but the schedule has 4 workers",
        ),
        (
            lambda: simulated(ALONE, shadowheart_oracle(RAND, 1, 1)),
            f"a job of worker 0 holds 0 messages in this schedule of fastest_worker, but the oracle makes 1; {HELD}",
        ),
        (
            lambda: simulated(ALONE, oracles.gradient(2)),
            f"a job of worker 0 holds 1 gradients in this schedule of fastest_worker, but the oracle makes 2; {HELD}",
        ),
        (
            lambda: simulated(MINIBATCH, shadowheart_oracle(RAND, 2, [2, 2, 2])),
            "an oracle with messages for each worker needs a schedule in which they take their time, such as that of",
        ),
        (
            lambda: simulated(MINIBATCH, oracles.gradient([2, 0, 1])),
            "worker 1 delivers in this schedule of minibatch, but the oracle gives it 0 gradients",
        ),
        (
            lambda: simulated(MINIBATCH, oracles.gradient([2, 1])),
            "the oracle has gradients for 2 workers but the schedule has 3 workers",
        ),
        (
            lambda: simulated(MINIBATCH, oracles.compressed(COMPRESSED, RAND)),
            r"the messages of 1 rand_k\(1\) of 1 gradient of quadratic.* are compressed already; give one compressor",
        ),
        (
            lambda: simulated(MINIBATCH, COMPRESSED, COMPRESSED.of(problems.quadratic(5))),
            "are compressed already; give one compressor",
        ),
        (
            lambda: simulated(MINIBATCH, oracles.gradient(2), TWICE),
            "the jobs of 2 gradients of quadratic.* are made by an oracle already; give one oracle with all it does",
        ),
        (lambda: simulated(MINIBATCH, oracles.gradient([1, 1, 1]), TWICE), "are made by an oracle already"),
        (lambda: simulated(MINIBATCH, oracles.compressed(oracles.gradient(2), RAND), TWICE), "made by an oracle already"),
        (lambda: oracles.gradient(0), "`count` must be a positive whole number, or one for each worker, got 0"),
        (lambda: oracles.gradient([1, -1]), r"`count` must be a positive whole number, .* got \[1, -1\]"),
        (lambda: oracles.gradient([0, 0]), "`count` must be a positive whole number"),
        (lambda: oracles.gradient(1.5), "`count` must be a positive whole number, or one for each worker, got 1.5"),
        (lambda: oracles.gradient(True), "`count` must be a positive whole number, or one for each worker, got True"),
        (lambda: oracles.gradient([[1]]), "`count` must be a positive whole number"),
        (lambda: oracles.gradient([]), "`count` must be a positive whole number"),
        (lambda: oracles.gradient(2**31), r"`count` must be below 2\^31, got 2147483648"),
        (lambda: oracles.compressed(oracles.gradient(), RAND, messages=0), "`messages` must be a positive whole number"),
        (lambda: simulated(MINIBATCH, oracles.compressed(oracles.gradient(), compressors.rand_k(6))), "`k` must not exceed"),
        (
            lambda: methods.shadowheart(MADE, 2, compressor=compressors.top_k(1), dim=5, noise_ratio=1.0, learning_rate=0.1),
            r"Shadowheart SGD needs an unbiased compressor, one with `omega`; top_k\(1\) has none",
        ),
        (
            lambda: methods.shadowheart(MADE, 2, compressor=RAND, dim=5, noise_ratio=1.0, smoothness=1.0, max_messages=5),
            "the paper's step size holds without `max_messages`; give a `learning_rate`",
        ),
        (
            lambda: methods.shadowheart(MADE, 2, compressor=RAND, dim=5, noise_ratio=1.0),
            "give either `learning_rate` or `smoothness`",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    """With one sentence that says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: oracles.compressed(RAND, RAND), "`oracle` must be a jasgd.oracles.Oracle such as jasgd.oracles.gradient()"),
        (
            lambda: oracles.compressed(oracles.gradient(), 3),
            "`compressor` must be a jasgd.compressors.Compressor such as jasgd.compressors.rand_k(8), got 3",
        ),
        (lambda: simulated(MINIBATCH, RAND), "`oracle` must be a jasgd.oracles.Oracle such as jasgd.oracles.gradient()"),
    ],
)
def test_what_is_no_oracle_is_refused(call, message):
    """Nor what is no compressor."""
    with pytest.raises(TypeError, match=message.replace("(", r"\(").replace(")", r"\)")):
        call()


def test_a_sweep_refuses_the_same():
    """Before it computes anything."""
    with pytest.raises(ValueError, match="a job of worker 0 holds 5 gradients in this schedule of shadowheart"):
        jasgd.sweep(problems.quadratic(5), optax.sgd(0.1), ROUNDS, seeds=2, key=KEY)


@pytest.mark.compiled_fully
def test_the_fastest_worker_keeps_its_gradients_to_itself():
    """Without an oracle, or with one gradient for each worker, it is SGD, and nothing goes over the links."""
    runs = [simulated(ALONE, oracle, problems.quadratic(5, noise=1.0)) for oracle in (None, oracles.gradient([1, 1, 1, 1]))]
    for run in runs:
        jax.tree.map(np.testing.assert_array_equal, run.params, runs[0].params)
        assert not run.history["uploaded_bytes"].any()
        assert not run.history["downloaded_bytes"].any()


@pytest.mark.compiled_fully
def test_contents_of_ones_need_no_oracle():
    """A schedule that says one gradient, one message and one model of each job is that of plain SGD."""
    one = np.ones(3, np.int64)
    same = dataclasses.replace(MINIBATCH, contents=Contents(gradients=one, messages=one, models=one))
    run, plain = simulated(same, None), simulated(MINIBATCH, None)
    np.testing.assert_array_equal(run.params, plain.params)
    np.testing.assert_array_equal(run.history["uploaded_bytes"], plain.history["uploaded_bytes"])
