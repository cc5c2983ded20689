"""Momentum rules: identities, exact limits, examples worked by hand, and the largest steps that they bear.

``A``, ``C`` and ``D`` number the claims. ``t`` is the server step, ``K`` the number of workers; a gradient that was read at
version i belongs to group ceil(i / K). Everything is in double precision, so most claims hold to about 1e-12.
"""

import dataclasses
import functools
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.flatten_util import ravel_pytree

import jasgd
from jasgd import rules
from jasgd.protocols import asynchronous
from jasgd.rules.ormo import ScaleByOrMoState

KEY = jax.random.key(3)
BETA = 0.9
SPECTRUM = np.array([0.2, 0.6, 1.0])
NOISE = np.random.default_rng(1).normal(size=(6000, 3))
sgd = functools.cache(optax.sgd)  # one rule, so that it is compiled once


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


class Played(NamedTuple):
    """What a rule did along a schedule of K rows and U server steps."""

    points: np.ndarray  # (U + 1, *shape), all versions
    sent: np.ndarray  # (U + 1, *shape), where workers compute
    gradients: np.ndarray  # (K, *shape)
    states: Any  # of the rule after every row, leaves (K, ...)


def play(rule, schedule, gradient, start=0.0, script=None, bits=False):
    """Drive a rule row by row, without the simulator.

    The gradient is ``gradient(point, row)``; ``row["index"]`` counts rows, ``row["script"]`` is the row's entry of a script.
    With ``bits`` it is compiled as for users.
    """
    rows = {name: getattr(schedule, name) for name in ("worker", "read", "delay", "apply")}
    rows |= {"step": schedule.version, "index": np.arange(len(schedule))}
    if script is not None:
        rows["script"] = np.asarray(script)
    program = _as_users if bits else _quick
    run = program(rule, gradient, schedule.updates, rows, jnp.asarray(start))
    return jax.tree.map(np.asarray, run)


def _play(rule, gradient, updates, rows, start):
    rule = optax.with_extra_args_support(rule)

    def one(carry, row):
        now, points, sent, state = carry
        stale = sent[row["read"]]
        g = jnp.asarray(gradient(stale, row), now.dtype)
        offered = {name: row[name] for name in ("worker", "delay", "step", "apply")}
        updates, state = rule.update(g, state, now, **offered, stale_params=stale)
        now, version = optax.apply_updates(now, updates), row["step"] + row["apply"]
        points, sent = points.at[version].set(now), sent.at[version].set(rules.sent_params(state, now))
        return (now, points, sent, state), (g, state)

    state = rule.init(start)
    points = jnp.zeros((updates + 1, *start.shape), start.dtype)
    sent = points.at[0].set(rules.sent_params(state, start))
    carry, (gradients, states) = jax.lax.scan(one, (start, points.at[0].set(start), sent, state), rows)
    return Played(carry[1], carry[2], gradients, states)


_quick, _as_users = (jit(_play, static_argnums=(0, 1, 2)) for jit in (quick.jit, jax.jit))


def noisy(x, row):
    """Gradient of a quadratic with minimum (1, 1, 1), and noise that depends on the row alone."""
    return SPECTRUM * (x - 1.0) + jnp.asarray(NOISE)[row["index"]]


def scripted(x, row):
    """Gradients of a script, wherever they are computed."""
    return row["script"]


def counting(x, row):
    """Gradient 1, 2, 3, ..., wherever it is computed."""
    return row["index"] + 1.0


def table(worker, read, num_workers, apply=None):
    """A schedule from its workers, the versions that they read, and the rows with which the server steps: all of them."""
    rows = np.arange(len(read))
    return jasgd.Schedule(
        worker=worker,
        job=rows,
        read=read,
        start=read,
        time=rows + 1.0,
        weight=np.ones(len(read)),
        apply=np.ones(len(read), bool) if apply is None else apply,
        num_workers=num_workers,
        clock="steps",
        parallel=True,
    ).verify()


def buffered(schedule, size):
    """The same deliveries, with a server step after every ``size`` of them."""
    last = np.arange(len(schedule)) % size == size - 1
    return dataclasses.replace(schedule, read=schedule.read // size, apply=last, ledger=None, jobs_in_flight=None).verify()


def gathered(fleet, updates, size):
    """Semi-asynchronous: a server step with every ``size`` gradients, after which their workers start again."""
    return buffered(asynchronous(fleet, updates * size, wait_for=size), size)


@functools.cache
def heavy_tailed(workers=5, updates=400, seed=5):
    """Log-normal base speeds, sigma 1.2, and log-normal jobs."""
    base = np.random.default_rng(seed).normal(0.0, 1.2, workers)
    return asynchronous(jasgd.fleet.lognormal(base, 0.5), updates, seed=seed)


def one_worker(updates):
    """Every gradient is fresh."""
    return asynchronous(jasgd.fleet.equal(1), updates)


def equal_speeds(workers, updates):
    return asynchronous(jasgd.fleet.equal(workers), updates)


def group(version, workers):
    """ceil(version / K), exactly."""
    return -(-np.asarray(version) // workers)


def lateness(schedule):
    """p: groups that a gradient is late."""
    return group(schedule.version, schedule.num_workers) - group(schedule.read, schedule.num_workers)


def close(actual, expected, rtol=1e-12):
    """Equal up to ``rtol`` times the largest number that occurs."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * max(1.0, np.abs(expected).max()))


def fractions(text):
    return np.array([float(Fraction(number)) for number in text.split()])


# Facts about schedules


def ages_in_flight(schedule):
    """Sum of T - (version read) over the jobs under way at the end; every worker has one."""
    read = np.zeros(schedule.num_workers, int)
    read[schedule.worker] = schedule.version + 1  # the last assignment to an index stays
    return int((schedule.updates - read).sum())


@settings(max_examples=50, deadline=None)
@given(times=st.lists(st.floats(0.1, 20.0), min_size=1, max_size=7), updates=st.integers(1, 100))
def test_a0_every_step_ages_all_other_jobs_by_one(times, updates):
    """A0: delays of what arrived, plus ages of what is in flight, are T (K - 1), for every horizon T."""
    schedule = asynchronous(jasgd.fleet.fixed(times), updates)
    assert schedule.delay.sum() + ages_in_flight(schedule) == updates * (len(times) - 1)
    assert ages_in_flight(schedule) == (updates - schedule.ledger.pending_read).sum()


@settings(max_examples=50, deadline=None)
@given(times=st.lists(st.floats(0.1, 20.0), min_size=1, max_size=7), updates=st.integers(1, 60), data=st.data())
def test_a0c_gathering_c_gradients_ages_n_minus_c_jobs(times, updates, data):
    """A0c: with c deliveries per step the same two sums are T (n - c)."""
    n = len(times)
    c = data.draw(st.integers(1, n))
    schedule = gathered(jasgd.fleet.fixed(times), updates, c)
    assert schedule.delay.sum() + ages_in_flight(schedule) == updates * (n - c)


def test_a0_does_not_hold_where_workers_wait():
    """A0, control: under a barrier, waiting workers hold no job."""
    schedule = asynchronous(jasgd.fleet.fixed([1.0, 2.0, 5.0]), 90, wait_for=3)
    assert schedule.delay.sum() < 90 * 2


@settings(max_examples=50, deadline=None)
@given(times=st.lists(st.floats(0.1, 20.0), min_size=1, max_size=7), updates=st.integers(1, 200))
def test_a0m_more_than_half_of_all_delays_are_at_most_2k(times, updates):
    """A0m: the mean delay is at most K - 1, and so OrMo-DA's threshold 2K spares more than half of all gradients."""
    schedule = asynchronous(jasgd.fleet.fixed(times), updates)
    assert schedule.delay.mean() <= len(times) - 1
    assert np.mean(schedule.delay <= 2 * len(times)) > 0.5


@pytest.mark.parametrize("workers", [1, 2, 5, 16])
def test_a0e_equal_speeds_have_one_delay(workers):
    """A0e: tau = t for t < K, then K - 1 for ever; workers take turns."""
    schedule = equal_speeds(workers, 200)
    t = np.arange(200)
    np.testing.assert_array_equal(schedule.delay, np.minimum(t, workers - 1))
    np.testing.assert_array_equal(schedule.worker, t % workers)


def test_a0f_mean_delay_of_fixed_speeds():
    """A0f: in its h_i seconds, worker j delivers h_i / h_j times; a worker that is 20 times slower has delay 20 (K - 1)."""
    times = np.array([1.0, 1.37, 2.31, 20.0])
    schedule = asynchronous(jasgd.fleet.fixed(times), 60_000)
    counts, total = np.bincount(schedule.worker), np.bincount(schedule.worker, schedule.delay)
    # The jobs of a worker tile the time up to its last delivery, so each other worker is miscounted by at most one.
    assert (np.abs(total - counts * (times * np.sum(1 / times) - 1)) <= 3).all()
    slow = asynchronous(jasgd.fleet.two_speed(4, slow=1, slowdown=20.0), 6000)
    assert set(slow.delay[slow.worker == 3][1:]) == {60}


def test_consecutive_arrivals_of_distinct_workers_can_be_computed_together():
    """A run of distinct workers that starts at t reads nothing newer than t."""
    schedule = heavy_tailed()
    for t in range(len(schedule) - 5):
        workers = schedule.worker[t : t + 6].tolist()  # of five workers one comes again
        run = next(m for m in range(6) if workers[m] in workers[:m])
        assert (schedule.read[t : t + run] <= t).all()


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_equal_speed_pattern_of_p(workers):
    """With equal speeds p is 0 if K divides t, else 1; the momentum of the rule weighs each gradient by beta^p."""
    schedule = equal_speeds(workers, 10 * workers)
    t = np.arange(len(schedule))
    np.testing.assert_array_equal(lateness(schedule), (t % workers != 0).astype(int))
    rule = rules.scale_by_ormo(0.5, workers)

    @quick.jit
    @jax.vmap
    def weight(step, delay):
        _, state = rule.update(jnp.ones(()), rule.init(jnp.ones(())), step=step, delay=delay)
        return state.ordered_momentum

    np.testing.assert_array_equal(weight(t, schedule.delay), np.where(t % workers, 0.5, 1.0))


# OrMo


ORMO = rules.ormo(0.02, BETA, 5)


def ormo_case(name):
    """A rule for :func:`heavy_tailed`, and the learning rate that each gradient must get."""
    eta, k, count, tau = 0.02, 5, np.arange(400), heavy_tailed().delay
    ones = np.ones(400)
    if name == "constant":
        return ORMO, eta * ones
    if name == "drops":
        return rules.ormo(optax.piecewise_constant_schedule(eta, {150: 0.1}), BETA, k), eta * np.where(count >= 150, 0.1, 1)
    if name == "varies":
        return rules.ormo(lambda count: eta / (1 + count % 7), BETA, k), eta / (1 + count % 7)
    if name == "delay-adaptive":
        return rules.ormo_da(eta, BETA, k), eta * np.minimum(1, 2 * k / np.maximum(tau, 1))
    kappa = 0.25 if name == "smoothness known" else 0.25 * (1 - BETA)
    capped = np.minimum(eta, kappa / (0.9 * np.maximum(tau, 1)))
    return rules.ormo_da(eta, BETA, k, smoothness=0.9, kappa=kappa), np.where(tau > 2 * k, capped, eta)


ORMO_CASES = ["constant", "drops", "varies", "delay-adaptive", "smoothness known", "smaller kappa"]


@functools.cache
def ormo_run(name):
    """Points, momentum u, learning rates times gradients."""
    rule, eta = ormo_case(name)
    run = play(rule, heavy_tailed(), noisy, np.zeros(3))
    return run.points, -optax.tree.get(run.states, "ordered_momentum"), eta[:, None] * run.gradients


def test_the_random_schedule_has_what_it_takes():
    """Some gradients are beyond OrMo-DA's threshold, where all its forms of step differ, and several groups late."""
    delay = heavy_tailed().delay
    assert delay.max() > 30
    assert np.count_nonzero(delay > 10) > 20
    assert len(set(lateness(heavy_tailed()).tolist())) > 4
    etas = [ormo_case(name)[1] for name in ORMO_CASES]
    assert all(np.abs(a - b).max() > 1e-4 for i, a in enumerate(etas) for b in etas[:i])


@pytest.mark.parametrize("name", ORMO_CASES)
def test_a1_closed_form_of_u(name):
    """A1: u_t = sum over arrivals of beta^(I - ceil(read / K)) eta_j g_j, at every t."""
    _, u, steps = ormo_run(name)
    t, read = np.arange(400), heavy_tailed().read
    power = group(t, 5)[:, None] - group(read, 5)[None, :]
    weight = np.where(t[None, :] <= t[:, None], BETA ** np.maximum(power, 0), 0.0)
    close(u, weight @ steps)


@pytest.mark.parametrize("name", ORMO_CASES)
def test_a2_closed_form_of_w(name):
    """A2: w_t = w_0 - (sum of eta_j g_j - beta u_t) / (1 - beta), at every t."""
    points, u, steps = ormo_run(name)
    close(points[1:], points[0] - (np.cumsum(steps, axis=0) - BETA * u) / (1 - BETA))


@pytest.mark.parametrize("policy", [{"max_delay": 6}, {"wait_for": 3}, {"dispatch": "before"}, {"assignment": "random"}])
def test_a1_and_a2_hold_on_any_schedule(policy):
    """A1, A2: also where gradients are dropped, or workers wait and get the same version, so that groups differ in size."""
    schedule = asynchronous(jasgd.fleet.power_law(5, 1.0), 400, **policy)
    run = play(ORMO, schedule, noisy, np.zeros(3))
    u, steps = -optax.tree.get(run.states, "ordered_momentum"), 0.02 * run.gradients
    assert (lateness(schedule) >= 0).all()
    close(u[-1], BETA ** (group(399, 5) - group(schedule.read, 5)) @ steps)
    close(run.points[1:], -(np.cumsum(steps, axis=0) - BETA * u) / (1 - BETA))


def test_a2_hidden_asgd():
    """A2: w - beta / (1 - beta) u is plain ASGD with the step eta / (1 - beta) on the same gradients."""
    points, u, steps = ormo_run("constant")
    plain = play(sgd(1 / (1 - BETA)), heavy_tailed(), scripted, np.zeros(3), steps)
    close(points[1:] - BETA / (1 - BETA) * u, plain.points[1:])


def test_a2_fails_for_the_vanilla_step():
    """A2, control: without the catch-up of missed momentum steps it is wrong, while A1 still holds."""
    run = play(rules.ormo(0.02, BETA, 5, catch_up=False), heavy_tailed(), noisy, np.zeros(3))
    u = -optax.tree.get(run.states, "ordered_momentum")
    claimed = run.points[0] - (0.02 * np.cumsum(run.gradients, axis=0) - BETA * u) / (1 - BETA)
    assert np.abs(run.points[1:] - claimed).max() > 0.1
    power = group(399, 5) - group(heavy_tailed().read, 5)
    close(u[-1], 0.02 * BETA**power @ run.gradients)


ORDERED = rules.scale_by_ormo(BETA, 5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a3_legal_orders_of_arrival_end_at_the_same_point(seed):
    """A3: given (read, g) pairs may arrive in any order in which nothing is used before the version that it read."""
    updates, rng = 60, np.random.default_rng(seed)
    schedule, gradients = heavy_tailed(updates=updates), NOISE[:updates]
    order = np.arange(updates)
    for i, j in rng.integers(updates, size=(2000, 2)):
        if schedule.read[order[j]] <= i and schedule.read[order[i]] <= j:
            order[[i, j]] = order[[j, i]]
    assert np.count_nonzero(order != np.arange(updates)) > 40
    shuffled = table(schedule.worker[order], schedule.read[order], 5)
    run = play(ORDERED, schedule, scripted, np.ones(3), gradients)
    other = play(ORDERED, shuffled, scripted, np.ones(3), gradients[order])
    close(other.points[-1], run.points[-1])
    close(other.states.ordered_momentum[-1], run.states.ordered_momentum[-1])
    assert np.abs(other.points - run.points).max() > 0.1


@functools.cache
def barrier(workers=4, rounds=50):
    times = np.random.default_rng(0).uniform(1, 10, workers)
    return asynchronous(jasgd.fleet.fixed(times), workers * rounds, wait_for=workers)


@functools.cache
def synchronous_heavy_ball(eta):
    """Heavy ball on the sum of the gradients of a round, for :func:`barrier` and :func:`noisy`."""
    rule, w = optax.sgd(eta, momentum=BETA), jnp.zeros(3)
    points, state = [w], rule.init(w)
    for r in range(50):
        g = sum(noisy(w, {"index": 4 * r + i}) for i in range(4))
        updates, state = rule.update(g, state)
        w = w + updates
        points.append(w)
    return np.array(points)


def test_a4_barrier_is_heavy_ball_on_sums():
    """A4: with a barrier, at the ends of rounds, OrMo is SGD with momentum on the sum of the K gradients."""
    run = play(rules.ormo(0.02, BETA, 4, barrier=True), barrier(), noisy, np.zeros(3))
    close(run.points[::4], synchronous_heavy_ball(0.02))


def test_a4_barrier_is_synchronous_sgd_with_momentum_of_k_times_the_step():
    """A4: simulated, against the synchronous protocol with its mean of K gradients, on the same samples."""
    fleet = jasgd.fleet.fixed([1.0, 4.0, 2.0, 3.0])
    problem = jasgd.problems.quadratic(5, noise=0.3)
    ordered, plain = rules.ormo(0.05, BETA, 4, barrier=True), optax.sgd(4 * 0.05, momentum=BETA)
    run = jasgd.simulate(problem, ordered, asynchronous(fleet, 160, wait_for=4), key=KEY, lanes=4)
    sync = jasgd.simulate(problem, plain, jasgd.protocols.minibatch(fleet, 40), key=KEY, lanes=4)
    close(run.params, sync.params)
    assert run.schedule.time[-1] == sync.schedule.time[-1]


def test_a5_barrier_needs_the_empty_waiting_set():
    """A5, control: a barrier whose groups open as without one is not SGD with momentum."""
    run = play(rules.ormo(0.02, BETA, 4, barrier=False), barrier(), noisy, np.zeros(3))
    assert np.abs(run.points[::4] - synchronous_heavy_ball(0.02)).max() > 1e-3


def test_equal_speed_ormo_is_not_synchronous():
    """Without a barrier the delay K - 1 stays, also with equal speeds."""
    run = play(rules.ormo(0.02, BETA, 4), equal_speeds(4, 200), noisy, np.zeros(3))
    assert np.abs(run.points[::4] - synchronous_heavy_ball(0.02)).max() > 1e-3


def test_a6_one_worker_is_heavy_ball():
    """A6: K = 1."""
    run = play(rules.ormo(0.05, BETA, 1), one_worker(200), noisy, np.zeros(3))
    close(run.points, play(sgd(0.05, momentum=BETA), one_worker(200), noisy, np.zeros(3)).points)


@pytest.mark.parametrize("catch_up", [True, False])
def test_a7_no_momentum_is_asgd(catch_up):
    """A7: beta = 0, with 0^0 = 1 and 0^p = 0."""
    run = play(rules.ormo(0.05, 0.0, 5, catch_up=catch_up), heavy_tailed(), noisy, np.zeros(3))
    close(run.points, play(sgd(0.05), heavy_tailed(), noisy, np.zeros(3)).points, rtol=1e-14)


PLAIN_ORMO = rules.ormo(0.05, BETA, 4)


@pytest.mark.parametrize("smoothness", [None, 5.0])
def test_a8_short_delays_make_ormo_da_bitwise_ormo(smoothness):
    """A8: no delay is above 2K, e.g. with equal speeds."""
    schedule = equal_speeds(4, 200)
    run = play(rules.ormo_da(0.05, BETA, 4, smoothness=smoothness), schedule, noisy, np.zeros(3), bits=True)
    np.testing.assert_array_equal(run.points, play(PLAIN_ORMO, schedule, noisy, np.zeros(3), bits=True).points)


def test_a9_the_form_without_smoothness():
    """A9: if 4 L eta 2K = 1, OrMo-DA takes the step eta min(1, 2K / tau)."""
    run = play(rules.ormo_da(0.02, BETA, 5, smoothness=1 / (4 * 0.02 * 10)), heavy_tailed(), noisy, np.zeros(3))
    close(run.points, ormo_run("delay-adaptive")[0])


def test_a10_constant_gradient():
    """A10: w_T = w_0 - (eta T g - beta u_T) / (1 - beta): each gradient moves by eta / (1 - beta) in the end."""
    eta, g, schedule = 0.01, 3.0, heavy_tailed(updates=4000)
    run = play(rules.ormo(eta, BETA, 5), schedule, lambda x, row: g, 1.0)
    u = -optax.tree.get(run.states, "ordered_momentum")[-1]
    close(run.points[-1], 1 - (eta * 4000 * g - BETA * u) / (1 - BETA))
    # Groups have at most K members, so u is at most eta g K / (1 - beta).
    still_to_come = BETA * eta * g * 5 / (1 - BETA) ** 2
    assert 0 < eta * 4000 * g / (1 - BETA) - (1 - run.points[-1]) <= still_to_come


def test_a11_a_straggler_does_not_move_the_fixed_point():
    """A11: noise-free, one of five workers 30 times slower: the minimum is reached."""
    spectrum, minimum = np.linspace(0.2, 1, 5), np.arange(5.0)
    schedule = asynchronous(jasgd.fleet.fixed([1.0, 1.0, 1.0, 1.0, 30.0]), 6000)
    run = play(rules.ormo(0.02, BETA, 5), schedule, lambda x, row: spectrum * (x - minimum), np.ones(5))
    assert np.abs(run.points[-1] - minimum).max() < 1e-8


@pytest.mark.parametrize("batch", [1, 3, 5, 12, 40])
def test_a12_several_arrivals_at_once(batch):
    """A12: m arrivals fused into two weighted sums give the rule's (w, u) after them."""
    points, u, steps = ormo_run("varies")
    u = np.concatenate([np.zeros((1, 3)), u])
    read = heavy_tailed().read
    for t in range(0, 400 - batch, 7):
        before = group(t - 1, 5) if t else 0
        newest = group(t + batch - 1, 5)
        opened, mine = newest - before, slice(t, t + batch)
        p = newest - group(read[mine], 5)
        new_u = BETA**opened * u[t] + BETA**p @ steps[mine]
        new_w = points[t] - BETA * (1 - BETA**opened) / (1 - BETA) * u[t]
        new_w = new_w - (1 - BETA ** (p + 1)) / (1 - BETA) @ steps[mine]
        close(u[t + batch], new_u)
        close(points[t + batch], new_w)


def test_a_gradient_that_is_very_late_moves_as_far_as_one_on_time():
    """As p goes to infinity, nothing enters the momentum, and the parameters move by 1 / (1 - beta) at once."""
    rule = rules.scale_by_ormo(BETA, 5)
    update, state = rule.update(jnp.ones(()), rule.init(jnp.ones(())), step=1_000_000, delay=1_000_000)
    assert float(state.ordered_momentum) == 0.0
    np.testing.assert_allclose(update, 1 / (1 - BETA), rtol=1e-14)


@pytest.mark.parametrize("catch_up", [True, False])
def test_total_displacement_of_a_gradient(catch_up):
    """In the end a gradient has moved w by 1 / (1 - beta); by 1 + beta^(p + 1) / (1 - beta) without the catch-up."""
    beta, arrival, delay = 0.5, 200 + 4 * np.arange(5), np.array([0, 1, 4, 13, 200])
    read = np.arange(600)
    read[arrival] -= delay
    p = group(arrival, 4) - group(arrival - delay, 4)
    assert p.tolist() == [0, 0, 1, 3, 50]
    impulses = (np.arange(600)[:, None] == arrival).astype(float)  # one coordinate for each gradient
    schedule = table(np.zeros(600, int), read, 1)
    run = play(rules.ormo(1.0, beta, 4, catch_up=catch_up), schedule, scripted, np.zeros(5), impulses)
    close(-run.points[-1], np.full(5, 1 / (1 - beta)) if catch_up else 1 + beta ** (p + 1) / (1 - beta))


@pytest.mark.parametrize(("waits", "powers"), [(True, (2, 1, 0)), (False, (3, 2, 1))])
def test_powers_of_beta_after_ten_arrivals(waits, powers):
    """K = 4, ten arrivals: groups of 4, 4 and 2 gradients have these powers of beta in u; beta = 1/16 shows the counts."""
    schedule = asynchronous(jasgd.fleet.equal(4), 10, wait_for=4 if waits else 1)
    run = play(rules.scale_by_ormo(1 / 16, 4, barrier=waits), schedule, lambda x, row: 1.0)
    counts = sum(count * 16.0**-power for count, power in zip((4, 4, 2), powers, strict=True))
    assert float(run.states.ordered_momentum[-1]) == counts


@pytest.mark.parametrize("kappa", [None, 0.25, 0.25 * 0.2])
def test_bounds_on_the_gradient_norm(kappa):
    """The average of ||grad F||^2 over the points where gradients are computed is below its bound, for OrMo and OrMo-DA."""
    k, dim, beta, updates, seeds = 4, 6, 0.8, 2000, 20
    spectrum = np.linspace(0.1, 1.0, dim)  # L = 1
    noise = np.random.default_rng(0).normal(size=(updates, seeds, dim)) / np.sqrt(dim)  # sigma = 1
    gap = 0.5 * spectrum.sum()
    gamma = min((1 - beta) / (8 * k), np.sqrt(2 * gap / updates))
    eta = gamma * (1 - beta)
    rule = rules.ormo(eta, beta, k) if kappa is None else rules.ormo_da(eta, beta, k, smoothness=1.0, kappa=kappa)
    schedule = asynchronous(jasgd.fleet.fixed([1.0, 4.0, 7.0, 10.0]), updates)
    curvature = np.tile(spectrum, (seeds, 1))
    run = play(rule, schedule, lambda x, row: curvature * x + row["script"], np.ones((seeds, dim)), noise)
    squares = np.sum((spectrum * run.points[schedule.read]) ** 2, axis=-1)
    weight = np.ones(updates)
    if kappa is None:
        g2 = squares.max()
        spread = (k - 1) ** 2 * g2 + (k - 1) + beta**2 * k**2 * g2 / (1 - beta) ** 2 + beta**2 * k / (1 - beta**2)
        bound = 4 * gap / (gamma * updates) + 2 * gamma + 8 * gamma**2 * spread
    else:
        weight = np.where(schedule.delay > 2 * k, np.minimum(eta, kappa / np.maximum(schedule.delay, 1)), eta)
        bound = 6 * gap / (gamma * updates) + 27 / 8 * gamma / (1.0 if kappa < 0.25 else 1 - beta)
    assert weight @ squares.mean(axis=1) / weight.sum() <= bound


# DANA, SMEGA2, Delayed Nesterov


SCHEDULES = {
    "heavy-tailed": lambda: heavy_tailed(updates=200),
    "shuffled": lambda: asynchronous(jasgd.fleet.power_law(5, 1.0), 200, assignment="shuffled"),
    "waiting": lambda: asynchronous(jasgd.fleet.power_law(5, 1.0), 200, wait_for=3),
}


ZERO, SLIM = rules.dana_zero(0.01, BETA, 5), rules.dana_slim(0.01, BETA, 5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_c1_slim_goes_where_zero_sends(name):
    """C1: DANA-Slim's points are the points that DANA-Zero sends, on any schedule; Zero's own points are others."""
    schedule = SCHEDULES[name]()
    zero = play(ZERO, schedule, noisy, np.zeros(3))
    slim = play(SLIM, schedule, noisy, np.zeros(3))
    close(zero.sent, slim.points)
    assert np.abs(zero.points - slim.points).max() > 1e-2


def test_c1_in_the_simulator():
    """C1: the simulator's ring holds what is sent, so that Zero's gradients are Slim's."""
    problem = jasgd.problems.quadratic(5, noise=0.1)
    schedule = asynchronous(jasgd.fleet.power_law(5, 1.0), 200)
    zero = jasgd.simulate(problem, rules.dana_zero(0.02, 0.8, 5), schedule, key=KEY, lanes=3)
    slim = jasgd.simulate(problem, rules.dana_slim(0.02, 0.8, 5), schedule, key=KEY, lanes=3)
    close(rules.sent_params(zero.rule_state, zero.params), slim.params)


def nesterov(eta, momentum, updates):
    """All w and all y of: y = w - eta gamma v, v <- gamma v + grad(y), w <- w - eta v."""
    w, v, points, looks = np.zeros(3), np.zeros(3), [], []
    for t in range(updates + 1):
        y = w - eta * momentum * v
        points.append(w)
        looks.append(y)
        v = momentum * v + SPECTRUM * (y - 1.0) + NOISE[t]
        w = w - eta * v
    return np.array(points), np.array(looks)


@pytest.mark.parametrize(
    "rule",
    [rules.dana_zero(0.05, BETA, 1), rules.smega2(0.05, BETA, 1), rules.weight_prediction(0.05, BETA, expected_delay=1)],
    ids=["dana_zero", "smega2", "weight_prediction"],
)
def test_c2_one_worker_is_nesterov(rule):
    """C2: one worker; so is SMEGA2 with a cycle of one, and weight prediction by one step."""
    run = play(rule, one_worker(200), noisy, np.zeros(3))
    points, looks = nesterov(0.05, BETA, 200)
    close(run.points, points)
    close(run.sent, looks)


def test_c2_one_slim_worker_visits_nesterovs_look_ahead_points():
    """C2: DANA-Slim with one worker."""
    close(play(rules.dana_slim(0.05, BETA, 1), one_worker(200), noisy, np.zeros(3)).points, nesterov(0.05, BETA, 200)[1])


def cycle_means(run, n):
    return run.gradients.reshape(-1, n, 3).mean(axis=1)


@pytest.mark.parametrize("advanced", [True, False])
def test_c3_smega2_over_a_cycle(advanced):
    """C3: over N gradients w moves as momentum SGD with the step N eta on their mean, whatever is sent."""
    run = play(rules.smega2(0.02, BETA, 5, advanced=advanced), heavy_tailed(), noisy, np.zeros(3))
    plain = play(sgd(5 * 0.02, momentum=BETA), one_worker(80), scripted, np.zeros(3), cycle_means(run, 5))
    close(run.points[::5], plain.points)


ADVANCED, SIMPLE = rules.smega2(0.1, BETA, 5), rules.smega2(0.1, BETA, 5, advanced=False)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_smega2_sends_where_n_steps_without_gradients_lead(k):
    """The advanced estimate, k gradients into a cycle: N zero gradients later the parameters are there."""
    gradients = np.where(np.arange(20)[:, None] < 10 + k, NOISE[:20], 0.0)
    run = play(ADVANCED, one_worker(20), scripted, np.zeros(3), gradients)
    close(run.sent[10 + k], run.points[15 + k])
    simple = play(SIMPLE, one_worker(20), scripted, np.zeros(3), gradients)
    assert (np.abs(simple.sent[10 + k] - run.sent[10 + k]).max() > 1e-3) == (k > 0)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_c4_delayed_nesterov_over_a_cycle(share):
    """C4: a cycle moves by -eps (mean + beta [(N - 1) c m_old + (1 - (N - 1) c) m_new]), for c = 0, 1/(2N), 1/N."""
    n, c, eps = 5, share / 5, 0.05
    run = play(rules.delayed_nesterov(eps, BETA, n, spread=c), heavy_tailed(), noisy, np.zeros(3))
    means = cycle_means(run, n)
    m = np.zeros((81, 3))
    for i, mean in enumerate(means):
        m[i + 1] = BETA * m[i] + mean
    moved = -eps * (means + BETA * ((n - 1) * c * m[:-1] + (1 - (n - 1) * c) * m[1:]))
    close(np.diff(run.points[::n], axis=0), moved)


def test_c4_delayed_nesterov_is_nesterov_on_cycle_means():
    """C4: c = 0."""
    run = play(rules.delayed_nesterov(0.05, BETA, 5), heavy_tailed(), noisy, np.zeros(3))
    plain = sgd(0.05, momentum=BETA, nesterov=True)
    close(run.points[::5], play(plain, one_worker(80), scripted, np.zeros(3), cycle_means(run, 5)).points)


# Worker momentum, weight prediction


@pytest.mark.parametrize("dampening", [0.0, 0.3])
def test_one_worker_momentum_is_momentum(dampening):
    """N = 1: SGD with momentum; dampening scales the gradients."""
    run = play(rules.worker_momentum(0.05, BETA, 1, dampening=dampening), one_worker(200), noisy, np.zeros(3))
    plain = sgd(0.05 * (1 - dampening), momentum=BETA)
    close(run.points, play(plain, one_worker(200), noisy, np.zeros(3)).points)


def test_workers_in_turn_have_shifted_momentum():
    """With equal speeds v_(t+1) = m v_(t-tau) - eta g(w_(t-tau)) and w_(t+1) = w_t + v_(t+1)."""
    tau, updates = 3, 200
    w, v = np.zeros((updates + 1, 3)), np.zeros((updates + 1, 3))
    for t in range(updates):
        g = SPECTRUM * (w[max(t - tau, 0)] - 1.0) + NOISE[t]
        v[t + 1] = BETA * v[max(t - tau, 0)] - 0.02 * g
        w[t + 1] = w[t] + v[t + 1]
    close(play(rules.worker_momentum(0.02, BETA, tau + 1), equal_speeds(tau + 1, updates), noisy, np.zeros(3)).points, w)


def test_workers_keep_their_own_momentum():
    """On a random schedule, v_i is the discounted sum of worker i's gradients alone."""
    schedule = heavy_tailed()
    run = play(rules.scale_by_worker_momentum(BETA, 5), schedule, scripted, np.zeros(3), NOISE[:400])
    for worker in range(5):
        mine = NOISE[:400][schedule.worker == worker]
        close(run.states.worker_velocity[-1, worker], BETA ** np.arange(len(mine))[::-1] @ mine)


def test_no_prediction_is_momentum():
    """Weight prediction with an expected delay of 0 sends w."""
    run = play(rules.weight_prediction(0.005, BETA, expected_delay=0), heavy_tailed(), noisy, np.zeros(3))
    np.testing.assert_array_equal(run.sent, run.points)
    close(run.points, play(sgd(0.005, momentum=BETA), heavy_tailed(), noisy, np.zeros(3)).points)


@pytest.mark.parametrize("ahead", [1, 2, 7])
def test_prediction_is_where_momentum_alone_leads(ahead):
    """What is sent is w after as many zero gradients as the expected delay."""
    gradients = np.concatenate([NOISE[:20], np.zeros((ahead, 3))])
    rule = rules.weight_prediction(0.1, BETA, expected_delay=ahead)
    run = play(rule, one_worker(20 + ahead), scripted, np.zeros(3), gradients)
    close(run.sent[20], run.points[20 + ahead])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_pipeline_nesterov_recursion(momentum):
    """w_(t+1) = w_t + d_t - eta (1 - gamma) g(w_(t-tau) + d_(t-tau)), d_t = gamma (w_t - w_(t-1)); without gamma ASGD."""
    tau, updates, eta = 3, 200, 0.05
    w, d = np.zeros((updates + 1, 3)), np.zeros((updates + 1, 3))
    for t in range(updates):
        read = max(t - tau, 0)
        g = SPECTRUM * (w[read] + d[read] - 1.0) + NOISE[t]
        w[t + 1] = w[t] + d[t] - eta * (1 - momentum) * g
        d[t + 1] = momentum * (w[t + 1] - w[t])
    run = play(rules.pipeline_nesterov(eta, momentum), equal_speeds(tau + 1, updates), noisy, np.zeros(3))
    close(run.points, w)
    close(run.sent, w + d)
    if not momentum:
        close(run.points, play(sgd(eta), equal_speeds(tau + 1, updates), noisy, np.zeros(3)).points)


# Delay compensation and Gap-Aware


AT_DELAY_ZERO = {
    "dc_asgd": (rules.dc_asgd(0.05, strength=2.0), sgd(0.05)),
    "dc_asgd_adaptive": (rules.dc_asgd_adaptive(0.05, strength=2.0), sgd(0.05)),
    "gap_aware": (rules.gap_aware(0.05), sgd(0.05)),
    "gap_aware with momentum": (rules.gap_aware(0.05, momentum=BETA), sgd(0.05, momentum=BETA)),
}


@pytest.mark.parametrize("name", AT_DELAY_ZERO)
def test_no_delay_no_compensation(name):
    """DC-ASGD and Gap-Aware at delay 0 are plain SGD, or SGD with momentum."""
    rule, plain = AT_DELAY_ZERO[name]
    run = play(rule, one_worker(100), noisy, np.zeros(3))
    close(run.points, play(plain, one_worker(100), noisy, np.zeros(3)).points, rtol=1e-14)


def test_dc_asgd_of_strength_zero_is_asgd():
    """With lambda = 0, whatever the delays."""
    run = play(rules.dc_asgd(0.05, strength=0.0), heavy_tailed(), noisy, np.zeros(3))
    close(run.points, play(sgd(0.05), heavy_tailed(), noisy, np.zeros(3)).points, rtol=1e-14)


def compensated(adaptive, one_snapshot=False):
    """DC-ASGD in NumPy; ``one_snapshot`` is the fault of keeping one earlier point instead of one per worker."""
    w, mean_square = np.zeros(3), np.zeros(3)
    held, points = np.zeros((5, 3)), [w]
    for t, worker in enumerate(heavy_tailed().worker):
        g = SPECTRUM * (held[worker] - 1.0) + NOISE[t]
        mean_square = 0.95 * mean_square + 0.05 * g * g
        strength = 0.5 / np.sqrt(mean_square + 1e-7) if adaptive else 0.5
        stale = points[-2 if len(points) > 1 else -1] if one_snapshot else held[worker]
        w = w - 0.02 * (g + strength * g * g * (w - stale))
        held[worker] = w
        points.append(w)
    return np.array(points)


@pytest.mark.parametrize("adaptive", [False, True])
def test_dc_asgd_against_numpy(adaptive):
    """Gradients become g + lambda g g (w - w_stale), one earlier point per worker; adaptive: lambda / sqrt(mean square)."""
    rule = rules.dc_asgd_adaptive(0.02, strength=0.5) if adaptive else rules.dc_asgd(0.02, strength=0.5)
    run = play(rule, heavy_tailed(), noisy, np.zeros(3))
    close(run.points, compensated(adaptive))
    assert np.abs(run.points - compensated(adaptive, one_snapshot=True)).max() > 1e-2


def test_gap_aware_worked_example():
    """With g = 2, largest step 0.1 and gap 0.3, the average square is 4, the penalty 1 + 0.3 / 0.2, and g becomes 0.8."""
    rule = rules.scale_by_gap(0.1)
    g, _ = rule.update(jnp.full(1, 2.0), rule.init(jnp.zeros(1)), jnp.full(1, 0.3), stale_params=jnp.zeros(1))
    np.testing.assert_allclose(g, 0.8, atol=1e-8)


def test_gap_aware_freezes_a_coordinate_that_never_had_a_gradient():
    """Average 0 and a gap: a huge penalty, not NaN; no gap: none."""
    rule = rules.scale_by_gap(0.1, momentum=BETA)
    state = rule.init(jnp.zeros(2))
    g, _ = rule.update(jnp.ones(2), state, jnp.array([0.5, 0.0]), stale_params=jnp.zeros(2))
    np.testing.assert_allclose(g, [1 / (1 + 0.5 / (0.1 * 1e-8)), 1.0], rtol=1e-9)


def test_gap_aware_without_a_step_so_far_has_no_penalty():
    """A warm-up that starts at 0."""
    rule = rules.scale_by_gap(lambda count: 0.1 * count)
    g, state = rule.update(jnp.ones(1), rule.init(jnp.zeros(1)), jnp.ones(1), stale_params=jnp.zeros(1))
    assert float(g[0]) == 1.0
    assert float(state.largest_rate) == 0.0


@pytest.mark.parametrize("momentum", [None, 0.8])
def test_gap_aware_against_numpy(momentum):
    """In this order: average of v before the step, penalty (also on weight decay), momentum, largest step."""
    decay, schedule = 0.01, heavy_tailed()

    def rate(count):
        return 0.02 * (1 + count % 50) / 50

    rule = optax.chain(optax.add_decayed_weights(decay), rules.gap_aware(rate, momentum=momentum, decay=0.9))
    w, v, average, largest = np.zeros(3), np.zeros(3), np.zeros(3), rate(0)
    held, points = np.zeros((5, 3)), [w]
    for t, worker in enumerate(schedule.worker):
        g = SPECTRUM * (held[worker] - 1.0) + NOISE[t] + decay * w
        average = 0.9 * average + 0.1 * (g if momentum is None else v) ** 2
        g = g / (1 + np.abs(w - held[worker]) / (largest * (np.sqrt(average / (1 - 0.9 ** (t + 1))) + 1e-8)))
        v = g if momentum is None else momentum * v + g
        w = w - rate(t) * v
        largest = max(largest, rate(t))
        held[worker] = w
        points.append(w)
    close(play(rule, schedule, noisy, np.zeros(3)).points, np.array(points))


# Worked by hand: two workers of 1 and 2.6 seconds, momentum 1/2, step 1, start 0, gradients 1, 2, 3, ...


def by_hand():
    return asynchronous(jasgd.fleet.fixed([1.0, 2.6]), 8)


def test_golden_schedule():
    """Times, workers, versions read and delays; A0: delays 7, in flight 0 + 1."""
    schedule = by_hand()
    np.testing.assert_array_equal(schedule.time, [1, 2, 2.6, 3, 4, 5, 5.2, 6])
    np.testing.assert_array_equal(schedule.worker, [0, 0, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(schedule.read, [0, 1, 0, 2, 4, 5, 3, 6])
    np.testing.assert_array_equal(schedule.delay, [0, 0, 2, 1, 0, 0, 3, 1])
    assert (schedule.delay.sum(), ages_in_flight(schedule)) == (7, 1)
    assert (8 - schedule.ledger.pending_read).tolist() == [0, 1]


def test_golden_shifts_and_p():
    """When a group opens, and how many groups each gradient is late, as the rule sees it."""
    rule, schedule = rules.scale_by_ormo(0.5, 2), by_hand()
    one, zero = jnp.ones(()), jnp.zeros(())
    shifts, powers = [], []
    for t, delay in enumerate(schedule.delay):
        _, shifted = rule.update(zero, ScaleByOrMoState(one), step=t, delay=int(delay))
        _, entered = rule.update(one, rule.init(one), step=t, delay=int(delay))
        shifts.append(float(shifted.ordered_momentum))
        powers.append(float(entered.ordered_momentum))
    assert shifts == [0.5 if shift else 1.0 for shift in (0, 1, 0, 1, 0, 1, 0, 1)]
    assert powers == [0.5**p for p in (0, 0, 1, 1, 0, 0, 1, 1)]


GOLDEN_RULES = {
    "ormo": rules.ormo(1.0, 0.5, 2),
    "ormo, step 1 / delay": optax.chain(rules.scale_by_delay(rules.delay_weights.reciprocal()), rules.ormo(1.0, 0.5, 2)),
    "naive": optax.sgd(1.0, momentum=0.5),
    "worker momentum": rules.worker_momentum(1.0, 0.5, 2),
    "dana zero": rules.dana_zero(1.0, 0.5, 2),
    "dana slim": rules.dana_slim(1.0, 0.5, 2),
    "smega2": rules.smega2(1.0, 0.5, 2),
    "delayed nesterov, c = 0": rules.delayed_nesterov(1.0, 0.5, 2),
    "delayed nesterov, c = 1/4": rules.delayed_nesterov(1.0, 0.5, 2, spread=0.25),
    "delayed nesterov, c = 1/2": rules.delayed_nesterov(1.0, 0.5, 2, spread=0.5),
    "dc-asgd": rules.dc_asgd(1.0, 0.1),
}
GOLDEN_POINTS = {
    "ormo": "-1 -7/2 -8 -16 -21 -63/2 -42 -61",
    "ormo, step 1 / delay": "-1 -7/2 -23/4 -107/8 -147/8 -459/16 -515/16 -4793/96",
    "naive": "-1 -7/2 -31/4 -111/8 -351/16 -1023/32 -2815/64 -7423/128",
    "worker momentum": "-1 -7/2 -13/2 -47/4 -155/8 -467/16 -603/16 -1619/32",
    "dana zero": "-1 -7/2 -13/2 -47/4 -155/8 -467/16 -603/16 -1619/32",  # those of worker momentum
    "dana slim": "-3/2 -19/4 -37/4 -127/8 -395/16 -1139/32 -1499/32 -3923/64",
    "smega2": "-1 -3 -27/4 -23/2 -149/8 -107/4 -601/16 -395/8",
    "delayed nesterov, c = 0": "-1/2 -9/4 -15/4 -63/8 -83/8 -275/16 -331/16 -971/32",
    "delayed nesterov, c = 1/4": "-1/2 -33/16 -15/4 -235/32 -83/8 -1039/64 -331/16 -3703/128",
    "delayed nesterov, c = 1/2": "-1/2 -15/8 -15/4 -109/16 -83/8 -489/32 -331/16 -1761/64",
    "dc-asgd": "-1 -3 -33/10 -341/50 -591/50 -891/50 5791/125 -232637/625",
}
GOLDEN_SENT = {
    "dana zero": GOLDEN_POINTS["dana slim"],
    "smega2": "-5/4 -9/2 -69/8 -63/4 -369/16 -275/8 -1441/32 -971/16",
}
GOLDEN_MOMENTUM = {
    "ormo": "1 5/2 4 4 9 21/2 14 11",
    "ormo, step 1 / delay": "1 5/2 13/4 29/8 69/8 165/16 551/48 935/96",
}


@pytest.mark.parametrize("name", GOLDEN_RULES)
def test_golden_points(name):
    """The parameters after each arrival; for DC-ASGD steps are 1 too, lambda is 1/10."""
    run = play(GOLDEN_RULES[name], by_hand(), counting)
    close(run.points[1:], fractions(GOLDEN_POINTS[name]), rtol=1e-14)


@pytest.mark.parametrize("name", GOLDEN_SENT)
def test_golden_sent_points(name):
    """What each worker is sent; DANA-Zero sends DANA-Slim's points."""
    run = play(GOLDEN_RULES[name], by_hand(), counting)
    close(run.sent[1:], fractions(GOLDEN_SENT[name]), rtol=1e-14)


@pytest.mark.parametrize("name", GOLDEN_MOMENTUM)
def test_golden_momentum(name):
    """OrMo's u after each arrival."""
    run = play(GOLDEN_RULES[name], by_hand(), counting)
    close(-optax.tree.get(run.states, "ordered_momentum"), fractions(GOLDEN_MOMENTUM[name]), rtol=1e-14)


def test_golden_barrier():
    """OrMo with a barrier of two workers."""
    schedule = asynchronous(jasgd.fleet.fixed([1.0, 2.6]), 8, wait_for=2)
    run = play(rules.ormo(1.0, 0.5, 2, barrier=True), schedule, counting)
    close(run.points[1:], fractions("-1 -3 -15/2 -23/2 -83/4 -107/4 -331/8 -395/8"), rtol=1e-14)
    u = -optax.tree.get(run.states, "ordered_momentum")
    close(u, fractions("1 3 9/2 17/2 37/4 61/4 117/8 181/8"), rtol=1e-14)


def test_golden_fused_batch():
    """A12 on arrivals 4 to 7, from (w, u, I) = (-16, 4, 2): I' = 4, p = 2, 1, 2, 1, and (-61, 11) as in the trace."""
    p = group(7, 2) - group(by_hand().read[4:], 2)
    assert (group(3, 2), group(7, 2), p.tolist()) == (2, 4, [2, 1, 2, 1])
    g, b = np.arange(5.0, 9.0), 0.5
    assert b**2 * 4 + b**p @ g == 11
    assert -16 - b * (1 - b**2) / (1 - b) * 4 - (1 - b ** (p + 1)) / (1 - b) @ g == -61


# Stability on lambda x^2 / 2 at equal speeds: the largest step times lambda, for momentum 0.9 and 1, 2, 4, 8, 16 workers


WORKERS = (1, 2, 4, 8, 16)
LIMITS = {
    "asgd": (2, 1, 0.445042, 0.209057, 0.101298),
    "naive": (3.8, 0.1, 0.034784, 0.015752, 0.007929),
    "worker momentum": (3.8, 0.19, 0.064787, 0.027948, 0.013077),
    "ormo, vanilla step": (3.8, 0.38709, 0.152503, 0.069401, 0.033246),
    "ormo": (3.8, 0.562718, 0.198399, 0.085235, 0.0397),
    "smega2": (1.357143, 0.516561, 0.199372, 0.087551, 0.04105),
    "smega2, simple estimate": (1.357143, 0.449477, 0.152873, 0.063589, 0.029131),
    "dana zero": (1.357143, 0.559621, 0.220295, 0.097102, 0.045547),
    "dana slim": (1.357143, 0.559621, 0.220295, 0.097102, 0.045547),
    "delayed nesterov, c = 0": (1.357143, 1.125437, 0.758858, 0.56662, 0.479631),
    "delayed nesterov, c = 1/K": (1.357143, 1.045548, 0.471747, 0.296285, 0.243761),
    "dude": (2, 0.828427, 0.333071, 0.150615, 0.071788),
}
MAKE = {
    "asgd": lambda rate, beta, k: optax.sgd(rate),
    "naive": lambda rate, beta, k: optax.sgd(rate, momentum=beta),
    "worker momentum": rules.worker_momentum,
    "ormo, vanilla step": functools.partial(rules.ormo, catch_up=False),
    "ormo": rules.ormo,
    "smega2": rules.smega2,
    "smega2, simple estimate": functools.partial(rules.smega2, advanced=False),
    "dana zero": rules.dana_zero,
    "dana slim": rules.dana_slim,
    "delayed nesterov, c = 0": rules.delayed_nesterov,
    "delayed nesterov, c = 1/K": lambda rate, beta, k: rules.delayed_nesterov(rate, beta, k, spread=1 / k),
    "dude": lambda rate, beta, k: rules.dude(rate, k),
}
POLYNOMIALS = {  # (power of z, coefficient) for step e and k workers
    "asgd": lambda e, k: [(k, 1), (k - 1, -1), (0, e)],
    "naive": lambda e, k: [(max(k, 2) - i, c) for i, c in ((0, 1), (1, -1 - BETA), (2, BETA), (k, e))],
    "worker momentum": lambda e, k: [(k + 1, 1), (k, -1), (1, e - BETA), (0, BETA)],
    "dude": lambda e, k: [(2 * k - 1, 1), (2 * k - 2, -1)] + [(j, e / k) for j in range(k)],
}


def turns(rule, workers, carry, steps):
    """Workers in turn compute gradients of x^2 / 2 at the points that they hold; the state in the end, and all x."""

    def one(carry, t):
        held, x, state = carry
        worker = t % workers
        offered = {"worker": worker, "step": t, "delay": jnp.minimum(t, workers - 1)}
        updates, state = rule.update(held[worker], state, x, **offered)
        x = optax.apply_updates(x, updates)
        return (held.at[worker].set(rules.sent_params(state, x)), x, state), x

    return jax.lax.scan(one, carry, steps)


def make_rule(name, rate, workers, beta=BETA):
    return optax.with_extra_args_support(MAKE[name](rate, beta, workers))


@functools.partial(quick.jit, static_argnums=(0, 2, 3))
def cycle_map(name, rate, workers, beta=BETA):
    """The matrix by which K arrivals change (points held, x, the rule's arrays), past the transient."""
    rule, zero = make_rule(name, rate, workers, beta), jnp.zeros(())
    carry, _ = turns(rule, workers, (jnp.zeros(workers), zero, rule.init(zero)), jnp.arange(2 * workers))
    rest, unravel = ravel_pytree(carry)
    moves = np.concatenate([np.full(a.size, jnp.issubdtype(a.dtype, jnp.floating)) for a in jax.tree.leaves(carry)])

    def column(unit):
        after, _ = turns(rule, workers, unravel(rest + unit), jnp.arange(2 * workers, 3 * workers))
        return ravel_pytree(after)[0][moves]

    return jax.vmap(column)(np.eye(len(moves))[moves]).T


def spectral_radius(name, rate, workers, beta=BETA):
    return np.abs(np.linalg.eigvals(cycle_map(name, rate, workers, beta))).max()


@pytest.mark.parametrize("workers", [pytest.param(k, marks=[pytest.mark.slow] if k != 2 else []) for k in WORKERS])
@pytest.mark.parametrize("name", MAKE)
def test_stability_limit_of_a_cycle(name, workers):
    """The map over K arrivals contracts just below the limit, not just above: all digits of the table."""
    limit = LIMITS[name][WORKERS.index(workers)]
    assert spectral_radius(name, limit - 1e-6, workers) < 1 < spectral_radius(name, limit + 1e-6, workers)


@pytest.mark.parametrize("workers", [4, 16])
@pytest.mark.parametrize("name", MAKE)
def test_stability_limit_by_simulation(name, workers):
    """From x = 1, |x| decays at 0.99 of the limit and grows at 1.01 of it."""
    limit = LIMITS[name][WORKERS.index(workers)]

    @quick.jit
    @jax.vmap
    def largest_per_quarter(rate):
        rule, x = make_rule(name, rate, workers), jnp.ones(())
        start = (jnp.ones(workers), x, rule.init(x))
        _, path = turns(rule, workers, start, jnp.arange(150 * workers))
        return jnp.abs(path).reshape(4, -1).max(axis=1)

    below, above = largest_per_quarter(limit * np.array([0.99, 1.01]))
    assert below[3] < below[2]
    assert above[3] > above[2]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("name", POLYNOMIALS)
def test_stability_limit_of_the_characteristic_polynomial(name, workers):
    """The largest root passes 1 at the limit."""
    limit = LIMITS[name][WORKERS.index(workers)]

    def largest_root(step):
        terms = POLYNOMIALS[name](step, workers)
        coefficients = np.zeros(max(power for power, _ in terms) + 1)
        for power, coefficient in terms:
            coefficients[power] += coefficient
        return np.abs(np.roots(coefficients[::-1])).max()

    assert largest_root(limit - 1e-6) < 1 < largest_root(limit + 1e-6)


def test_c5_stability_limits_in_closed_form():
    """C5: ASGD is stable below 2 sin(pi / (2 (2K - 1))); and what is known for one and two workers."""
    rounding = {"rtol": 0, "atol": 5.1e-7}
    np.testing.assert_allclose(LIMITS["asgd"], [2 * np.sin(np.pi / (2 * (2 * k - 1))) for k in WORKERS], **rounding)
    for name in ("naive", "worker momentum", "ormo", "ormo, vanilla step"):
        np.testing.assert_allclose(LIMITS[name][0], 2 * (1 + BETA), **rounding)
    for name in ("smega2", "dana zero", "dana slim", "delayed nesterov, c = 0"):
        np.testing.assert_allclose(LIMITS[name][0], 2 * (1 + BETA) / (1 + 2 * BETA), **rounding)
    np.testing.assert_allclose(LIMITS["naive"][1], 1 - BETA, **rounding)
    np.testing.assert_allclose(LIMITS["worker momentum"][1], 1 - BETA**2, **rounding)
    np.testing.assert_allclose(LIMITS["dude"][1], 2 * (np.sqrt(2) - 1), **rounding)


@pytest.mark.parametrize(("name", "limit"), [("ormo, vanilla step", 0.8099), ("ormo", 0.6977)])
def test_with_less_momentum_the_vanilla_step_bears_more(name, limit):
    """For beta = 1/2 and K = 2, OrMo and its ablation change places."""
    assert spectral_radius(name, limit - 1e-4, 2, 0.5) < 1 < spectral_radius(name, limit + 1e-4, 2, 0.5)
