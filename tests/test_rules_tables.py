"""Rules that keep the latest gradient of every worker: identities, exact limits, bias, and examples worked by hand.

``D`` numbers the claims about DuDe. ``n`` is the number of workers, ``G`` the table, ``t`` the server step. Everything is in
double precision, so most claims hold to about 1e-12.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_rules_momentum import (
    NOISE,
    buffered,
    by_hand,
    close,
    counting,
    fractions,
    gathered,
    heavy_tailed,
    noisy,
    one_worker,
    play,
    scripted,
    table,
)

import jasgd
from jasgd import rules
from jasgd.protocols import asynchronous

KEY = jax.random.key(3)
TIMES = np.array([1.0, 1.3, 2.1, 3.7, 6.1, 9.7])


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def random_orders(n, updates, seed=0):
    """Fresh gradients of uniformly drawn workers."""
    return table(np.random.default_rng(seed).integers(n, size=updates), np.arange(updates), n)


def random_rounds(n, count, seed=0):
    """Rounds in which a random set of workers delivers, all at the current version."""
    rng = np.random.default_rng(seed)
    sets = [rng.permutation(n)[: rng.integers(1, n)] for _ in range(count)]
    sizes = [len(chosen) for chosen in sets]
    apply = np.zeros(sum(sizes), bool)
    apply[np.cumsum(sizes) - 1] = True
    return table(np.concatenate(sets), np.repeat(np.arange(count), sizes), n, apply)


def steps(rule, schedule):
    """What a rule makes of given gradients, the rows of NOISE, at every server step."""
    return np.diff(play(rule, schedule, scripted, np.zeros(3), NOISE[: len(schedule)]).points, axis=0)


# DuDe


MEANS = {
    "dude": (rules.scale_by_dude, "gradient_table", "table_mean"),
    "saga": (rules.scale_by_saga, "saga_table", "saga_mean"),
    "fedvarp": (rules.scale_by_fedvarp, "varp_table", "varp_mean"),
    "ca2fl": (rules.scale_by_ca2fl, "cache", "cache_mean"),
    "dana_zero": (lambda n: rules.scale_by_dana_zero(0.9, n, learning_rate=0.1), "zero_velocity", "mean_velocity"),
}


@pytest.mark.parametrize("name", MEANS)
def test_d1_incremental_means_are_means(name):
    """D1: after every arrival the mean that is kept is the mean of the table."""
    make, entries, mean = MEANS[name]
    states = play(make(5), heavy_tailed(), scripted, np.zeros(3), NOISE[:400]).states
    close(getattr(states, mean), getattr(states, entries).mean(axis=1), rtol=1e-14)


def test_d1_the_table_holds_the_latest_gradient_of_every_worker():
    """D1: of workers that have delivered; the others have zero."""
    schedule = heavy_tailed()
    entries = play(rules.scale_by_dude(5), schedule, scripted, np.zeros(3), NOISE[:400]).states.gradient_table
    expected = np.zeros((5, 3))
    for t, worker in enumerate(schedule.worker):
        expected[worker] = NOISE[t]
        np.testing.assert_array_equal(entries[t], expected)


def test_d1_rounding_errors_do_not_grow_in_single_precision():
    """D1: in 20 000 float32 updates the mean stays within the rounding of n additions; one never taken anew does not."""
    n, count = 8, 20_000
    schedule = heavy_tailed(n, count)
    script = (100 + np.random.default_rng(0).normal(size=(count, 1))).astype(np.float32)
    states = play(rules.scale_by_dude(n), schedule, scripted, np.zeros(1, np.float32), script).states
    assert states.table_mean.dtype == np.float32
    drift = np.abs(states.table_mean - states.gradient_table.mean(axis=1, dtype=np.float64)).max(axis=1)
    one_addition = 0.5 * np.spacing(np.float32(100.0))
    full = np.argmax(np.all(states.gradient_table != 0, axis=(1, 2)))  # from here on differences are of order 1
    assert drift[full + n :].max() <= (n + 1) * one_addition
    entries, mean = np.zeros(n, np.float32), np.float32(0)
    for worker, g in zip(schedule.worker, script[:, 0], strict=True):
        mean += (g - entries[worker]) / np.float32(n)
        entries[worker] = g
    assert abs(mean - entries.mean(dtype=np.float64)) > (n + 1) * one_addition


def test_d2_waiting_for_everybody_is_synchronous_sgd():
    """D2: c = n, simulated, is SGD on the mean gradient from the first step on, on the same samples."""
    problem, schedule = jasgd.problems.quadratic(5, noise=0.3), jasgd.protocols.minibatch(jasgd.fleet.power_law(4, 1.0), 50)
    separate = dataclasses.replace(schedule, weight=np.ones(len(schedule)))
    run = jasgd.simulate(problem, rules.semi_asynchronous_dude(0.3, 4), separate, key=KEY, lanes=4)
    close(run.params, jasgd.simulate(problem, optax.sgd(0.3), schedule, key=KEY, lanes=4).params)


@pytest.mark.parametrize("rule", [rules.semi_asynchronous_dude, rules.mifa, rules.fedvarp, rules.ca2fl])
def test_d2_full_rounds_are_means(rule):
    """D2: with one gradient of every worker per step, DuDe, MIFA, FedVARP and CA2FL are all SGD on the mean."""
    schedule = gathered(jasgd.fleet.fixed([1.0, 4.0, 2.0, 3.0, 5.0]), 60, 5)
    w = np.zeros(3)
    points = [w]
    for r in range(60):
        w = w - 0.2 * np.mean([noisy(w, {"index": 5 * r + i}) for i in range(5)], axis=0)
        points.append(w)
    close(play(rule(0.2, 5), schedule, noisy, np.zeros(3)).points, points)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_semi_asynchronous_dude_divides_by_n_not_by_c(size):
    """G <- G + mask (g - G), mean <- mean + sum of mask (g - G) / n, w <- w - eta mean, once per c deliveries."""
    schedule = gathered(jasgd.fleet.power_law(5, 0.7), 80, size)
    entries = np.random.default_rng(0).normal(size=(5, 3))
    run = play(rules.semi_asynchronous_dude(0.2, 5, table=entries), schedule, noisy, np.zeros(3))
    g, mean, points = entries.copy(), entries.mean(axis=0), np.zeros((81, 3))
    for k, worker in enumerate(schedule.worker):
        new = np.asarray(noisy(points[schedule.read[k]], {"index": k}))
        mean, g[worker] = mean + (new - g[worker]) / 5, new
        if schedule.apply[k]:
            points[schedule.version[k] + 1] = points[schedule.version[k]] - 0.2 * mean
    close(run.points, points)
    if size == 1:
        close(play(rules.dude(0.2, 5, table=entries), schedule, noisy, np.zeros(3)).points, points)


@pytest.mark.parametrize("order", ["random", "cyclic"])
def test_d3_fresh_gradients_are_sag(order):
    """D3: at delay 0, whoever's turn it is, DuDe is SAG; in cyclic order IAG."""
    schedule = random_orders(5, 300) if order == "random" else table(np.arange(300) % 5, np.arange(300), 5)
    w, entries = np.zeros(3), np.zeros((5, 3))
    points = [w]
    for t, worker in enumerate(schedule.worker):
        entries[worker] = noisy(w, {"index": t})
        w = w - 0.2 * entries.mean(axis=0)
        points.append(w)
    close(play(rules.dude(0.2, 5, start="zero"), schedule, noisy, np.zeros(3)).points, points)


def test_one_worker_is_sgd():
    """With n = 1."""
    run = play(rules.dude(0.2, 1), one_worker(100), noisy, np.zeros(3))
    close(run.points, play(optax.sgd(0.2), one_worker(100), noisy, np.zeros(3)).points, rtol=1e-14)


@pytest.mark.parametrize("start", ["wait", "zero"])
def test_until_everybody_has_delivered(start):
    """DuDe waits, or takes missing entries for zero."""
    schedule = heavy_tailed()
    full = int(max(np.argmax(schedule.worker == i) for i in range(5)))
    moved = steps(rules.scale_by_dude(5, start=start), schedule)
    assert full > 5
    if start == "wait":
        np.testing.assert_array_equal(moved[:full], 0)
        assert (moved[full] != 0).all()
    else:
        close(moved[0], NOISE[0] / 5)


# Where heterogeneous workers lead


@functools.cache
def unlike(n=6, dim=8, spread=3.0, seed=0):
    """F_i = (x - c_i)' A_i (x - c_i) / 2, with eigenvalues 0.2 to 1 and far apart centres: all A_i, all c_i."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(n, dim, dim)))[0]
    matrices = np.einsum("nij,j,nkj->nik", basis, np.linspace(0.2, 1, dim), basis)
    return matrices, rng.normal(size=dim) + spread * rng.normal(size=(n, dim))


def own_gradient(x, row):
    matrices, centres = map(jnp.asarray, unlike())
    return matrices[row["worker"]] @ (x - centres[row["worker"]])


def minimum(weights):
    """Of the weighted sum of the F_i."""
    matrices, centres = unlike()
    return np.linalg.solve(np.einsum("n,nij->ij", weights, matrices), np.einsum("n,nij,nj->i", weights, matrices, centres))


@functools.cache
def ten_times():
    """Speeds that differ by a factor of ten."""
    return asynchronous(jasgd.fleet.fixed(TIMES), 20_000)


def test_d4_dude_reaches_the_minimum_of_the_mean():
    """D4: without noise, simulated: x* of the uniform objective, although the fast workers deliver ten times as often."""
    matrices, centres = map(jnp.asarray, unlike())
    problem = jasgd.Problem(
        init=lambda key: jnp.ones(8),
        loss=lambda x, worker: 0.5 * (x - centres[worker]) @ matrices[worker] @ (x - centres[worker]),
        sample=lambda key, worker: worker,
        metrics=lambda x: {"loss": jnp.sum(x), "grad_norm": jnp.sum(x)},
    )
    run = jasgd.simulate(problem, rules.dude(0.03, 6), ten_times(), key=KEY, lanes=1)
    assert np.abs(run.params - minimum(np.ones(6) / 6)).max() < 1e-9


def test_d5_asgd_goes_where_frequent_workers_pull():
    """D5: on the same schedule ASGD hovers at x_p, p_i ~ 1 / h_i, to O(eta), and stays away from x*."""
    p = 1 / TIMES / np.sum(1 / TIMES)
    arrivals = np.bincount(ten_times().worker) / 20_000
    np.testing.assert_allclose(arrivals, p, atol=1e-3)
    to_p, to_best = [], []
    for eta in (0.02, 0.005):
        points = play(optax.sgd(eta), ten_times(), own_gradient, np.ones(8)).points
        mean = points[len(points) // 2 :].mean(axis=0)
        to_p.append(np.abs(mean - minimum(p)).max())
        to_best.append(np.abs(mean - minimum(np.ones(6) / 6)).max())
    assert min(to_best) > 0.5
    assert to_p[0] < 0.02
    assert 3 < to_p[0] / to_p[1] < 5  # a quarter of the step, a quarter of the distance
    np.testing.assert_allclose(to_best[1], to_best[0], rtol=0.05)


def own_gradients(x):
    """Of all workers."""
    return np.stack([own_gradient(x, {"worker": i}) for i in range(6)])


def test_a_common_first_round_is_the_bootstrap():
    """While DuDe waits for all: the table is filled at w^0, one step leads to w^1, and all start there, max h_i later."""
    fleet = jasgd.fleet.power_law(6, 0.7)
    later, whole = asynchronous(fleet, 300), asynchronous(fleet, 306, first_round="together")
    np.testing.assert_array_equal(whole.worker[6:], later.worker)
    np.testing.assert_array_equal(whole.read[6:], later.read + 6)
    close(whole.time[6:], later.time + fleet.times.max())
    start, entries = np.ones(8), own_gradients(np.ones(8))
    boot = play(rules.dude(0.03, 6, table=entries), later, own_gradient, start - 0.03 * entries.mean(axis=0))
    points = play(rules.dude(0.03, 6), whole, own_gradient, start).points
    np.testing.assert_array_equal(points[:6], np.tile(start, (6, 1)))
    close(points[6:], boot.points)


@pytest.mark.parametrize("seed", [5, 9])
def test_d6_the_minimum_is_a_fixed_point(seed):
    """D6: from x* with the table filled there, nothing moves on any schedule, though no worker's gradient is zero."""
    best = minimum(np.ones(6) / 6)
    entries = own_gradients(best)
    assert np.abs(entries).max(axis=1).min() > 0.1
    run = play(rules.dude(0.03, 6, table=entries), heavy_tailed(6, 2000, seed), own_gradient, best)
    assert np.abs(run.points - best).max() < 1e-13


def test_bound_on_the_gradient_norm():
    """The average of ||grad F||^2 is at most 2 gap / (eta T) + 5.4 L eta m sigma^2 / n, m the largest age in use."""
    n, dim, updates, seeds, sigma, times = 6, 8, 1500, 10, 2.0, np.arange(1.0, 7.0)
    matrices, centres = unlike()  # L = 1
    mean_matrix, best = matrices.mean(axis=0), minimum(np.ones(n) / n)
    schedule = asynchronous(jasgd.fleet.fixed(times), updates)
    tau = dual_delays(schedule)[0].max()
    m = max(1, tau - 1)
    assert m == 28
    gap = 0.5 * (np.ones(dim) - best) @ mean_matrix @ (np.ones(dim) - best)
    eta = min(1 / (5 * m), 0.5 * np.sqrt(n * gap / (tau * updates)))
    rng = np.random.default_rng(0)
    noise = sigma / np.sqrt(dim) * rng.normal(size=(updates + n, seeds, dim))
    first = np.einsum("nij,nj->ni", matrices, 1 - centres)[:, None] + noise[updates:]
    a, c = jnp.asarray(matrices), jnp.asarray(centres)

    def gradient(x, row):
        centre = jnp.broadcast_to(c[row["worker"]], x.shape)
        return (x - centre) @ a[row["worker"]] + row["script"]

    start = np.ones((seeds, dim)) - eta * first.mean(axis=0)
    run = play(rules.dude(eta, n, table=first), schedule, gradient, start, noise[:updates])
    points = np.concatenate([np.ones((1, seeds, dim)), run.points[:-1]])
    squares = np.sum(((points - best) @ mean_matrix) ** 2, axis=-1)
    assert squares.mean() <= 2 * gap / (eta * updates) + 5.4 * eta * m * sigma**2 / n


# Dual delays


def dual_delays(schedule):
    """Ages of the points (tau) and of the samples (rho) in the table after every arrival, counted from 1 and 0; (K, n)."""
    tau, rho = np.ones(schedule.num_workers, int), np.zeros(schedule.num_workers, int)
    rows = []
    for worker, delay in zip(schedule.worker, schedule.delay, strict=True):
        tau, rho = tau + 1, rho + 1
        tau[worker], rho[worker] = delay + 1, 0
        rows.append((tau, rho))
    return np.swapaxes(rows, 0, 1)


def test_dual_delays_of_the_table():
    """Gradients that name their version, or their arrival, show the ages of what DuDe has in its table."""
    schedule, t = heavy_tailed(), np.arange(400)[:, None]
    rule = rules.dude(1.0, 5, table=np.full(5, -1.0))  # the bootstrap's, one version before the first
    read = optax.tree.get(play(rule, schedule, scripted, 0.0, schedule.read).states, "gradient_table")
    used = optax.tree.get(play(rule, schedule, scripted, 0.0, t[:, 0]).states, "gradient_table")
    tau, rho = dual_delays(schedule)
    np.testing.assert_array_equal(t - read + 1, tau)
    np.testing.assert_array_equal(t - used, rho)


def test_d7_points_are_older_than_samples():
    """D7: tau_i - rho_i is 1 plus the delay of i's last delivery, constant between its arrivals, and so at least 1."""
    schedule = heavy_tailed()
    tau, rho = dual_delays(schedule)
    last = np.zeros(5, int)
    for t, worker in enumerate(schedule.worker):
        last[worker] = schedule.delay[t]
        np.testing.assert_array_equal(tau[t] - rho[t], 1 + last)
    assert (tau >= rho + 1).all()


def test_d7_fresh_gradients_have_one_delay():
    """D7: with SAG's fresh gradients tau = rho + 1."""
    tau, rho = dual_delays(random_orders(5, 300))
    np.testing.assert_array_equal(tau, rho + 1)


@pytest.mark.parametrize("n", [1, 2, 6])
def test_d8_ages_at_equal_speeds(n):
    """D8: past the transient the entries have ages n - 1, ..., 2n - 2, one each: mean 1.5 (n - 1)."""
    tau, _ = dual_delays(asynchronous(jasgd.fleet.equal(n), 20 * n))
    np.testing.assert_array_equal(np.sort(tau[2 * n :] - 1, axis=1), np.tile(np.arange(n - 1, 2 * n - 1), (18 * n, 1)))


def test_ages_at_fixed_speeds():
    """Entries of worker i get about 2 sum over j of h_i / h_j versions old; for 1, ..., 6 seconds 5, 9, 14, 18, 24, 28."""
    times = np.arange(1.0, 7.0)
    tau, _ = dual_delays(asynchronous(jasgd.fleet.fixed(times), 3000))
    oldest = tau.max(axis=0) - 1
    assert oldest.tolist() == [5, 9, 14, 18, 24, 28]
    np.testing.assert_allclose(oldest, 2 * (times * np.sum(1 / times) - 1), atol=2.2)


# Relatives


def test_aced_without_a_limit_is_ace():
    """Once all workers were seen; with a table from the start, always."""
    schedule, entries = heavy_tailed(), np.random.default_rng(0).normal(size=(5, 3))
    full = int(max(np.argmax(schedule.worker == i) for i in range(5)))
    close(steps(rules.scale_by_aced(5, np.inf), schedule)[full:], steps(rules.scale_by_dude(5), schedule)[full:])
    close(
        steps(rules.scale_by_aced(5, np.inf, table=entries), schedule),
        steps(rules.scale_by_dude(5, table=entries), schedule),
    )


@pytest.mark.parametrize("max_age", [0, 3, 20])
def test_aced_against_numpy(max_age):
    """The mean over entries whose version is at most so old; none: no step."""
    schedule = heavy_tailed()
    entries, read, expected = np.zeros((5, 3)), np.full(5, -np.inf), []
    for t, worker in enumerate(schedule.worker):
        entries[worker], read[worker] = NOISE[t], schedule.read[t]
        active = t - read <= max_age
        expected.append(entries[active].mean(axis=0) if active.any() else np.zeros(3))
    moved = steps(rules.scale_by_aced(5, max_age), schedule)
    close(moved, expected)
    if max_age < 20:
        assert (np.abs(moved).max(axis=1) == 0).any()


def test_saga_against_numpy():
    """The direction g - G_i + mean(G), with the table before the arrival."""
    schedule, first = heavy_tailed(), np.random.default_rng(0).normal(size=(5, 3))
    entries, points = first.copy(), np.zeros((401, 3))
    for t, worker in enumerate(schedule.worker):
        g = np.asarray(noisy(points[schedule.read[t]], {"index": t}))
        points[t + 1] = points[t] - 0.05 * (g - entries[worker] + entries.mean(axis=0))
        entries[worker] = g
    close(play(rules.saga(0.05, 5, table=first), schedule, noisy, np.zeros(3)).points, points)


def test_saga_is_unbiased_over_uniform_workers():
    """The mean of its direction over all workers is the mean of their gradients, whatever is in the table."""
    rng = np.random.default_rng(0)
    entries, gradients = rng.normal(size=(2, 5, 3))
    rule = rules.scale_by_saga(5, table=entries)
    state = rule.init(jnp.zeros(3))
    directions = jax.jit(jax.vmap(lambda g, i: rule.update(g, state, worker=i)[0]))(gradients, np.arange(5))
    close(directions.mean(axis=0), gradients.mean(axis=0))


def test_mifa_waits_for_every_device():
    """No step until all devices were seen; then the mean of all latest updates, once per round."""
    schedule = random_rounds(5, 40)
    entries, seen, expected = np.zeros((5, 3)), set(), []
    for k, worker in enumerate(schedule.worker):
        entries[worker] = NOISE[k]
        seen.add(int(worker))
        if schedule.apply[k]:
            expected.append(-0.1 * entries.mean(axis=0) if len(seen) == 5 else np.zeros(3))
    assert not expected[0].any()
    close(steps(rules.mifa(0.1, 5), schedule), expected)


def test_mifa_counts_rounds():
    """The learning rate decays with the round, not with the gradient; a zero table does not wait."""
    schedule = random_rounds(5, 40)
    entries, expected = np.zeros((5, 3)), []
    for k, worker in enumerate(schedule.worker):
        entries[worker] = NOISE[k]
        if schedule.apply[k]:
            expected.append(-entries.mean(axis=0) / (1 + len(expected)))
    close(steps(rules.mifa(lambda r: 1.0 / (1.0 + r), 5, start="zero"), schedule), expected)


def test_fedvarp_against_numpy():
    """Mean over S of (D_i - y_i) plus the mean of all y, both before the round; the first is over S, not over n."""
    schedule = random_rounds(5, 60)
    ends = np.flatnonzero(schedule.apply) + 1
    y, points = np.zeros((5, 3)), np.zeros((61, 3))
    for r, (first, end) in enumerate(zip(np.append(0, ends), ends, strict=False)):
        chosen = schedule.worker[first:end]
        arrived = np.array([noisy(points[r], {"index": k}) for k in range(first, end)])
        points[r + 1] = points[r] - 0.1 * ((arrived - y[chosen]).mean(axis=0) + y.mean(axis=0))
        y[chosen] = arrived
    close(play(rules.fedvarp(0.1, 5), schedule, noisy, np.zeros(3)).points, points)


def test_ca2fl_against_numpy():
    """Mean h plus mean over the buffer of (D_i - h_i); caches change at the flush, also where a worker delivers twice."""
    size = 4
    schedule = buffered(heavy_tailed(), size)
    h, points, twice = np.zeros((5, 3)), np.zeros((101, 3)), 0
    for r in range(100):
        mine = slice(size * r, size * (r + 1))
        workers = schedule.worker[mine]
        arrived = [np.asarray(noisy(points[schedule.read[k]], {"index": k})) for k in range(size * r, size * (r + 1))]
        points[r + 1] = points[r] - 0.02 * (h.mean(axis=0) + np.mean(arrived - h[workers], axis=0))
        for worker, update in zip(workers, arrived, strict=True):
            h[worker] = update
        twice += len(set(workers.tolist())) < size
    assert twice > 20
    close(play(rules.ca2fl(0.02, 5), schedule, noisy, np.zeros(3)).points, points)


TABLES = {
    "dude": rules.dude(0.1, 4),
    "semi-asynchronous dude": rules.semi_asynchronous_dude(0.1, 4),
    "aced": rules.aced(0.1, 4, max_age=1000),
    "saga": rules.saga(0.1, 4),
    "fedvarp": rules.fedvarp(0.1, 4),
    "ca2fl": rules.ca2fl(0.1, 4),
    "worker_momentum": rules.worker_momentum(0.1, 0.9, 4),
    "dana_zero": rules.dana_zero(0.1, 0.9, 4),
    "dana_slim": rules.dana_slim(0.1, 0.9, 4),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("stranger", range(6))
def test_a_worker_outside_the_table_gives_nan(name, stranger):
    """Once, after any number of others, worker 4 of a table for four delivers."""
    workers = np.arange(12) % 4
    workers[stranger] = 4
    run = play(TABLES[name], table(workers, np.arange(12), 5), scripted, np.zeros(3), NOISE[:12])
    assert np.isnan(run.points[-1]).all()


# Worked by hand: two workers of 1 and 2.6 seconds, gradients 1, 2, 3, ...


def test_golden_dude():
    """From the table (2, -4), mean -1, and the point 1 that its first round led to, with step 1."""
    run = play(rules.dude(1.0, 2, table=np.array([2.0, -4.0])), by_hand(), counting, 1.0)
    close(run.points[1:], fractions("5/2 7/2 1 -5/2 -13/2 -11 -35/2 -25"), rtol=1e-14)
    means = optax.tree.get(run.states, "table_mean")
    close(means, fractions("-3/2 -1 5/2 7/2 4 9/2 13/2 15/2"), rtol=1e-14)


def test_golden_dual_delays():
    """(tau_0, tau_1) and (rho_0, rho_1) after each arrival."""
    tau, rho = dual_delays(by_hand())
    assert tau.tolist() == [[1, 2], [1, 3], [2, 3], [2, 4], [1, 5], [1, 6], [2, 4], [2, 5]]
    assert rho.tolist() == [[0, 1], [0, 2], [1, 0], [0, 1], [0, 2], [0, 3], [1, 0], [0, 1]]


def test_golden_ca2fl():
    """Buffers of two, step 1; the first holds two gradients of one worker."""
    run = play(rules.ca2fl(1.0, 2), buffered(by_hand(), 2), counting)
    close(np.repeat(run.points, 2)[1:-1], fractions("0 -3/2 -3/2 -5 -5 -10 -10 -35/2"), rtol=1e-14)
