"""Accelerated SGD, averaged SGD, a fixed preconditioner, and estimates that are not the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd import rules

STEPS, DIM = 30, 4
SPECTRUM = np.array([1.0, 0.4, 0.1, 0.02])
NOISE = np.random.default_rng(0).normal(size=(STEPS, DIM))
START = np.array([2.0, -1.0, 0.5, 3.0])


def gradient(u, t):
    """Of a noisy quadratic; the noise of a step is given."""
    return SPECTRUM * u + NOISE[t]


def path(rule):
    """Parameters and estimates of all steps, in float64."""
    with jax.enable_x64(True):

        def step(carry, noise):
            params, state = carry
            updates, state = rule.update(SPECTRUM * params + noise, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), (params, rules.reported_params(state, params))

        start = jnp.asarray(START)
        return [np.asarray(x) for x in jax.lax.scan(step, (start, rule.init(start)), jnp.asarray(NOISE))[1]]


def accelerated_loop(delta, gamma, alpha, beta):
    """The three lines of the definition; ``delta`` and ``gamma`` are functions of the step."""
    u, v, us, ws = START, START, [], []
    for t in range(STEPS):
        g = gradient(u, t)
        w = u - delta(t) * g
        v = beta * u + (1 - beta) * v - gamma(t) * g
        u = alpha * w + (1 - alpha) * v
        us.append(u)
        ws.append(w)
    return np.array(us), np.array(ws)


def assert_same(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_accelerated_sgd_is_its_three_lines():
    """Parameters u and estimates w, against a slow loop."""
    us, ws = path(rules.accelerated_sgd(0.3, 1.2, 0.6, 0.25))
    expected = accelerated_loop(lambda t: 0.3, lambda t: 1.2, 0.6, 0.25)
    assert_same(us, expected[0])
    assert_same(ws, expected[1])
    assert np.abs(us - ws).max() > 0.1


@pytest.mark.parametrize(
    ("numbers", "plain"),
    [
        ((0.3, 0.3, 0.6, 0.25), optax.sgd(0.3)),
        ((0.3, 1.2, 0.6, 1.0), optax.sgd(0.6 * 0.3 + 0.4 * 1.2)),
        ((0.3, 1.2, 1.0, 0.25), optax.sgd(0.3)),
        ((0.3, 1.2, 1 / 1.25, 0.25), optax.sgd(0.3, momentum=0.75 / 1.25, nesterov=True)),
    ],
    ids=["equal steps", "beta 1", "alpha 1", "Nesterov"],
)
def test_accelerated_sgd_has_plain_rules_as_limits(numbers, plain):
    """Equal steps, beta = 1 and alpha = 1 are SGD; gamma = delta / beta, alpha = 1 / (1 + beta) Optax's Nesterov."""
    assert_same(path(rules.accelerated_sgd(*numbers))[0], path(plain)[0])


def test_any_alpha_gives_nesterov_where_its_two_steps_agree():
    """If alpha delta + (1 - alpha) gamma = (1 + c) delta with c = alpha (1 - beta), it is momentum c."""
    delta, alpha, beta = 0.2, 0.7, 0.4
    c = alpha * (1 - beta)
    gamma = ((1 + c) * delta - alpha * delta) / (1 - alpha)
    expected = path(optax.sgd(delta, momentum=c, nesterov=True))[0]
    assert_same(path(rules.accelerated_sgd(delta, gamma, alpha, beta))[0], expected)


def test_accelerated_sgd_is_accsgd():
    """Against the loop of the public code rahulkidambi/AccSGD, with its numbers translated."""
    lr, kappa, xi, k = 0.1, 30.0, 5.0, 0.7
    beta = k**2 * xi / kappa
    zeta, large = k / (k + beta), lr * kappa / k
    p, buffer, expected = START, START, []
    for t in range(STEPS):
        g = gradient(p, t)
        buffer = beta * ((1 / beta - 1) * buffer - large * g + p)
        p = zeta * (p - lr * g) + (1 - zeta) * buffer
        expected.append(p)
    assert_same(path(rules.accelerated_sgd(lr, k * xi * lr, k / (k + beta), beta))[0], expected)


def test_accelerated_sgd_is_a_two_by_two_map():
    """On (w, u), per eigenvalue: [[0, 1 - delta s], [-c, 1 + c - q s]], driven by the noise through (delta, q)."""
    delta, gamma, alpha, beta = 0.3, 1.2, 0.6, 0.25
    c, q = alpha * (1 - beta), alpha * delta + (1 - alpha) * gamma
    us, ws = path(rules.accelerated_sgd(delta, gamma, alpha, beta))
    for i, s in enumerate(SPECTRUM):
        point = np.array([START[i], START[i]])
        for t in range(STEPS):
            matrix = np.array([[0, 1 - delta * s], [-c, 1 + c - q * s]])
            point = matrix @ point - np.array([delta, q]) * NOISE[t, i]
            np.testing.assert_allclose([ws[t, i], us[t, i]], point, rtol=1e-11, atol=1e-11)


def test_a_schedule_before_it_divides_both_steps():
    """Scaled gradients are a short and a long step that fall together."""
    stages = optax.exponential_decay(1.0, 10, 0.25, staircase=True)
    us, ws = path(optax.chain(optax.scale_by_schedule(stages), rules.accelerated_sgd(0.3, 1.2, 0.6, 0.25)))
    factor = [0.25 ** (t // 10) for t in range(STEPS)]
    expected = accelerated_loop(lambda t: 0.3 * factor[t], lambda t: 1.2 * factor[t], 0.6, 0.25)
    assert_same(us, expected[0])
    assert_same(ws, expected[1])


@pytest.mark.parametrize("start", [0, 7, 100])
def test_averaged_sgd_is_pytorchs_loop(start):
    """Parameters and average of the single-tensor branch, step by step."""
    lr, decay, power = 0.3, 0.05, 0.75
    us, averages = path(rules.averaged_sgd(lr, decay=decay, power=power, start=start))
    w, ax, eta, mu = START, np.zeros(DIM), lr, 1.0
    for t in range(STEPS):
        w = w * (1 - decay * eta) - eta * gradient(w, t)
        ax = w if mu == 1 else ax + mu * (w - ax)
        eta = lr / (1 + decay * lr * (t + 1)) ** power
        mu = 1 / max(1, t + 1 - start)
        assert_same(us[t], w)
        assert_same(averages[t], ax)


@pytest.mark.parametrize("start", [0, 7, 28, 29, 1e6])
def test_the_average_is_that_of_the_later_points(start):
    """Of w_{t0 + 2}, ..., w_K after K > t0 + 1 steps, and w_K before; without decay the points are plain SGD's."""
    us, averages = path(rules.averaged_sgd(0.3, decay=0.0, start=start))
    assert_same(us, path(optax.sgd(0.3))[0])
    expected = us[-1] if start + 1 >= STEPS else us[int(start) + 1 :].mean(axis=0)  # us[j - 1] is w_j
    assert_same(averages[-1], expected)


def test_an_average_of_half_precision_is_kept_in_single():
    """And reported in the precision of the parameters."""
    params = jnp.ones(2, jnp.float16)
    state = rules.averaged_sgd(0.1).init(params)
    assert optax.tree.get(state, "reported_params").dtype == jnp.float32
    assert rules.reported_params(state, params).dtype == jnp.float16


MATRIX = np.random.default_rng(1).normal(size=(5, 5))


@pytest.mark.parametrize(
    ("p", "matrix"), [(MATRIX, MATRIX), (np.abs(MATRIX[0]), np.diag(np.abs(MATRIX[0]))), (2.0, 2 * np.eye(5))]
)
def test_a_preconditioner_multiplies_the_whole_gradient(p, matrix):
    """A matrix, a diagonal, a number; the leaves of a tree make one vector."""
    tree = {"a": np.arange(2.0, dtype=np.float32), "b": np.arange(3.0, 6.0, dtype=np.float32).reshape(3, 1)}
    rule = rules.precondition(p)
    updates, state = rule.update(jax.tree.map(jnp.asarray, tree), rule.init(tree))
    expected = matrix @ np.array([0, 1, 3, 4, 5])
    np.testing.assert_allclose(jnp.concatenate([updates["a"], updates["b"].ravel()]), expected, rtol=1e-5, atol=1e-5)
    assert updates["b"].shape == (3, 1)
    assert jax.tree.leaves(state) == []


def test_reported_estimates_are_what_the_simulator_records():
    """``report`` moves the estimate w and sends u: the same jobs, whose estimates a replay of the plain rule has."""
    inner = rules.accelerated_sgd(0.02, 0.1, 0.8, 0.2)
    problem = jasgd.problems.quadratic(dim=6, noise=0.3)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 1.7, 3.1]), 60)
    key = jax.random.key(3)
    plain = jasgd.simulate(problem, inner, schedule, key=key, every=20)
    told = jasgd.simulate(problem, rules.report(inner), schedule, key=key, every=20)
    estimate = rules.reported_params(plain.rule_state, plain.params)
    np.testing.assert_allclose(told.params, estimate, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(rules.sent_params(told.rule_state, told.params), plain.params, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(told.history["loss"][-1], problem.metrics(estimate)["loss"], rtol=1e-4)
    assert np.abs(estimate - plain.params).max() > 1e-2


def test_a_rule_without_an_estimate_reports_its_parameters():
    """And ``report`` refuses it, as it refuses one that sends its workers elsewhere."""
    params = jnp.ones(2)
    state = optax.adam(0.1).init(params)
    np.testing.assert_array_equal(rules.reported_params(state, params), params)
    for inner in (optax.adam(0.1), rules.report(rules.averaged_sgd())):
        with pytest.raises(ValueError, match="`inner` must keep `reported_params` in its state"):
            rules.report(inner).init(params)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.accelerated_sgd(0.0, 1.0, 0.5, 0.5), "`delta` must be a positive number, got 0.0"),
        (lambda: rules.accelerated_sgd(0.1, 1.0, 1.5, 0.5), r"`alpha` must be a number in \(0, 1\], got 1.5"),
        (lambda: rules.accelerated_sgd(0.1, 1.0, 0.5, 0.0), r"`beta` must be a number in \(0, 1\], got 0.0"),
        (lambda: rules.averaged_sgd(0.1, start=-1), "`start` must be a number that is not negative, got -1"),
        (lambda: rules.precondition(np.ones((2, 3))), r"`preconditioner` must be a square matrix, .*, got shape \(2, 3\)"),
        (lambda: rules.precondition([[np.nan]]), "`preconditioner` must be a square matrix of finite numbers"),
        (
            lambda: rules.precondition(np.ones(3)).update(jnp.ones(2), optax.EmptyState()),
            "`preconditioner` is for 3 numbers, but there are 2 parameters",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    """One sentence: what is expected, and what came."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("rule", [rules.accelerated_sgd(0.1, 0.4, 0.5, 0.5), rules.report(rules.averaged_sgd(0.1))])
def test_rules_that_step_from_the_parameters_say_so(rule):
    """When they are not given."""
    with pytest.raises(ValueError, match="pass the current parameters to `update`"):
        rule.update(jnp.ones(2), rule.init(jnp.ones(2)))
