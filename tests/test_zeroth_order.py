"""Coordinates and values instead of gradients: exact identities on quadratics, moments, samples, costs, and refusals."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import jasgd
from jasgd import compressors, fleet, methods, oracles, problems, protocols, read_models

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
N = 6
ROOT = np.random.default_rng(0).normal(size=(N, N))
H = ROOT @ ROOT.T / N
POINT = {"a": np.linspace(-1.0, 2.0, 4).reshape(2, 2), "b": np.array(0.7), "c": np.array([-1.3])}
SCHEDULE = protocols.asynchronous(fleet.fixed([1.0, 1.3, 2.9, 4.1]), 25)
SGD, MOMENTUM = optax.sgd(0.02), optax.sgd(0.02, momentum=0.5)


def several_leaves(loss_of_vector, name):
    """Six coordinates in leaves of four, one and one; the noise is a vector that says who drew it."""

    def loss(params, noise):
        return loss_of_vector(ravel_pytree(params)[0], noise)

    def metrics(params):
        value, gradient = jax.value_and_grad(loss)(params, jnp.zeros(N))
        return {"loss": value, "grad_norm": optax.tree.norm(gradient)}

    return jasgd.Problem(
        init=lambda key: jax.tree.map(lambda x: jnp.asarray(x, jnp.zeros(()).dtype), POINT),
        loss=loss,
        sample=lambda key, worker: (1 + worker) * jax.random.uniform(key, (N,), minval=-0.5, maxval=0.5),
        metrics=metrics,
        name=name,
    )


QUADRATIC = several_leaves(lambda x, noise: x @ jnp.asarray(H, x.dtype) @ x / 2 + noise @ x, "quadratic")
CURVED = several_leaves(lambda x, noise: jnp.sum(jnp.sin(x)) + jnp.sum(x + noise) ** 4 / 20, "curved")


def job(number=0, worker=1):
    return jasgd.job_key(KEY, worker, number)


def estimates(oracle, problem, count):
    """(count, N) what the first jobs of worker 1 send, all with the sample of job 0; and the gradient of that sample."""
    seen, batch = oracle.of(problem), problem.sample(job(), jnp.int32(1))

    def one(number):
        drawn = seen.sample(job(number), jnp.int32(1))[1]
        return ravel_pytree(seen.gradient(problem.init(KEY), (batch, drawn)))[0]

    found = jax.jit(jax.vmap(one))(jnp.arange(count))
    return np.asarray(found, np.float64), np.asarray(ravel_pytree(problem.gradient(problem.init(KEY), batch))[0], np.float64)


def assert_mean(samples, expected, standard_errors=5):
    """Over independent rows."""
    error = samples.std(axis=0) / math.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(axis=0) - expected) <= standard_errors * error)


# The identities on quadratics.


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_all_blocks_together_are_the_gradient(size):
    """Z1: on a quadratic, with any mu, G_S is N / Y times the gradient on S, and the mean over all S is the gradient."""
    with jax.enable_x64(True):
        params, batch = QUADRATIC.init(KEY), QUADRATIC.sample(job(), jnp.int32(1))
        g = np.asarray(ravel_pytree(QUADRATIC.gradient(params, batch))[0])
        blocks = np.array(list(itertools.combinations(range(N), size)))
        expected = np.zeros((len(blocks), N))
        for row, block in enumerate(blocks):
            expected[row, block] = N / size * g[block]
        for oracle in (oracles.zeroth_order(0.7, size), oracles.coordinates(size)):
            seen = oracle.of(QUADRATIC)
            found = jax.jit(jax.vmap(lambda s, f=seen.gradient: ravel_pytree(f(params, (batch, s)))[0]))(blocks)
            np.testing.assert_allclose(found, expected, atol=1e-10)
            np.testing.assert_allclose(found.mean(axis=0), g, atol=1e-10)


@pytest.mark.parametrize("read_model", [None, read_models.Updates(), read_models.Coordinates()], ids=str)
def test_values_and_coordinates_have_the_same_path_on_quadratics(read_model):
    """Z2: ASCD and ASZD, 400 steps with delay 7 in 64 coordinates, agree to 1e-9 for equal keys, whatever the reads see."""
    arguments = {"learning_rate": 2 / 64}
    one = methods.ascd(fleet.equal(8), 400, block=2, **arguments)
    two = methods.aszd(fleet.equal(8), 400, mu=0.5, directions=2, **arguments)
    assert one.schedule.delay[7:].tolist() == [7] * 393
    assert one.reference == two.reference
    ends = []
    with jax.enable_x64(True):
        problem = problems.quadratic(64, noise=0.1, spectrum=np.linspace(0.2, 1, 64))
        for made in (one, two):
            oracle = made.oracle if read_model is None else oracles.inconsistent(made.oracle, read_model)
            run = jasgd.simulate(problem, made.rule, made.schedule, oracle=oracle, key=KEY, every=50, lanes=1)
            ends.append((run.params, run.history["loss"]))
    assert ends[0][1][-1] < 0.02 * ends[0][1][0]
    for one, two in zip(*ends, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-9)


def test_all_coordinates_without_delay_are_gradient_descent():
    """Z7: x_K = (I - gamma H)^K x_0, from values."""
    oracle, schedule = oracles.zeroth_order(0.5, 64), protocols.asynchronous(fleet.equal(1), 20)
    with jax.enable_x64(True):
        problem = problems.quadratic(64, spectrum=np.linspace(0.2, 1, 64))
        run = jasgd.simulate(problem, optax.sgd(0.5), schedule, oracle=oracle, key=KEY, lanes=1)
        start = np.asarray(problem.init(KEY))
        hessian = np.asarray(jax.hessian(problem.loss)(problem.init(KEY), jnp.zeros(())))
    expected = np.linalg.matrix_power(np.eye(64) - 0.5 * hessian, 20) @ start
    np.testing.assert_allclose(run.params, expected, atol=1e-10)


# The law of what is drawn.


@pytest.mark.parametrize(("size", "oracle"), [(1, oracles.zeroth_order(0.7)), (2, oracles.coordinates(2))])
def test_blocks_are_uniform_over_all_leaves_without_replacement(size, oracle):
    """Z3: Y coordinates, each as likely, whatever the size of its leaf; two moments, within 5 standard errors."""
    found, g = estimates(oracle, QUADRATIC, 4000)
    kept = found != 0
    assert np.all(g != 0)
    assert np.all(kept.sum(axis=1) == size)
    assert_mean(1.0 * kept, size / N)
    assert_mean(found, g)
    pairs = np.full((N, N), N * (size - 1) / (size * (N - 1)))
    np.fill_diagonal(pairs, N / size)
    assert_mean(found[:, :, None] * found[:, None, :], pairs * np.outer(g, g))
    assert_mean(np.sum(found**2, axis=1), N / size * g @ g)


@pytest.mark.parametrize(("scheme", "one"), [("gaussian", N + 2), ("sphere", N)])
@pytest.mark.parametrize("directions", [1, 3])
def test_random_directions_have_their_moments(scheme, one, directions):
    """Z4: unbiased on quadratics; E |G|^2 = (N + 2) |g|^2 and N |g|^2 with one direction, less with more of them."""
    found, g = estimates(oracles.zeroth_order(0.5, directions, scheme), QUADRATIC, 20_000)
    assert_mean(found, g)
    assert_mean(np.sum(found**2, axis=1), (one + directions - 1) / directions * g @ g)


def test_spherical_directions_have_unit_length():
    """And normal ones have not."""
    lengths = {}
    for scheme in ("sphere", "gaussian"):
        seen = oracles.zeroth_order(0.5, 4, scheme).of(QUADRATIC)
        lengths[scheme] = np.linalg.norm(seen.sample(job(), jnp.int32(1))[1], axis=1)
    np.testing.assert_allclose(lengths["sphere"], 1, rtol=1e-6)
    assert np.all(np.abs(lengths["gaussian"] - 1) > 1e-3)


def test_the_bias_is_of_second_order():
    """Z5: half of mu makes a quarter of the bias: 4.000."""
    with jax.enable_x64(True):
        errors = []
        for mu in (1e-2, 5e-3):
            found, g = estimates(oracles.zeroth_order(mu, N), CURVED, 1)
            errors.append(np.abs(found[0] - g))
    np.testing.assert_allclose(errors[0] / errors[1], 4, atol=1e-3)


def test_in_single_precision_mu_must_not_be_too_small():
    """Rounding: at 1e-2 the error is smaller than both at 1e-1 and at 1e-4."""
    errors = []
    for mu in (1e-1, 1e-2, 1e-4):
        found, g = estimates(oracles.zeroth_order(mu, N), CURVED, 1)
        errors.append(np.abs(found[0] - g).max())
    assert errors[1] < min(errors[0], errors[2])


def test_both_sides_have_the_same_sample():
    """Z6: noise of the value itself cancels; with independent samples it would add N^2 sigma^2 / (2 Y mu^2) to E |G|^2."""
    sigma, mu, size = 100.0, 0.1, 2
    noisy = dataclasses.replace(
        QUADRATIC,
        loss=lambda params, batch: QUADRATIC.loss(params, batch[0]) + batch[1],
        gradient=None,
        sample=lambda key, worker: (QUADRATIC.sample(key, worker), sigma * jax.random.normal(key)),
    )
    with jax.enable_x64(True):
        seen = oracles.zeroth_order(mu, size).of(noisy)

        def same(number):
            return ravel_pytree(seen.gradient(noisy.init(KEY), seen.sample(job(number), jnp.int32(1))))[0]

        def fresh(number):
            (batch, chosen), (other, _) = (seen.sample(job(number, worker), jnp.int32(1)) for worker in (1, 2))
            x, unravel = ravel_pytree(noisy.init(KEY))
            step = mu * jnp.eye(N)[chosen]
            up = jax.vmap(lambda s: noisy.loss(unravel(x + s), batch))(step)
            down = jax.vmap(lambda s: noisy.loss(unravel(x - s), other))(step)
            return jnp.zeros(N).at[chosen].add(N / size * (up - down) / (2 * mu))

        found, ablation = jax.jit(jax.vmap(lambda number: (same(number), fresh(number))))(jnp.arange(4000))
    added = (N * sigma) ** 2 / (2 * size * mu**2)
    quiet = np.sum(np.asarray(found) ** 2, axis=1)
    assert quiet.max() < 1e-3 * added
    # The two differences of a job share their samples: moments of the block of two, not of independent numbers.
    loud = np.sum(np.asarray(ablation) ** 2, axis=1)
    assert_mean(loud, added + quiet.mean())


# Samples, keys, precision.

ORACLES = [
    oracles.coordinates(2),
    oracles.zeroth_order(0.1, 2),
    oracles.zeroth_order(0.1, 2, "gaussian"),
    oracles.zeroth_order(0.1, 2, "sphere"),
]


@pytest.mark.compiled_fully
@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_samples_are_those_without_an_oracle(oracle):
    """Bit for bit; what is drawn besides depends on the job's key."""
    seen = oracle.of(QUADRATIC)
    drawn = [seen.sample(job(number), jnp.int32(1)) for number in range(12)]
    np.testing.assert_array_equal(drawn[0][0], QUADRATIC.sample(job(), jnp.int32(1)))
    assert len({each[1].tobytes() for each in map(jax.device_get, drawn)}) > 6


def test_a_block_is_rand_k_of_the_gradient():
    """With the key ``fold_in(job_key, 2**32 - 3)``, as the docstrings say; with values, too."""
    compressor, params = compressors.rand_k(2), QUADRATIC.init(KEY)

    def sent(number):
        g = QUADRATIC.gradient(params, QUADRATIC.sample(job(number), jnp.int32(1)))
        expected = compressor.compress(jax.random.fold_in(job(number), jnp.uint32(2**32 - 3)), g)
        made = [oracle.of(QUADRATIC) for oracle in (oracles.coordinates(2), oracles.zeroth_order(0.5, 2))]
        return expected, *(seen.gradient(params, seen.sample(job(number), jnp.int32(1))) for seen in made)

    expected, derivatives, values = jax.jit(jax.vmap(sent))(jnp.arange(8))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6), derivatives, expected)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5), values, expected)


def test_every_coordinate_may_have_its_own_mu():
    """The differences are those of these steps."""
    mu = np.linspace(0.1, 0.6, N)
    with jax.enable_x64(True):
        found, _ = estimates(oracles.zeroth_order(mu, N), CURVED, 1)
        x, unravel = ravel_pytree(CURVED.init(KEY))
        batch = CURVED.sample(job(), jnp.int32(1))
        for i, step in enumerate(np.diag(mu)):
            up, down = (float(CURVED.loss(unravel(x + s), batch)) for s in (step, -step))
            assert found[0, i] == pytest.approx((up - down) / (2 * mu[i]), rel=1e-10)


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.name)
def test_leaves_keep_their_dtypes(oracle):
    """Single and half precision in one tree; the estimate is near that in single precision."""
    half = dataclasses.replace(
        QUADRATIC, init=lambda key: {**jax.tree.map(jnp.float32, POINT), "c": jnp.asarray(POINT["c"], jnp.bfloat16)}
    )
    seen = oracle.of(half)
    drawn = seen.sample(job(), jnp.int32(1))
    found = seen.gradient(half.init(KEY), drawn)
    assert [leaf.dtype for leaf in jax.tree.leaves(found)] == [jnp.float32, jnp.float32, jnp.bfloat16]
    expected = oracle.of(QUADRATIC).gradient(QUADRATIC.init(KEY), drawn)
    eps = float(jnp.finfo(jnp.bfloat16).eps)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(np.float32(x), y, rtol=eps, atol=20 * eps), found, expected)


# Simulation.


# Normal directions are single precision, and their last digits those of the compiler.
@pytest.mark.parametrize(
    "oracle", [*ORACLES[:2], pytest.param(ORACLES[2], marks=pytest.mark.compiled_fully)], ids=lambda oracle: oracle.name
)
def test_a_simulation_is_the_slow_replay(oracle):
    """At stale points, four lanes together, under a rule with a state, in double precision."""
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, MOMENTUM, SCHEDULE, oracle=oracle, key=KEY, lanes=4)
        expected = jasgd.reference.replay(oracle.of(CURVED), MOMENTUM, SCHEDULE, key=KEY)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-9), run.params, expected[-1])
        assert optax.tree.norm(optax.tree.sub(expected[-1], expected[0])) > 0.1
    assert run.history["uploaded_bytes"].tolist() == [0, 25 * 2 * 8]


def test_messages_can_be_compressed():
    """A simulation is the slow replay, messages are those of the compressor, and the cost stays."""
    oracle = ORACLES[2]
    sent = oracles.compressed(oracle, compressors.rand_k(1), messages=3)
    assert sent.forward_passes == oracle.forward_passes
    with jax.enable_x64(True):
        run = jasgd.simulate(CURVED, SGD, SCHEDULE, oracle=sent, key=KEY, lanes=4)
        expected = jasgd.reference.replay(sent.of(CURVED), SGD, SCHEDULE, key=KEY)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-9), run.params, expected[-1])
    assert run.history["uploaded_bytes"].tolist() == [0, 25 * 3 * 8]


# Costs.

BLOCKWISE = {
    "tridiagonal": lambda: problems.quadratic(64, noise=0.3),
    "scalar noise": lambda: problems.quadratic(64, noise=0.3, noise_kind="scalar"),
    "noiseless": lambda: problems.quadratic(1),
    "dense": lambda: problems.quadratic(64, noise=0.3, spectrum=np.linspace(0.1, 1, 64)),
    "least squares": lambda: problems.least_squares(ROWS[:, 1:], ROWS[:, 0]),
    "minibatch": lambda: problems.least_squares(ROWS[:, 1:], ROWS[:, 0], batch=8),
}
ROWS = np.random.default_rng(1).normal(size=(40, 65))


@functools.cache
def blockwise(name, x64=True):
    """A problem that offers ``partial``; its arrays have the precision of then."""
    assert x64 == jax.config.jax_enable_x64
    return BLOCKWISE[name]()


@pytest.mark.parametrize("name", BLOCKWISE)
def test_partial_derivatives_are_entries_of_the_gradient_of_the_loss(name):
    """All of them, first and last included, in any order; the noise of a gradient is in the loss."""
    with jax.enable_x64(True):
        problem = blockwise(name)
        x = jax.random.normal(KEY, problem.init(KEY).shape)
        batch = problem.sample(job(), jnp.int32(1))
        order = np.random.default_rng(0).permutation(len(x))
        expected = problem.gradient(x, batch)[order]
        np.testing.assert_allclose(problem.partial(x, batch, order), expected, atol=1e-12)
        np.testing.assert_allclose(jax.grad(problem.loss)(x, batch)[order], expected, atol=1e-12)


@pytest.mark.compiled_fully
@pytest.mark.parametrize(("name", "share"), [("tridiagonal", 0.25), ("dense", 0.1), ("least squares", 0.6)])
def test_a_block_does_not_cost_a_gradient(name, share):
    """Where a problem offers partial derivatives: floating-point operations as the compiler counts them."""

    def operations(seen):
        batch = jax.eval_shape(seen.sample, KEY, jnp.int32(0))
        compiled = jax.jit(seen.gradient).lower(jax.eval_shape(seen.init, KEY), batch).compile()
        return compiled.cost_analysis()["flops"]

    problem, oracle = blockwise(name, x64=False), oracles.coordinates(2)
    whole = dataclasses.replace(problem, partial=None)
    assert operations(oracle.of(problem)) < share * operations(problem)
    assert operations(oracle.of(whole)) >= operations(problem)


def test_a_block_is_the_same_without_partial():
    """The gradient, masked."""
    with jax.enable_x64(True):
        problem, oracle = blockwise("dense"), oracles.coordinates(3)
        seen = oracle.of(problem)
        drawn = seen.sample(job(), jnp.int32(1))
        masked = oracle.of(dataclasses.replace(problem, partial=None)).gradient(problem.init(KEY), drawn)
        np.testing.assert_allclose(seen.gradient(problem.init(KEY), drawn), masked, atol=1e-12)
        assert np.count_nonzero(masked) == 3


def test_costs_are_those_of_the_table():
    """In forward passes: 2 Y for values, 3 for each gradient."""
    assert oracles.zeroth_order(0.1, 5).forward_passes == 10
    assert oracles.zeroth_order(0.1, 5, "sphere").forward_passes == 10
    assert oracles.coordinates(5).forward_passes == 3
    assert oracles.gradient().forward_passes == 3
    assert oracles.gradient([4, 1]).forward_passes.tolist() == [12, 3]
    assert oracles.inconsistent(oracles.zeroth_order(0.1), read_models.Updates()).forward_passes == 2


# Refusals.

PLAIN = problems.quadratic(5)
HALF = dataclasses.replace(PLAIN, gradient=lambda x, z: PLAIN.gradient(x, z) / 2)
NOISY = dataclasses.replace(
    PLAIN, sample=lambda key, worker: jax.random.normal(key, (5,)), gradient=lambda x, z: PLAIN.gradient(x, 0 * z) + z
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: oracles.coordinates(0), "`block` must be a positive whole number, got 0"),
        (lambda: oracles.coordinates(6).of(PLAIN), "`block` must not exceed the 5 coordinates of quadratic.*, got 6"),
        (lambda: oracles.zeroth_order(0.0), "`mu` must be a positive number, finite, got 0.0"),
        (lambda: oracles.zeroth_order(math.inf), "`mu` must be a positive number, finite, got inf"),
        (lambda: oracles.zeroth_order([0.1, -1.0]), "`mu` must be a positive number, finite"),
        (lambda: oracles.zeroth_order(0.1, 0), "`directions` must be a positive whole number, got 0"),
        (lambda: oracles.zeroth_order(0.1, 2.0), "`directions` must be a positive whole number, got 2.0"),
        (
            lambda: oracles.zeroth_order(0.1, 6).of(PLAIN),
            "`directions` must not exceed the 5 coordinates of quadratic.*, got 6",
        ),
        (lambda: oracles.zeroth_order([0.1] * 4).of(PLAIN), r"one for each of 5 coordinates, got shape \(4,\)"),
        (lambda: oracles.zeroth_order([0.1] * 5, 1, "sphere"), r"one number with the scheme 'sphere', got shape \(5,\)"),
        (lambda: oracles.zeroth_order(0.1, 1, "cube"), "`scheme` must be 'coordinate', 'gaussian' or 'sphere', got 'cube'"),
        (lambda: oracles.coordinates().of(ORACLES[1].of(PLAIN)), "are made by an oracle already; give one oracle"),
        (lambda: oracles.zeroth_order(0.1).of(oracles.gradient(2).of(PLAIN)), "are made by an oracle already"),
        (lambda: oracles.gradient(2).of(ORACLES[0].of(PLAIN)), "are made by an oracle already"),
        (lambda: oracles.coordinates().of(HALF), "`partial` of quadratic.* does not give the entries of its gradient"),
        (lambda: oracles.zeroth_order(0.1).of(HALF), "do not have the slope that its gradient says"),
        (
            lambda: oracles.zeroth_order(0.1).of(
                dataclasses.replace(
                    NOISY, loss=lambda x, z: PLAIN.loss(x, 0 * z), gradient=functools.partial(NOISY.gradient)
                )
            ),
            "slope",
        ),
        (lambda: oracles.zeroth_order(0.1).of(problems.progress_quadratic(10, 0.5)), "estimate something else"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    """With one sentence; a gradient that is not that of the loss among it."""
    with pytest.raises(ValueError, match=message):
        call()


def test_an_oracle_can_be_put_on_inside_a_compiled_program():
    """The checks at the start are made while it is traced."""
    seen = jax.jit(lambda x: oracles.zeroth_order(0.5, 5).of(PLAIN).gradient(x, (jnp.zeros(()), jnp.arange(5))))
    np.testing.assert_allclose(seen(jnp.ones(5)), PLAIN.gradient(jnp.ones(5), jnp.zeros(())), atol=1e-5)
    with pytest.raises(ValueError, match="slope"):
        jax.jit(lambda x: oracles.zeroth_order(0.5, 5).of(HALF).gradient(x, (jnp.zeros(()), jnp.arange(5))))(jnp.ones(5))
