"""Covariate shift: the best linear estimator and its bounds, preconditioners, filters, delayed momentum, the problem."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import rules, theory

pytestmark = pytest.mark.compiled_quickly
INDEX = np.arange(1.0, 41.0)
SPECTRUM, ELLIPSE, NOISE, SAMPLES = INDEX**-2, INDEX**0.5, 0.5, 200
TARGETS = {"source": SPECTRUM, "flat": np.full(40, 1 / 40), "reversed": SPECTRUM[::-1], "square": SPECTRUM**2}
# One vital direction among nuisances that the source cannot tell from it.
VITAL = (np.full(40, 0.05), np.r_[1.0, np.full(39, 0.5)], np.r_[1.0, np.full(39, 100.0)])


def rotation(dim, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]


def general(dim, seed):
    """S, T and M that do not commute."""
    rng = np.random.default_rng(seed)
    return tuple(
        (u * np.arange(1.0, dim + 1) ** -rng.uniform(0, 2)) @ u.T for u in (rotation(dim, 3 * seed + k) for k in range(3))
    )


def diagonal(seed, dim=12):
    """S, T and M as vectors; two directions do not matter."""
    rng = np.random.default_rng(seed)
    s, t, m = (np.exp(rng.normal(size=dim)) for _ in range(3))
    t[:2] = 0
    return s, t, m


# The optimum


@pytest.mark.parametrize("seed", range(5))
def test_primal_equals_dual_for_diagonals(seed):
    """The risk of A is the value of F, to rounding, and F uses the whole budget."""
    s, t, m = diagonal(seed)
    best = theory.shift_optimum(s, t, m, 1.0, 20)
    q = 1 / 20 / s
    np.testing.assert_allclose(best.risk, np.sum(t * best.transform * q), rtol=1e-12)
    np.testing.assert_allclose(best.gap, 0, atol=1e-12)
    np.testing.assert_allclose(np.sum(m * best.prior), 1, rtol=1e-12)
    np.testing.assert_allclose(best.transform, best.prior / (best.prior + q), rtol=1e-12)


@pytest.mark.parametrize("dim", [4, 12, 40])
def test_the_general_optimum_is_certified(dim):
    """Risk and dual value of what L-BFGS finds agree to a millionth; tr(M F) = 1."""
    s, t, m = general(dim, seed=1)
    best = theory.shift_optimum(s, t, m, 0.5, 50)
    assert -1e-12 <= best.gap < 1e-6 * best.risk
    np.testing.assert_allclose(np.trace(m @ best.prior), 1, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_general_solver_finds_the_closed_form_in_any_basis(seed):
    """Diagonal inputs, rotated together."""
    s, t, m = diagonal(seed)
    u = rotation(12, seed)
    closed = theory.shift_optimum(s, t, m, 1.0, 20)
    found = theory.shift_optimum(*((u * x) @ u.T for x in (s, t, m)), 1.0, 20)
    np.testing.assert_allclose(found.risk, closed.risk, rtol=1e-6)
    np.testing.assert_allclose(found.transform, (u * closed.transform) @ u.T, atol=1e-3)  # the root of the gap


@pytest.mark.parametrize("seed", range(5))
def test_every_active_direction_is_as_bad_as_any(seed):
    """Bias t (1 - A)^2 / m is one number where A > 0, no larger elsewhere, and is sum t A (1 - A) q."""
    s, t, m = diagonal(seed)
    best = theory.shift_optimum(s, t, m, 1.0, 20)
    level = t * (1 - best.transform) ** 2 / m
    active = best.transform > 0
    assert 0 < active.sum() < len(s)
    water = np.sum(t * best.transform * (1 - best.transform) / (20 * s))
    np.testing.assert_allclose(level[active], water, rtol=1e-12)
    assert (level[~active] <= water * (1 + 1e-12)).all()


def test_with_equal_target_and_ellipse_the_source_only_counts_in_sum():
    """T = M = I: A = I / (1 + c), c = sigma^2 tr(S^-1) / n, in any basis; in one dimension A = 1 / (1 + q m)."""
    s = general(6, seed=2)[0]
    c = 0.25 / 30 * np.trace(np.linalg.inv(s))
    best = theory.shift_optimum(s, np.eye(6), np.eye(6), 0.5, 30)
    np.testing.assert_allclose(best.transform, np.eye(6) / (1 + c), atol=1e-6)
    np.testing.assert_allclose(best.risk, c / (1 + c), rtol=1e-9)
    one = theory.shift_optimum([2.0], [3.0], [5.0], 0.7, 4)
    q = 0.49 / 4 / 2
    np.testing.assert_allclose([one.transform[0], one.risk], [1 / (1 + 5 * q), 3 * q / (1 + 5 * q)], rtol=1e-12)


def test_more_samples_mean_less_shrinkage():
    """Directions without weight are dropped; level and risk fall with n, and A tends to the identity."""
    s, t, m = diagonal(0)
    found = [theory.shift_optimum(s, t, m, 1.0, n) for n in (1, 10, 100, 10**4, 10**8)]
    assert all((best.transform[t == 0] == 0).all() for best in found)
    levels = [np.max(t * (1 - best.transform) ** 2 / m) for best in found]
    for falling in (levels, [best.risk for best in found]):
        assert (np.diff(falling) < 0).all()
    np.testing.assert_allclose(found[-1].transform[t > 0], 1, atol=1e-2)


@pytest.mark.parametrize("seed", range(4))
def test_bounds_below_and_estimators_above(seed):
    """R* / pi^2 <= lower bound <= R* <= every other estimator's risk, in general position."""
    s, t, m = general(5, seed)
    risk = theory.shift_optimum(s, t, m, 0.5, 20).risk
    bound = theory.shift_lower_bound(s, t, m, 0.5, 20)
    assert risk / np.pi**2 <= bound * (1 + 1e-6)
    assert bound < risk
    assert min(theory.shift_comparators(s, t, m, 0.5, 20).values()) >= risk


@pytest.mark.parametrize("seed", range(3))
def test_after_least_squares_is_one_preconditioned_step(seed):
    """A S^-1 is symmetric and positive semidefinite, and A has its spectrum in [0, 1)."""
    s, t, m = general(8, seed)
    a = theory.shift_optimum(s, t, m, 0.5, 20).transform
    p = theory.shift_preconditioner(s, a, steps=1)
    np.testing.assert_allclose(p, a @ np.linalg.inv(s), rtol=1e-7, atol=1e-9 * np.abs(p).max())
    np.testing.assert_allclose(p, p.T, rtol=1e-9)
    assert np.linalg.eigvalsh(p)[0] >= -1e-9 * np.abs(p).max()
    spectrum = np.linalg.eigvals(a).real
    assert spectrum.min() >= -1e-9
    assert spectrum.max() < 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("source", [0.0073, 0.0082, 0.0081, 0.0082, 0.0141, 0.0500, 0.0035]),
        ("flat", [0.0065, 0.0072, 0.0073, 0.0098, 0.0119, 0.6919, 0.0009]),
        ("reversed", [0.1465, 0.1515, 0.1522, 0.1527, 0.1581, 3.016, 0.0159]),
        ("square", [0.0018, 0.0019, 0.0018, 0.0022, 0.0020, 0.0020, 0.0016]),
    ],
)
def test_risks_of_a_known_instance(target, expected):
    """With s = i^-2, m = sqrt(i), d = 40: optimum, comparators, lower bound, to the printed digits."""
    instance = (SPECTRUM, TARGETS[target], ELLIPSE, NOISE, SAMPLES)
    risks = theory.shift_comparators(*instance)
    names = ["ridge", "ridge with ellipse", "ridge tuned on source", "components", "least squares"]
    found = [theory.shift_optimum(*instance).risk, *(risks[name] for name in names), theory.shift_lower_bound(*instance)]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.6e-4)


def test_a_vital_direction_is_out_of_reach_for_filters_of_the_source():
    """The optimum is certified and ten times better than ridge, components, least squares, which treat all alike."""
    best = theory.shift_optimum(*VITAL, NOISE, SAMPLES)
    risks = theory.shift_comparators(*VITAL, NOISE, SAMPLES)
    assert abs(best.gap) < 1e-15
    assert theory.shift_lower_bound(*VITAL, NOISE, SAMPLES) < best.risk < risks["ridge with ellipse"]
    assert min(value for name, value in risks.items() if name != "ridge with ellipse") > 10 * best.risk
    uniform = min(theory.shift_worst_risk(np.full(40, a), *VITAL, NOISE, SAMPLES) for a in np.linspace(0, 1, 1001))
    assert risks["ridge"] >= uniform > 10 * best.risk


def test_comparators_do_not_depend_on_the_basis():
    """Vectors and rotated matrices give the same risks."""
    s, t, m = (x[:6] for x in (SPECTRUM, TARGETS["reversed"], ELLIPSE))
    u = rotation(6, 0)
    expected = theory.shift_comparators(s, t, m, NOISE, SAMPLES)
    found = theory.shift_comparators(*((u * x) @ u.T for x in (s, t, m)), NOISE, SAMPLES)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_least_favourable_truth_attains_the_worst_risk(seed):
    """It lies on the ellipse; bias and noise of A there add up to R*, in general position and for diagonals."""
    for s, t, m in (general(8, seed), diagonal(seed)):
        best = theory.shift_optimum(s, t, m, 0.5, 20)
        w = theory.shift_least_favourable(m, best.prior)
        s, t, m, a = (x if x.ndim == 2 else np.diag(x) for x in (s, t, m, best.transform))
        np.testing.assert_allclose(w @ m @ w, 1, rtol=1e-9)
        bias = (w - a @ w) @ t @ (w - a @ w)
        np.testing.assert_allclose(bias + 0.25 / 20 * np.trace(t @ a @ np.linalg.inv(s) @ a.T), best.risk, rtol=1e-5)


def test_random_designs_change_little():
    """Inputs drawn anew: A after least squares stays at R* = .0065 within 5 %, least squares itself risks .88."""
    s, n = SPECTRUM, SAMPLES
    best = theory.shift_optimum(s, TARGETS["flat"], ELLIPSE, NOISE, n)
    w = theory.shift_least_favourable(ELLIPSE, best.prior)
    rng, risks = np.random.default_rng(0), []
    for _ in range(400):
        x = rng.normal(size=(n, 40)) * np.sqrt(s)
        estimate = np.linalg.lstsq(x, x @ w + NOISE * rng.normal(size=n), rcond=None)[0]
        risks.append([np.mean((best.transform * estimate - w) ** 2), np.mean((estimate - w) ** 2)])
    mean, error = np.mean(risks, axis=0), np.std(risks, axis=0) / np.sqrt(len(risks))
    assert abs(mean[0] / best.risk - 1) < 0.05 + 4 * error[0] / best.risk
    assert abs(mean[1] - 0.88) < 0.005 + 4 * error[1]


# Preconditioners


def descend(s, preconditioner, solution, steps, delay):
    """Full-batch steps from zero whose gradients are late."""
    points = [np.zeros(len(solution))]
    for k in range(steps):
        points.append(points[-1] - preconditioner @ (s @ (points[max(k - delay, 0)] - solution)))
    return points[-1]


@pytest.mark.parametrize(("steps", "delay", "tolerance"), [(1, 0, 1e-8), (5, 0, 1e-8), (50, 0, 1e-8), (50, 4, 8e-15)])
def test_preconditioned_steps_end_at_the_best_estimator(steps, delay, tolerance):
    """From zero to A w_LS, without and with delay, in general position."""
    s, t, m = general(8, seed=0)
    a = theory.shift_optimum(s, t, m, 0.5, 50).transform
    least_squares = np.random.default_rng(0).normal(size=8)
    p = theory.shift_preconditioner(s, a, steps, delay=delay)
    end = descend(s, p, least_squares, steps, delay)
    scale = np.abs(a @ least_squares).max()
    np.testing.assert_allclose(end, a @ least_squares, rtol=0, atol=tolerance * max(1, scale))
    if delay:
        uncorrected = descend(s, theory.shift_preconditioner(s, a, steps), least_squares, steps, delay)
        assert np.abs(uncorrected - end).max() > 0.01 * scale


def test_too_few_delayed_steps_are_refused():
    """Where fewer steps cannot shrink the error enough, a sentence; with one more they can."""
    a, delay = np.array([0.9]), 4
    largest = delay**delay / (delay + 1) ** (delay + 1)
    left = [1.0] * (delay + 1)
    while left[-1] > 0.1:
        left.append(left[-1] - largest * left[-1 - delay])
    steps = len(left) - 1 - delay
    with pytest.raises(ValueError, match=f"{steps - 1} `steps` with a delay of 4 leave at least .*: take more steps"):
        theory.shift_preconditioner([1.0], a, steps - 1, delay=delay)
    p = theory.shift_preconditioner([1.0], a, steps, delay=delay)
    np.testing.assert_allclose(descend(np.eye(1), np.diag(p), np.ones(1), steps, delay), a, atol=1e-14)


@pytest.mark.parametrize(("left", "printed"), [(0.5, 1.04), (0.1, 1.41)])
def test_streaming_costs_a_known_factor_of_noise(left, printed):
    """The variance of n preconditioned samples is that of A w_LS times -log(b) (1 + b) / (2 (1 - b))."""
    s, n = np.array([0.3]), 20_000
    p = theory.shift_preconditioner(s, [1 - left], n)
    risk = theory.filter_risk(s, [1.0], [1.0], 1.0, np.full(n, p[0]))
    factor = (risk - left**2) / ((1 - left) ** 2 / (n * s[0]))
    np.testing.assert_allclose(factor, -np.log(left) * (1 + left) / (2 * (1 - left)), rtol=1e-3)
    np.testing.assert_allclose(factor, printed, atol=0.005)


# Filters


def test_filter_risks_of_a_known_instance():
    """For d = 400, ten stages, low noise, T = S: SGD and accelerated SGD with their best steps, to the printed digits."""
    s, m = np.arange(1.0, 401) ** -2, np.ones(400)
    stage = 4.0 ** -np.repeat(np.arange(10), 200)
    sgd = min(theory.filter_risk(s, s, m, 0.005, step * stage) for step in (1, 0.5, 0.1))
    pairs = [(0.3, 2), (0.1, 4), (0.03, 10), (0.03, 25), (0.01, 30), (0.01, 80)]
    accelerated = min(
        theory.filter_risk(s, s, m, 0.005, delta * stage, ratio * delta * stage, alpha=1 / (1 + beta), beta=beta)
        for delta in (0.5, 0.1)
        for beta, ratio in pairs
    )
    np.testing.assert_allclose([sgd, accelerated], [6.90e-4, 3.77e-5], rtol=0.002)
    assert theory.filter_risk(s, s, m, 0.005, np.full(3000, 2.5)) == np.inf


def test_filters_do_not_depend_on_the_basis():
    """Vectors and rotated matrices give the same risk."""
    s, t, m = (x[:6] for x in (SPECTRUM, TARGETS["reversed"], ELLIPSE))
    u = rotation(6, 0)
    steps = {"delta": np.full(50, 0.5), "gamma": np.full(50, 2.0), "alpha": 0.8, "beta": 0.25}
    expected = theory.filter_risk(s, t, m, NOISE, **steps)
    found = theory.filter_risk(*((u * x) @ u.T for x in (s, t, m)), NOISE, **steps)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_filter_is_the_rules_own():
    """Mean and variance of accelerated SGD with label noise, against many runs of the rule, to five standard errors."""
    s, truth, runs, n = np.array([1.0, 0.2]), np.array([0.6, 0.8]), 4000, 30
    stages = optax.exponential_decay(1.0, 10, 0.25, staircase=True)
    rule = optax.chain(optax.scale_by_schedule(stages), rules.accelerated_sgd(0.3, 1.2, 0.8, 0.25))
    noise = 0.4 * jax.random.normal(jax.random.key(0), (runs, n, 2))

    def one(noise):
        def step(carry, xi):
            params, state = carry
            updates, state = rule.update(s * params - np.sqrt(s) * xi, state, params)
            return (optax.apply_updates(params, updates), state), None

        start = -jnp.asarray(truth, jnp.float32)  # w - w*
        (params, state), _ = jax.lax.scan(step, (start, rule.init(start)), noise)
        return rules.reported_params(state, params)

    error = np.asarray(jax.jit(jax.vmap(one))(noise), np.float64)
    stage = 0.25 ** (np.arange(n) // 10)
    for i in range(2):  # a target that sees one direction only
        target, m = np.eye(2)[i], 1 / truth[i] ** 2 * np.ones(2)
        expected = theory.filter_risk(s, target, m, 0.4, 0.3 * stage, 1.2 * stage, alpha=0.8, beta=0.25)
        square = error[:, i] ** 2
        assert abs(square.mean() - expected) < 5 * square.std() / np.sqrt(runs)


# Delayed momentum

STABLE = {
    0: (2.0, 1.0, 0.3473, 0.0952, 0.0244),
    0.5: (1.5, 0.5616, 0.1675, 0.0464, 0.0121),
    0.9: (1.357, 0.2531, 0.0326, 0.0079, 0.0022),
    0.99: (1.336, 0.0914, 0.0033, 0.0007, 0.0002),
}


@pytest.mark.parametrize("momentum", STABLE)
def test_stable_steps_of_delayed_momentum_are_the_known_ones(momentum):
    """To the printed digits."""
    found = [theory.delayed_stability_limit(delay, momentum) for delay in (0, 1, 4, 16, 64)]
    assert [round(x, 3 if i == 0 else 4) for i, x in enumerate(found)] == list(STABLE[momentum])


def radius(step, delay, c):
    """The spectral radius on (u_t, ..., u_{t - delay}, w_t)."""
    matrix = np.eye(delay + 2, k=-1)
    matrix[-1] = 0
    matrix[0, 0] += 1 + c
    matrix[0, delay] -= (1 + c) * step
    matrix[0, -1] -= c
    matrix[-1, 0] += 1
    matrix[-1, delay] -= step
    return np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("delay", [0, 1, 5, 16])
@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9, 0.99])
def test_the_spectral_radius_is_one_at_the_limit(delay, momentum):
    """Below it at every step, above it beyond."""
    limit = theory.delayed_stability_limit(delay, momentum)
    assert all(radius(share * limit, delay, momentum) < 1 for share in (0.01, 0.3, 0.7, 0.95, 0.9999))
    assert radius(1.0001 * limit, delay, momentum) > 1


def test_limits_of_the_stability_limit():
    """Closed form without delay, the limit of SGD without momentum, and 1 - c of it for long delays."""
    for c in (0.0, 0.5, 0.99):
        np.testing.assert_allclose(theory.delayed_stability_limit(0, c), 2 * (1 + c) / (1 + 2 * c), rtol=1e-12)
    for delay in (1, 4, 64):
        np.testing.assert_allclose(theory.delayed_stability_limit(delay), theory.stability_limit(1.0, delay), rtol=1e-10)
    for c in (0.5, 0.9, 0.99):
        delay = round(100 / (1 - c))
        ratio = theory.delayed_stability_limit(delay, c) / theory.stability_limit(1.0, delay)
        np.testing.assert_allclose(ratio, 1 - c, rtol=0.02)


# The problem


def samples(problem, worker, count=20_000):
    return jax.jit(jax.vmap(lambda key: problem.sample(key, worker)))(jax.random.split(jax.random.key(7), count))


def test_samples_have_the_covariance_of_their_worker():
    """Second moments of x to five standard errors; y - <x, w*> has the variance of the noise."""
    s, t, m = general(3, seed=5)
    other = np.array([2.0, 0.5, 0.1])
    truth = np.array([0.3, -0.2, 0.1])
    problem = jasgd.problems.covariate_shift(s, t, m, 0.7, truth=truth, worker_sources=[s, other])
    for worker, covariance in enumerate((s, np.diag(other))):
        x, y = (np.asarray(value, np.float64) for value in samples(problem, worker))
        products = x[:, :, None] * x[:, None, :]
        assert (np.abs(products.mean(axis=0) - covariance) < 5 * products.std(axis=0) / np.sqrt(len(x))).all()
        square = (y - x @ truth) ** 2
        assert abs(square.mean() - 0.49) < 5 * square.std() / np.sqrt(len(x))
    assert problem.num_workers == 2


def test_metrics_are_exact_and_the_gradient_is_theirs():
    """Risks by hand; the gradient of the mean loss is S (w - w*), as is that of the metric."""
    s, t, m = general(3, seed=6)
    truth, w = np.array([0.3, -0.2, 0.1]), np.array([1.0, 0.5, -1.0])
    problem = jasgd.problems.covariate_shift(s, t, m, 0.7, truth=truth)
    e = w - truth
    found = problem.metrics(jnp.asarray(w, jnp.float32))
    expected = {"source_risk": e @ s @ e, "target_risk": e @ t @ e, "loss": 0.5 * e @ s @ e + 0.5 * 0.49}
    expected["grad_norm"] = np.linalg.norm(s @ e)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected, rel=1e-5)
    gradient = jax.vmap(problem.gradient, (None, 0))(jnp.asarray(w, jnp.float32), samples(problem, 0))
    gradient = np.asarray(gradient, np.float64)
    assert (np.abs(gradient.mean(axis=0) - s @ e) < 5 * gradient.std(axis=0) / np.sqrt(len(gradient))).all()


def test_the_default_truth_is_least_favourable():
    """For diagonals w_i = sqrt(F_i / sum m F): the start's risk is that of the truth."""
    problem = jasgd.problems.covariate_shift(SPECTRUM, TARGETS["flat"], ELLIPSE, NOISE, samples=SAMPLES)
    prior = theory.shift_optimum(SPECTRUM, TARGETS["flat"], ELLIPSE, NOISE, SAMPLES).prior
    metrics = problem.metrics(problem.init(jax.random.key(0)))
    square = prior / np.sum(ELLIPSE * prior)
    np.testing.assert_allclose(metrics["source_risk"], np.sum(SPECTRUM * square), rtol=1e-5)
    np.testing.assert_allclose(metrics["target_risk"], np.sum(square) / 40, rtol=1e-5)


def test_the_common_minimiser_stays_whatever_the_workers_see():
    """Without noise and at the truth the gradients of all workers vanish."""
    truth = np.array([0.5, 0.5])
    problem = jasgd.problems.covariate_shift(
        [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], 0.0, truth=truth, worker_sources=[[1.0, 0.1], [0.1, 1.0]]
    )
    for worker in range(2):
        batch = samples(problem, worker, 100)
        gradients = jax.vmap(problem.gradient, (None, 0))(jnp.asarray(truth, jnp.float32), batch)
        np.testing.assert_allclose(gradients, 0, atol=1e-5)


@pytest.mark.parametrize("delay", [0, 16])
def test_a_streaming_preconditioner_comes_near_the_optimum(delay):
    """4000 fresh samples, late or not: within 35 % of the minimax risk, which is for a fixed design."""
    n, target = 4000, TARGETS["flat"]
    best = theory.shift_optimum(SPECTRUM, target, ELLIPSE, NOISE, n)
    p = theory.shift_preconditioner(SPECTRUM, best.transform, n, delay=delay)
    found = jasgd.sweep(
        jasgd.problems.covariate_shift(SPECTRUM, target, ELLIPSE, NOISE, samples=n),
        optax.chain(rules.precondition(p), optax.sgd(1.0)),
        jasgd.protocols.delays(1, n, delay),
        key=jax.random.key(0),
        seeds=16,
    )
    assert float(found["target_risk"].isel(version=-1).mean()) == pytest.approx(best.risk, rel=0.35)


ONE = np.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.shift_optimum([1.0, 0.0], ONE, ONE, 1.0, 5), "`source` must be positive definite"),
        (lambda: theory.shift_optimum(ONE, [1.0, -1.0], ONE, 1.0, 5), "`target` must be positive semidefinite"),
        (lambda: theory.shift_optimum(ONE, np.ones(3), ONE, 1.0, 5), r"`target` must be a matrix, .*; got \(3,\)"),
        (lambda: theory.shift_optimum(ONE, [[1.0, 1.0], [0.0, 1.0]], ONE, 1.0, 5), "`target` must be symmetric"),
        (lambda: theory.shift_optimum(ONE, [np.nan, 1.0], ONE, 1.0, 5), "`target` must be finite"),
        (lambda: theory.shift_optimum(1.0, 1.0, 1.0, 1.0, 5), r"`source` must be a matrix, .*; got \(\)"),
        (lambda: theory.shift_optimum(ONE, ONE, ONE, 0.0, 5), "`noise` must be positive"),
        (lambda: theory.shift_optimum(ONE, ONE, ONE, 1.0, 0), "`samples` must be a positive whole number"),
        (lambda: theory.shift_worst_risk(np.ones(3), ONE, ONE, ONE, 1.0, 5), "`transform` must be of shape"),
        (lambda: theory.shift_preconditioner(ONE, [0.5, 1.0], 5), r"`transform` must have a spectrum in \[0, 1\)"),
        (lambda: theory.shift_preconditioner(ONE, np.ones(3), 5), "`transform` must be of shape"),
        (lambda: theory.shift_preconditioner(ONE, [[0.5, 0.3], [0.0, 0.5]], 5), "must be symmetric"),
        (lambda: theory.shift_preconditioner(ONE, 0.5 * ONE, 5, delay=-1), "`delay` must be a whole number from 0 on"),
        (lambda: theory.filter_risk(ONE, ONE, ONE, 1.0, [0.1, 0.1], [0.1]), "`delta` and `gamma` must be positive"),
        (lambda: theory.delayed_stability_limit(1, 1.0), r"`momentum` must be in \[0, 1\)"),
        (lambda: theory.delayed_stability_limit(1.5), "`delay` must be a whole number from 0 on"),
        (lambda: jasgd.problems.covariate_shift(ONE, ONE, ONE, 1.0), "give either `samples`"),
        (lambda: jasgd.problems.covariate_shift(ONE, ONE, ONE, 1.0, truth=[1.0, 1.0]), "`truth` must lie in the ellipse"),
        (lambda: jasgd.problems.covariate_shift(ONE, ONE, ONE, 1.0, truth=[1.0]), "`truth` must hold 2 finite numbers"),
        (
            lambda: jasgd.problems.covariate_shift(ONE, ONE, ONE, 1.0, samples=5, worker_sources=[[1.0]]),
            "`worker_sources` must hold a covariance of 2 inputs for each worker",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    """One sentence: what is expected, and what came."""
    with pytest.raises(ValueError, match=message):
        call()
