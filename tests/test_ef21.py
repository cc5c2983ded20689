"""EF21: the paper's lines, its limits, where it converges and compressed SGD does not, and the keys of its messages."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rule_references as papers
from test_rules_momentum import heavy_tailed, noisy, play, scripted, table

import jasgd
from jasgd import compressors, engine, rules
from jasgd.chunks import chunk_arrays
from jasgd.compressors import bernoulli, identity, natural, qsgd, rand_k, scaled_down, scaled_sign, top_k
from jasgd.extra_args import trace_rule
from jasgd.plan import plan

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)


def rounds(n, updates):
    """Synchronous: all n workers deliver, in turn, then the server steps."""
    rows = np.arange(n * updates)
    return table(rows % n, rows // n, n, apply=rows % n == n - 1)


# The paper


@pytest.mark.parametrize("k", [1, 3])
def test_synchronous_rounds_are_the_paper(k):
    """In the order of the paper, from g_i = C(grad f_i(x)): x - gamma g, then c_i at the new x, for unlike quadratics."""
    n, d, gamma, steps = 4, 5, 0.1, 100
    rng = np.random.default_rng(0)
    matrices = np.stack([(q * np.linspace(0.2, 1, d)) @ q.T for q in np.linalg.qr(rng.normal(size=(n, d, d)))[0]])
    centres, x = rng.normal(size=(n, d)), rng.normal(size=d)
    compress = papers.top(k)

    def gradient(x, i):
        return matrices[i] @ (x - centres[i])

    g = np.array([compress(gradient(x, i)) for i in range(n)])
    points = [x]
    for _ in range(steps):
        x = x - gamma * g.mean(axis=0)
        c = [compress(gradient(x, i) - g[i]) for i in range(n)]
        g = g + c
        points.append(x)
    with jax.enable_x64(True):
        a, b = jnp.asarray(matrices), jnp.asarray(centres)
        rule = rules.ef21(gamma, n, top_k(k))
        run = play(rule, rounds(n, steps), lambda x, row: a[row["worker"]] @ (x - b[row["worker"]]), points[0])
    np.testing.assert_allclose(run.points, points, rtol=1e-11, atol=1e-12)


def test_without_compression_synchronous_rounds_are_minibatch_sgd():
    """The identity, simulated, on the same samples: SGD on the mean of all gradients."""
    problem, schedule = jasgd.problems.quadratic(5, noise=0.3), jasgd.protocols.minibatch(jasgd.fleet.power_law(4, 1.0), 50)
    run = jasgd.simulate(problem, rules.ef21(0.3, 4, identity()), schedule, key=KEY, lanes=4)
    expected = jasgd.simulate(problem, optax.sgd(0.3), schedule, key=KEY, lanes=4)
    np.testing.assert_allclose(run.params, expected.params, rtol=1e-4, atol=1e-5)
    assert np.abs(expected.params - problem.init(jasgd.split_key(KEY)[0])).max() > 0.1


def test_without_compression_it_is_the_mean_of_the_last_gradients():
    """The identity under asynchronous SGD: SAG over workers, which is DuDe from a table of zeros."""
    with jax.enable_x64(True):
        found = play(rules.ef21(0.2, 5, identity()), heavy_tailed(), noisy, np.zeros(3)).points
        expected = play(rules.dude(0.2, 5, start="zero"), heavy_tailed(), noisy, np.zeros(3)).points
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_rows_that_are_only_gathered_change_the_table():
    """They return zero; the mean that the next step takes has their messages."""
    rule, one = rules.scale_by_ef21(2, top_k(1)), jnp.array([3.0, 1.0])
    waited, state = rule.update(one, rule.init(one), worker=0, apply=False)
    np.testing.assert_array_equal(waited, 0)
    np.testing.assert_array_equal(state.ef21_table, [[3, 0], [0, 0]])
    stepped, _ = rule.update(-one, state, worker=1, apply=True)
    np.testing.assert_array_equal(stepped, 0)  # the mean of (3, 0) and (-3, 0)
    stepped, _ = rule.update(one, state, worker=0, apply=True)
    np.testing.assert_array_equal(stepped, [1.5, 0.5])


# Where it goes


def authors_step(smoothness, workers_smoothness, alpha):
    """1 / (L + L_workers sqrt(beta / theta)), as in the authors' code for the smooth case."""
    theta = 1 - math.sqrt(1 - alpha)
    return 1 / (smoothness + workers_smoothness * math.sqrt((1 - alpha) / theta / theta))


@pytest.mark.parametrize("compressor", [top_k(1), scaled_sign(), scaled_down(rand_k(1)), natural()], ids=lambda c: c.name)
def test_one_worker_without_noise_finds_the_minimum(compressor):
    """With one of five coordinates, one bit, or powers of two per message: to 1e-10, with the authors' step."""
    spectrum = np.linspace(0.5, 1, 5)
    with jax.enable_x64(True):
        alpha = 1 - compressor.omega(5) if compressor.alpha is None else compressor.alpha(5)
        rule = rules.ef21(authors_step(1, 1, alpha), 1, compressor)
        run = play(rule, rounds(1, 2000), lambda x, row: spectrum * (x - 1), np.arange(5.0))
    assert np.abs(run.points[-1] - 1).max() < 1e-10


def test_compressed_sgd_diverges_where_ef21_converges():
    """Three workers, f_i = (a_i, x)^2 + |x|^2 / 4, Top1: SGD grows by 1 + 11 gamma / 6 per step, EF21 finds the minimum 0.

    At x = (t, t, t) the largest coordinate of worker i's gradient is -11 t / 2, the others are 9 t / 2: all three messages
    point the wrong way. The example is that of Beznosikov, Horvath, Richtarik, Safaryan, "On Biased Compression for
    Distributed Learning" (recalled).
    """
    a = 2.0 - 5.0 * np.eye(3)

    def gradient(x, row):
        mine = jnp.asarray(a)[row["worker"]]
        return 2 * (mine @ x) * mine + x / 2

    gamma = authors_step(2 / 3 * 25 + 1 / 2, 2 * 17 + 1 / 2, 1 / 3)
    compress = optax.stateless(lambda g, _: top_k(1).compress(KEY, g))
    sgd = optax.chain(compress, rules.gather(), rules.when_applied(optax.sgd(gamma)))
    with jax.enable_x64(True):
        wrong = play(sgd, rounds(3, 4000), gradient, np.ones(3)).points
        right = play(rules.ef21(gamma, 3, top_k(1)), rounds(3, 4000), gradient, np.ones(3)).points
        stale = play(rules.ef21(gamma, 3, top_k(1)), heavy_tailed(3, 8000), gradient, np.ones(3)).points
    np.testing.assert_allclose(wrong, (1 + 11 / 6 * gamma) ** np.arange(4001.0)[:, None] * np.ones(3), rtol=1e-9)
    assert wrong[-1, 0] > 1e18
    assert np.abs(right[-1]).max() < 1e-10
    assert np.abs(stale[-1]).max() < 1e-10


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_mean_is_the_mean_of_the_table(dtype):
    """After every arrival, also where the table rounds what was sent: within the rounding of n additions."""
    script = np.random.default_rng(0).normal(size=(400, 3)).astype(dtype)
    rule = rules.scale_by_ef21(5, scaled_sign())
    states = play(rule, heavy_tailed(), scripted, np.zeros(3, dtype), script).states
    expected = states.ef21_table.mean(axis=1, dtype=np.float64)
    np.testing.assert_allclose(states.ef21_mean, expected, rtol=0, atol=2 * 5 * 2**-24 * np.abs(states.ef21_table).max())


# Randomness


def noise():
    """A 'compressor' that shows its randomness: uniform numbers, whatever is to be sent."""
    return compressors.Compressor(
        compress=lambda key, x: jax.random.uniform(key, x.shape),
        message_bytes=lambda dim, dtype: 4 * dim,
        alpha=lambda dim: 0.5,
        name="noise()",
    )


def test_every_message_has_its_own_key():
    """Worker's j-th message: a function of seed, worker and j, also twice within a server step, and no key of a job."""
    rule, zero = rules.scale_by_ef21(3, noise(), seed=7), jnp.zeros(1)
    workers, state, found = [0, 1, 1, 0, 2, 1], rule.init(zero), {}
    for worker in workers:
        number = int(state.ef21_sent[worker])
        _, state = rule.update(zero, state, worker=worker, step=0, apply=False)
        found[worker, number] = float(state.ef21_change[0])
    assert set(found) == {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 0)}
    messages_key = jax.random.fold_in(jax.random.key(7), 2)
    uniform = {place: float(jax.random.uniform(jasgd.job_key(messages_key, *place), (1,))[0]) for place in found}
    assert found == pytest.approx(uniform, abs=1e-6)  # what is kept is a difference of table entries
    _, jobs_key = jasgd.split_key(jax.random.key(7))
    jobs = [jasgd.job_key(jobs_key, worker, job) for worker in range(4) for job in range(4)]
    numbers = [*found.values(), *(float(jax.random.uniform(key, (1,))[0]) for key in jobs)]
    assert np.diff(np.sort(numbers)).min() > 1e-5


@pytest.mark.compiled_fully
def test_runs_are_functions_of_the_seed():
    """The same seed gives the same bits, however the rows are cut into chunks; other seeds give other runs, same program."""
    problem, schedule = jasgd.problems.quadratic(5), jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, 1.0), 60)

    def rule(seed):
        return rules.ef21(0.1, 4, scaled_down(rand_k(2)), seed=seed)

    one, again, other = (
        jasgd.simulate(problem, rule(seed), schedule, key=KEY, lanes=1, every=every)
        for seed, every in [(0, 60), (0, 7), (1, 60)]
    )
    jax.tree.map(np.testing.assert_array_equal, again.rule_state, one.rule_state)
    np.testing.assert_array_equal(again.params, one.params)
    assert np.abs(other.params - one.params).max() > 1e-3
    assert trace_rule(rule(0), jnp.zeros(5))[0] == trace_rule(rule(1), jnp.zeros(5))[0]


# Scaled down


@pytest.mark.parametrize("compressor", [rand_k(2), bernoulli(0.25), qsgd(1), natural()], ids=lambda c: c.name)
def test_scaled_down_contracts(compressor):
    """E |C(x) - x|^2 <= (1 - alpha) |x|^2 with alpha = 1 / (1 + omega), for sparsifiers equal, within 5 standard errors."""
    scaled, draws, x = scaled_down(compressor), 20_000, np.array([1.5, -0.3, 2.75, 0.01, -4.0, 0.7, -1.1, 0.2])
    found = jax.jit(jax.vmap(scaled.compress, (0, None)))(jax.random.split(KEY, draws), jnp.asarray(x, jnp.float32))
    ratio = np.sum((np.asarray(found, np.float64) - x) ** 2, axis=1) / np.sum(x**2)
    error = 5 * ratio.std() / math.sqrt(draws)
    assert scaled.alpha(8) == 1 / (1 + compressor.omega(8))
    assert ratio.mean() <= 1 - scaled.alpha(8) + error
    if compressor.name.startswith(("rand_k", "bernoulli")):
        assert ratio.mean() == pytest.approx(1 - scaled.alpha(8), abs=error)


def test_scaled_down_rand_k_sends_the_coordinates_themselves():
    """K coordinates unchanged, the others 0, for the bytes of RandK, also where d / K times them overflows."""
    x = jnp.linspace(1000, 2000, 1000, dtype=jnp.float16)
    message = scaled_down(rand_k(10)).compress(KEY, x)
    assert message.dtype == jnp.float16
    assert not jnp.isfinite(rand_k(10).compress(KEY, x)).all()
    kept = np.flatnonzero(message)
    assert len(kept) == 10
    np.testing.assert_array_equal(message[kept], x[kept])
    assert scaled_down(rand_k(10)).message_bytes(1000, jnp.float16) == 20


# Cost


IN_PLACE = [identity(), top_k(7), scaled_down(rand_k(9))]


@pytest.mark.compiled_fully
@pytest.mark.parametrize("compressor", IN_PLACE, ids=lambda c: c.name)
def test_the_compiled_loop_never_copies_the_table(compressor):
    """No instruction of the engine's program copies an array with one row, or one number, per worker."""
    n, d = 50, 700  # sizes that appear nowhere else in the program
    planned = plan(jasgd.protocols.asynchronous(jasgd.fleet.equal(n), 2 * n), 1)
    rule = rules.ef21(0.1, n, compressor)
    program = engine.traced(jasgd.problems.quadratic(d), rule, jnp.zeros(d), KEY)
    loop, state = engine.loop_of(program, planned), engine.init(program, planned)
    chunk = chunk_arrays(loop, planned, 0)
    text = engine.step.lower(loop, program.numbers, KEY, state, chunk).compile().as_text()
    for array in (f"f32[{n},{d}]", f"s32[{n}]"):
        assert array in text
        assert not re.findall(rf"= {re.escape(array)}\S* copy\(", text)


def test_bytes_of_a_message_are_found_in_the_state():
    """Of all coordinates as one vector, in the widest dtype; float32, behind a chain; 0 for an empty part of a partition."""
    params = {"w": jnp.ones((10, 10), jnp.bfloat16), "b": jnp.ones(24)}
    for compressor in (top_k(5), identity(), scaled_down(bernoulli(0.1))):
        rule = optax.chain(optax.clip(1.0), rules.ef21(0.1, 3, compressor))
        found = optax.tree.get(rule.init(params), "bytes_per_message")
        assert (found.shape, found.dtype) == ((), jnp.float32)
        np.testing.assert_allclose(found, compressor.message_bytes(124, jnp.float32), rtol=1e-6)
        half = optax.tree.get(rule.init({"w": params["w"]}), "bytes_per_message")
        np.testing.assert_allclose(half, compressor.message_bytes(100, jnp.bfloat16), rtol=1e-6)
        assert optax.tree.get(rule.init({}), "bytes_per_message") == 0


# Refusals


@pytest.mark.parametrize("compressor", [rand_k(1), rand_k(2), bernoulli(0.5), qsgd(1)], ids=lambda c: c.name)
def test_unbiased_compressors_that_do_not_contract_are_refused(compressor):
    """Where the number of coordinates is known, by one sentence with the remedy; the remedy works."""
    pattern = re.escape(
        f"EF21 needs a compressor that contracts, but {compressor.name} is unbiased with omega = {compressor.omega(5):g}: "
        f"use jasgd.compressors.scaled_down({compressor.name})."
    )
    for rule in (rules.ef21(0.1, 2, compressor), rules.scale_by_ef21(2, compressor)):
        with pytest.raises(ValueError, match=pattern):
            rule.init(jnp.ones(5))
    rules.ef21(0.1, 2, scaled_down(compressor)).init(jnp.ones(5))


@pytest.mark.parametrize("compressor", [identity(), natural(), rand_k(3), rand_k(5), bernoulli(0.6)], ids=lambda c: c.name)
def test_unbiased_compressors_with_omega_below_one_contract(compressor):
    """E |C(x) - x|^2 <= omega |x|^2 is a contraction with alpha = 1 - omega: they may be used as they are."""
    assert compressor.omega(5) < 1
    rules.ef21(0.1, 2, compressor).init(jnp.ones(5))


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, True, None, "3"])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"^`seed` must be a whole number from 0 to 2\*\*31 - 1, got "):
        rules.ef21(0.1, 2, identity(), seed=seed)


def test_other_refusals():
    """What is no compressor, a compressor that contracts already, and more coordinates than there are."""
    with pytest.raises(ValueError, match=r"`compressor` must be one of jasgd.compressors, such as top_k\(10\), got 10"):
        rules.ef21(0.1, 2, 10)
    with pytest.raises(ValueError, match=r"`compressor` must be unbiased, but top_k\(3\) is contractive: use it as it is"):
        scaled_down(top_k(3))
    with pytest.raises(ValueError, match="`k` must not exceed the number of coordinates 5, got 9"):
        rules.ef21(0.1, 2, top_k(9)).init(jnp.ones(5))
