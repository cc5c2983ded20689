"""Progress noise, and batches whose one gradient has the law of the mean of many."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import problems

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
EPS = float(jnp.finfo(jnp.float32).eps)


def matrix(d, mu=None):
    """A = tridiag(-1, 2, -1) / 4, its diagonal moved so that the smallest eigenvalue is mu."""
    tridiagonal = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    return tridiagonal if mu is None else tridiagonal + (mu - np.linalg.eigvalsh(tridiagonal)[0]) * np.eye(d)


def vector(d):
    return -np.eye(d)[0] / 4


def progress(x):
    """The number of the last coordinate that is not zero, counted from 1; 0 if there is none."""
    return max([j for j, value in enumerate(x, start=1) if value != 0], default=0)


def reference_gradient(a, x, scale):
    """Coordinates up to prog(x) of A x - b as they are, those beyond times xi / p."""
    exact = a @ x - vector(len(x))
    return np.array([g if j <= progress(x) else scale * g for j, g in enumerate(exact, start=1)])


POINTS = {
    "start": [math.sqrt(6), 0, 0, 0, 0, 0],
    "hole": [1.5, 0, -2.0, 0, 0, 0],  # a zero before prog counts as any other coordinate
    "last": [0, 0, 0, 0, 0, 0.5],
    "one zero": [1.0, 2.0, 3.0, -4.0, 5.0, 0],
    "zero": [0, 0, 0, 0, 0, 0],
}


def at_points(problem, scale):
    """Gradients at all points, of the function and of its loss."""
    points = jnp.asarray(list(POINTS.values()), jnp.float32)
    both = jax.jit(lambda x, z: (problem.gradient(x, z), jax.grad(problem.loss)(x, z), problem.loss(x, z)))
    return jax.vmap(both, in_axes=(0, None))(points, jnp.float32(scale))


# Progress noise.


@pytest.mark.parametrize("mu", [None, 0.2])
def test_progress_gradient_is_that_of_the_definition(mu):
    """Up to prog(x) exact, beyond it times xi / p, at zero all of it; the gradient of the loss is the same."""
    problem, a = problems.progress_quadratic(6, 0.25, smallest_eigenvalue=mu), matrix(6, mu)
    for scale in (0.0, 4.0):
        gradients, of_loss, losses = at_points(problem, scale)
        for i, point in enumerate(map(np.asarray, POINTS.values())):
            expected = reference_gradient(a, point, scale)
            np.testing.assert_allclose(gradients[i], expected, atol=32 * EPS)
            np.testing.assert_allclose(of_loss[i], expected, atol=32 * EPS)
            assert losses[i] == pytest.approx(0.5 * point @ a @ point - vector(6) @ point, rel=16 * EPS)


@pytest.mark.parametrize("mu", [None, 0.2])
def test_progress_noise_has_mean_zero_and_the_stated_variance(mu):
    """Weighing the two values of xi: the gradient is unbiased, its variance (1 - p) / p times x_prog^2 / 16."""
    p = 0.25
    problem, a = problems.progress_quadratic(6, p, smallest_eigenvalue=mu), matrix(6, mu)
    off, on = (np.asarray(at_points(problem, scale)[0], np.float64) for scale in (0.0, 1 / p))
    for i, point in enumerate(map(np.asarray, POINTS.values())):
        exact = a @ point - vector(6)
        np.testing.assert_allclose(p * on[i] + (1 - p) * off[i], exact, atol=32 * EPS)
        variance = p * np.sum((on[i] - exact) ** 2) + (1 - p) * np.sum((off[i] - exact) ** 2)
        j = progress(point)
        expected = 0 if j == 6 else (1 - p) / p * (point[j - 1] if j else 1) ** 2 / 16
        assert variance == pytest.approx(expected, rel=32 * EPS, abs=EPS)
        if list(POINTS)[i] == "start":
            assert variance == pytest.approx(problem.facts["noise_variance_at_start"], rel=32 * EPS)


def test_progress_sample_is_a_coin_over_its_probability():
    """A job draws 0 or 1 / p, the latter with probability p."""
    p, draws = 0.05, 20_000
    problem = problems.progress_quadratic(6, p)
    drawn = np.asarray(jax.jit(jax.vmap(problem.sample, in_axes=(0, None)))(jax.random.split(KEY, draws), 0))
    assert set(np.unique(drawn)) == {np.float32(0), np.float32(1 / p)}
    assert np.mean(drawn > 0) == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / draws))


@pytest.mark.parametrize(("d", "mu"), [(1, None), (2, None), (7, None), (1, 0.3), (7, 0.001), (7, 0.3)])
def test_facts_of_the_progress_quadratic(d, mu):
    """Eigenvalues are those of the Hessian, moved up or down on request; the smallest loss is -b A^-1 b / 2."""
    problem, a = problems.progress_quadratic(d, 0.5, smallest_eigenvalue=mu), matrix(d, mu)
    slope = jax.jit(jax.vmap(lambda x: problem.gradient(x, jnp.float32(1))))
    points = np.vstack([np.eye(d), np.zeros(d)]).astype(np.float32)
    gradients = np.asarray(slope(points), np.float64)
    eigenvalues = np.linalg.eigvalsh(gradients[:-1] - gradients[-1])
    assert eigenvalues[0] == pytest.approx(problem.facts["smallest_eigenvalue"], abs=EPS)
    assert eigenvalues[-1] == pytest.approx(problem.facts["smoothness"], abs=EPS)
    if mu is not None:
        assert problem.facts["smallest_eigenvalue"] == pytest.approx(mu)
    smallest = -0.5 * vector(d) @ np.linalg.solve(a, vector(d))
    assert problem.facts["smallest_loss"] == pytest.approx(smallest)
    start = np.sqrt(d) * np.eye(d)[0]
    np.testing.assert_allclose(problem.init(KEY), start, rtol=EPS)
    metrics = jax.jit(problem.metrics)(problem.init(KEY))
    value = 0.5 * start @ a @ start - vector(d) @ start
    assert float(metrics["loss"]) == pytest.approx(value, rel=8 * EPS)
    assert float(metrics["gap"]) == pytest.approx(value - smallest, rel=16 * EPS)
    assert float(metrics["grad_norm"]) == pytest.approx(np.linalg.norm(a @ start - vector(d)), rel=8 * EPS)


@pytest.mark.parametrize("mu", [None, 5e-6])
def test_gap_keeps_its_digits_near_the_optimum(mu):
    """A gap of 2e-9 or less beside a loss of -0.12 is right to a percent in single precision."""
    d = 400
    problem, a = problems.progress_quadratic(d, 0.5, smallest_eigenvalue=mu), matrix(d, mu)
    flat = np.sin(np.pi * np.arange(1, d + 1) / (d + 1))
    point = (np.linalg.solve(a, vector(d)) + 1e-3 * flat).astype(np.float32)
    error = point.astype(np.float64) - np.linalg.solve(a, vector(d))
    expected = 0.5 * error @ a @ error
    assert expected < 2e-9
    assert float(jax.jit(problem.metrics)(jnp.asarray(point))["gap"]) == pytest.approx(expected, rel=0.01)


def test_sgd_opens_one_coordinate_per_success():
    """50 steps of SGD follow the definition on the same coins; coordinates that no coin has opened are exactly zero."""
    d, p, rate, steps = 40, 0.3, 0.5, 50
    problem, key = problems.progress_quadratic(d, p, smallest_eigenvalue=0.01), jax.random.key(3)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(1), steps)
    found = np.asarray(jasgd.simulate(problem, optax.sgd(rate), schedule, key=key).params)
    _, jobs = jasgd.split_key(key)
    draw = jax.jit(jax.vmap(lambda job: problem.sample(jasgd.job_key(jobs, 0, job), 0)))
    scales = np.asarray(draw(jnp.arange(steps)), np.float64)
    x = np.sqrt(d) * np.eye(d)[0]
    for scale in scales:
        x = x - rate * reference_gradient(matrix(d, 0.01), x, scale)
    opened = 1 + np.count_nonzero(scales)
    assert 5 < opened < 30
    assert found[opened:].tolist() == [0.0] * (d - opened)
    assert np.all(found[:opened] != 0)
    np.testing.assert_allclose(found, x, atol=steps * np.sqrt(d) * EPS)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_progress_gradient_keeps_the_dtype(dtype):
    """Parameters of half the width get gradients of that width, from one sample or from many."""
    problem = problems.progress_quadratic(6, 0.25)
    point = problem.init(KEY).astype(dtype)
    for batch in (problem.sample(KEY, 0), problem.mean_sample(KEY, 0, 3)):
        assert problem.gradient(point, batch).dtype == dtype
        assert all(value.dtype == dtype for value in problem.metrics(point).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0, "probability": 0.5}, "`dim` must be a positive whole number, got 0"),
        ({"dim": 3, "probability": 0.0}, r"`probability` must be a number in \(0, 1\], got 0.0"),
        ({"dim": 3, "probability": 1.1}, r"`probability` must be a number in \(0, 1\], got 1.1"),
        ({"dim": 3, "probability": float("nan")}, r"`probability` must be a number in \(0, 1\], got nan"),
        ({"dim": 3, "probability": 0.5, "smallest_eigenvalue": 0.0}, "`smallest_eigenvalue` must be a positive number"),
        ({"dim": 3, "probability": 0.5, "smallest_eigenvalue": -0.1}, "`smallest_eigenvalue` must be a positive number"),
    ],
)
def test_bad_progress_quadratics_are_refused(arguments, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        problems.progress_quadratic(**arguments)


# Means of many gradients.


def means(problem, count, draws, seed=1):
    """Mean samples; the count is traced."""
    draw = jax.jit(jax.vmap(problem.mean_sample, in_axes=(0, None, None)))
    return np.asarray(draw(jax.random.split(jax.random.key(seed), draws), jnp.int32(0), jnp.int32(count)), np.float64)


@pytest.mark.parametrize(("p", "count"), [(0.3, 5), (1e-4, 1), (1e-4, 10_000), (1.0, 7), (0.1, 1000)])
def test_mean_of_progress_noise_is_binomial(p, count):
    """How often it takes each of its values k / (count p) is the binomial law, value by value."""
    draws = 40_000
    successes = means(problems.progress_quadratic(6, p), count, draws) * count * p
    np.testing.assert_allclose(successes, np.rint(successes), rtol=8 * EPS)
    k = np.arange(count + 1)
    logs = np.array([math.lgamma(count + 1) - math.lgamma(i + 1) - math.lgamma(count - i + 1) for i in k])
    law = np.exp(logs + k * math.log(p) + (count - k) * math.log1p(-p)) if p < 1 else (k == count).astype(float)
    seen = np.bincount(np.rint(successes).astype(int), minlength=count + 1) / draws
    assert np.all(np.abs(seen - law) <= 5 * np.sqrt(law * (1 - law) / draws) + 5 / draws)  # the last: atoms rarely seen
    assert successes.mean() == pytest.approx(count * p, abs=5 * np.sqrt(count * p * (1 - p) / draws))


def test_mean_of_progress_noise_has_mean_one_and_the_variance_over_count():
    """The factor beyond prog(x) has mean 1 and variance (1 - p) / (p count)."""
    p, count, draws = 0.1, 40, 40_000
    factors, variance = means(problems.progress_quadratic(6, p), count, draws), (1 - p) / (p * count)
    fourth = variance**2 * (3 + (1 - 6 * p * (1 - p)) / (count * p * (1 - p)))  # central moment of a binomial
    assert factors.mean() == pytest.approx(1, abs=5 * np.sqrt(variance / draws))
    assert np.mean((factors - 1) ** 2) == pytest.approx(variance, abs=5 * np.sqrt((fourth - variance**2) / draws))


def test_gradient_of_the_mean_is_the_mean_of_gradients():
    """At every point, the gradient at the mean of five samples is the mean of their five gradients."""
    problem = problems.progress_quadratic(6, 0.25)
    samples = [0.0, 4.0, 0.0, 0.0, 4.0]
    each = np.mean([at_points(problem, scale)[0] for scale in samples], axis=0)
    np.testing.assert_allclose(at_points(problem, np.mean(samples))[0], each, atol=32 * EPS)


@pytest.mark.parametrize("make", [lambda: problems.progress_quadratic(6, 0.1), lambda: problems.quadratic(6, 0.1)])
def test_mean_sample_is_the_same_wherever_it_is_drawn(make):
    """Workers with different counts side by side inside a compiled loop get the numbers that each gets alone."""
    problem, counts = make(), np.array([1, 7, 50, 3000])
    keys = jax.random.split(KEY, (3, 4))

    @jax.jit
    def together(keys, counts):
        def body(i, found):
            return found.at[i].set(jax.vmap(problem.mean_sample)(keys[i], jnp.arange(4), counts))

        one = jax.eval_shape(problem.mean_sample, keys[0, 0], 0, 1)
        return jax.lax.fori_loop(0, 3, body, jnp.zeros((3, 4, *one.shape)))

    alone = [[problem.mean_sample(key, worker, int(counts[worker])) for worker, key in enumerate(row)] for row in keys]
    np.testing.assert_allclose(together(keys, counts), alone, rtol=8 * EPS)


@pytest.mark.parametrize("noise_kind", ["iid", "scalar"])
def test_mean_of_normal_noise_is_normal_noise_over_the_root_of_the_count(noise_kind):
    """Mean zero, variance sigma^2 / count per coordinate, two thirds within one deviation, the same kind of dependence."""
    count, draws, deviation = 9, 4000, 0.5 / 3
    noise = means(problems.quadratic(7, 0.5, noise_kind=noise_kind), count, draws)
    noise = noise if noise_kind == "iid" else noise[:, None]
    assert noise.shape == (draws, 7 if noise_kind == "iid" else 1)
    assert np.all(np.abs(noise.mean(axis=0)) < 5 * deviation / np.sqrt(draws))
    covariance = noise.T @ noise / draws
    diagonal = np.eye(len(covariance), dtype=bool)
    np.testing.assert_allclose(covariance[diagonal], deviation**2, rtol=5 * np.sqrt(2 / draws))
    assert np.all(np.abs(covariance[~diagonal]) < 5 * deviation**2 / np.sqrt(draws))
    inside = math.erf(math.sqrt(0.5))
    assert np.mean(np.abs(noise) < deviation) == pytest.approx(inside, abs=5 * np.sqrt(inside * (1 - inside) / noise.size))


@pytest.mark.compiled_fully
def test_means_of_exact_gradients_are_exact():
    """Without noise, and with all rows of the data, the mean of gradients is the gradient."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(12, 3)), rng.normal(size=12)
    point = jnp.asarray(rng.normal(size=3), jnp.float32)
    for problem in (problems.quadratic(3), problems.least_squares(*data)):
        one = problem.gradient(point, problem.sample(KEY, 0))
        np.testing.assert_array_equal(problem.gradient(point, problem.mean_sample(KEY, 0, 5)), one)
    assert problems.least_squares(*data, batch=4).mean_sample is None
