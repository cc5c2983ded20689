"""Theory: reference numbers, orderings, closed forms, exact round times, changing power, and bounds held to simulations.

The papers' formulas have their universal constants set to 1; the reference numbers are ours.
"""

import heapq
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd import fleet, protocols, theory
from jasgd.power import outages, power

INF, NAN = float("inf"), float("nan")
LINEAR = {n: np.arange(1.0, n + 1) for n in (10, 100, 1000)}

positive_times = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12)
noise_ratios = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))
small_times = st.lists(st.integers(1, 12).map(lambda k: k / 4), min_size=1, max_size=5)


def shuffled(times):
    return np.random.default_rng(0).permutation(times)


# Averages.


def test_means_of_times():
    """Arithmetic and harmonic means of three fleets; the m fastest count, whatever the order."""
    for times, arithmetic, harmonic in [
        (LINEAR[10], 5.5, 3.414),
        (np.sqrt(LINEAR[100]), 6.715, 5.379),
        (LINEAR[1000], 500.5, 133.6),
    ]:
        assert theory.mean_time(shuffled(times)) == pytest.approx(arithmetic, rel=5e-4)
        assert theory.harmonic_mean(shuffled(times)) == pytest.approx(harmonic, rel=5e-4)
    assert theory.harmonic_mean([8.0, 1.0]) == pytest.approx(16 / 9)
    assert theory.harmonic_mean([4.0, 1.0, 2.0], m=2) == pytest.approx(4 / 3)


def test_shares_of_updates_are_those_of_a_long_schedule():
    """tau_H / (n tau_i), in the order of the workers; one that never answers has none."""
    times = np.array([2.3, 1.0, INF, 1.7])
    shares = theory.update_shares(times)
    schedule = protocols.asynchronous(fleet.fixed(times), 4000)
    np.testing.assert_allclose(np.bincount(schedule.worker, minlength=4) / 4000, shares, atol=1e-3)
    np.testing.assert_allclose(shares[[0, 1, 3]], theory.harmonic_mean(times) / (4 * times[[0, 1, 3]]))
    assert shares[2] == 0


# Time complexities.


@pytest.mark.parametrize(
    ("times", "s", "opt", "m", "asgd", "sync", "msync", "m_sync", "het"),
    [
        (LINEAR[10], 17.29, 9.293, 9, 9.317, 27.29, 18.29, 1, 19.51),
        (np.sqrt(LINEAR[100]), 17.29, 4.892, 23, 6.309, 11.73, 8.317, 17, 11.16),
        (LINEAR[1000], 1000, 204.1, 204, 267.2, 2000, 1001, 1, 1500),
    ],
)
def test_reference_numbers(times, s, opt, m, asgd, sync, msync, m_sync, het):
    """All complexities of three fleets, to the four digits given, for workers in any order."""
    times = shuffled(times)
    found = [
        theory.optimal_time(times, s),
        theory.asynchronous_time(times, s),
        theory.synchronous_time(times, s),
        theory.m_synchronous_time(times, s),
        theory.optimal_time(times, s, heterogeneous=True),
    ]
    np.testing.assert_allclose(found, [opt, asgd, sync, msync, het], rtol=6e-4)
    assert theory.best_m(times, s) == m
    assert theory.best_m_synchronous(times, s) == m_sync


@given(positive_times, noise_ratios)
@settings(deadline=None)
def test_methods_are_ordered(times, s):
    """Optimum <= asynchronous <= synchronous; optimum <= m-synchronous <= (1 + ln n) optimum; heterogeneous in between."""
    opt, asgd, sync = (f(times, s) for f in (theory.optimal_time, theory.asynchronous_time, theory.synchronous_time))
    msync, het = theory.m_synchronous_time(times, s), theory.optimal_time(times, s, heterogeneous=True)
    more = 1 + 1e-9
    assert opt <= asgd * more
    assert asgd <= sync * more
    assert opt <= msync * more
    assert msync <= theory.m_synchronous_factor(len(times)) * opt * more
    assert msync <= sync * more
    assert opt <= het * more
    assert asgd <= het * more
    assert het <= sync * more
    assert het <= theory.rescaled_time(times, s) * more
    assert theory.m_synchronous_time(times, s, m=len(times)) == sync


@given(positive_times, noise_ratios, st.randoms())
@settings(deadline=None)
def test_the_order_of_workers_does_not_matter(times, s, random):
    """Every function of the fleet as a whole sorts for itself."""
    other = list(times)
    random.shuffle(other)
    for function in (
        theory.optimal_time,
        theory.asynchronous_time,
        theory.synchronous_time,
        theory.m_synchronous_time,
        theory.dude_time,
        theory.rescaled_time,
        theory.best_m,
        theory.best_m_synchronous,
    ):
        assert function(other, s) == pytest.approx(function(times, s), rel=1e-12)


@given(positive_times, noise_ratios)
@settings(deadline=None)
def test_best_m_attains_the_minimum(times, s):
    """H_m (1 + s / m) at the best m is the optimal time, and an m-synchronous round is as good as its best."""
    m = theory.best_m(times, s)
    assert theory.harmonic_mean(times, m) * (1 + s / m) == pytest.approx(theory.optimal_time(times, s), rel=1e-11)
    assert theory.asynchronous_time(np.sort(times)[:m], s) == pytest.approx(theory.optimal_time(times, s), rel=1e-11)
    m = theory.best_m_synchronous(times, s)
    assert theory.m_synchronous_time(times, s, m=m) == pytest.approx(theory.m_synchronous_time(times, s), rel=1e-11)


@given(st.floats(1e-3, 1e3), st.integers(1, 30), noise_ratios)
@settings(deadline=None)
def test_equal_times_leave_one_number(tau, n, s):
    """With equal workers all methods take tau (1 + s / n), m-synchronous ones and heterogeneous data too."""
    times = [tau] * n
    expected = pytest.approx(tau * (1 + s / n), rel=1e-12)
    assert theory.optimal_time(times, s) == expected
    assert theory.optimal_time(times, s, heterogeneous=True) == expected
    assert theory.asynchronous_time(times, s) == expected
    assert theory.synchronous_time(times, s) == expected
    assert theory.m_synchronous_time(times, s) == expected
    assert theory.dude_time(times, s) == expected


def test_without_noise_only_the_fastest_counts():
    """S = 0: opt = m-sync = tau_1, reached with one worker; heterogeneous data wait for the slowest."""
    times = [5.0, 2.0, 2.0, 7.0]
    assert theory.optimal_time(times, 0) == theory.m_synchronous_time(times, 0) == 2.0
    assert theory.best_m(times, 0) == theory.best_m_synchronous(times, 0) == 1
    assert theory.best_m([0.1] * 50, 0) == 1
    assert theory.optimal_time(times, 0, heterogeneous=True) == 7.0


@pytest.mark.parametrize(("n", "ratio"), [(10, 2.929), (100, 5.187), (1000, 7.485)])
def test_the_bound_on_m_synchronous_sgd_is_tight(n, ratio):
    """With tau_m = m / (m + s) and much noise the factor is 1 + 1/2 + ... + 1/n."""
    m, s = np.arange(1, n + 1), 1e9
    times = m / (m + s)
    found = theory.m_synchronous_time(times, s) / theory.optimal_time(times, s)
    assert found == pytest.approx(ratio, abs=6e-4)
    assert found <= theory.m_synchronous_factor(n)


def test_workers_that_never_answer():
    """The optimum ignores them, heterogeneous data wait for ever, and no warning is raised."""
    times = [INF, 1.0, 3.0, INF]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert theory.optimal_time(times, 5.0) == theory.optimal_time([1.0, 3.0], 5.0)
        assert theory.best_m(times, 5.0) == theory.best_m([1.0, 3.0], 5.0)
        assert theory.m_synchronous_time(times, 5.0) == theory.m_synchronous_time([1.0, 3.0], 5.0)
        assert theory.asynchronous_time(times, 5.0) == pytest.approx((4 + 5) / (4 / 3))
        for s in (0.0, 5.0):
            assert theory.optimal_time(times, s, heterogeneous=True) == INF
            assert theory.synchronous_time(times, s) == INF
            assert theory.rescaled_time(times, s) == INF
            assert theory.dude_time(times, s) == INF
            assert theory.optimal_time([INF], s) == INF
            assert theory.asynchronous_time([INF], s) == INF
        assert theory.convex_optimal_time(times, 0.1, smoothness=1, distance=1, heterogeneous=True) == INF


def test_convex_times_follow_from_steps_and_gradients():
    """Without noise sqrt(L / eps) R or sqrt(L / mu) steps in a row; equal workers share the noise; slow ones delay it."""
    times = [3.0, 1.0]
    assert theory.convex_optimal_time(times, 0.01, smoothness=4.0, distance=3.0) == pytest.approx(60)
    assert theory.convex_optimal_time(times, 0.01, smoothness=4.0, distance=3.0, heterogeneous=True) == pytest.approx(180)
    noisy = {"smoothness": 10.0, "distance": 1.0, "noise": 0.2}
    assert theory.convex_optimal_time([2.0] * 4, 0.1, **noisy) == pytest.approx(2 * (10 + 1))
    assert theory.convex_optimal_time(times, 0.1, heterogeneous=True, **noisy) == pytest.approx(3 * 10 + 2 * 4 / 2)
    strongly = {"smoothness": 9.0, "strong_convexity": 1.0}
    assert theory.strongly_convex_optimal_time(times, 0.1, **strongly) == pytest.approx(3)
    assert theory.strongly_convex_optimal_time([2.0] * 4, 0.1, noise=0.2, **strongly) == pytest.approx(2 * (3 + 0.1))
    assert theory.strongly_convex_optimal_time(times, 0.1, noise=0.2, heterogeneous=True, **strongly) == pytest.approx(
        3 * 3 + 2 * 0.4 / 2
    )


@pytest.mark.parametrize(("times", "accuracy"), [(np.sqrt(LINEAR[100]), 1.4e-5), (LINEAR[100], 1.9e-6)])
def test_rescaled_asgd_is_optimal_only_at_very_small_accuracies(times, accuracy):
    """With sigma = zeta = 1 and 100 workers, the leading term overtakes the second at the accuracies we computed."""

    def lead(eps):
        leading = theory.mean_time(times) / eps / len(times)
        second = theory.rescaled_time(times, 1 / eps, heterogeneity_ratio=1 / eps) - leading - times.max()
        return leading / second

    assert lead(accuracy) == pytest.approx(1, rel=0.03)
    assert lead(accuracy / 2) > 1 > lead(accuracy * 2)


def test_rescaled_step_belongs_to_rescaled_time():
    """For the step per second eta, 1 / (L eta) is the largest of the four terms of the time in units of L Delta / eps."""
    times, smoothness, eps = np.array([1.0, 3.0, 8.0]), 2.0, 0.01
    for noise, zeta, rho in [(0.0, 0.0, 0.0), (3.0, 0.0, 0.0), (0.1, 0.1, 0.0), (0.0, 0.0, 2.0)]:
        per_update = theory.rescaled_step_size(
            times, smoothness, eps, noise=noise, heterogeneity=zeta, growth=rho, largest_smoothness=1.5 * smoothness
        )
        largest = theory.harmonic_mean(times) / (len(times) * smoothness * per_update)
        total = theory.rescaled_time(
            times, noise**2 / eps, heterogeneity_ratio=zeta**2 / eps, growth=rho, smoothness_ratio=1.5
        )
        assert largest <= total * (1 + 1e-12)
        assert total <= 4 * largest


# Rounds in the fixed model.


def test_golden_rounds():
    """Tau = (1, 1.7, 2.3): Rennala with S = 4, Malenia with S = 6 and with S <= 3, the two fastest of m-Synchronous SGD."""
    for times in itertools.permutations([1.0, 1.7, 2.3]):
        assert theory.rennala_round_time(times, 4) == 2.3
        assert theory.malenia_round_time(times, 6) == 4.6
        assert [theory.malenia_round_time(times, batch) for batch in (1, 2, 3, None)] == [2.3] * 4
        assert theory.m_synchronous_round_time(times, 2) == 1.7
        np.testing.assert_allclose(theory.universal_times(times, 4, rounds=2), [2.3, 4.6])
        np.testing.assert_allclose(theory.universal_times(times, 6, rounds=2, heterogeneous=True), [4.6, 9.2])
        np.testing.assert_allclose(theory.universal_times(times, 2, rounds=2, heterogeneous=True), [2.3, 4.6])


@given(small_times, st.integers(1, 60))
@settings(deadline=None, max_examples=60)
def test_round_times_are_those_of_counting_arrivals(times, batch):
    """Rennala: the S-th arrival; Malenia: the first arrival after which the harmonic mean of counts is S / n."""
    n = len(times)
    arrivals = sorted((j * tau, i) for i, tau in enumerate(times) for j in range(1, 60 * batch + 60))
    assert theory.rennala_round_time(times, batch) == arrivals[batch - 1][0]
    counts = [0] * n
    for now, worker in arrivals:
        counts[worker] += 1
        if all(counts) and sum(1 / b for b in counts) * batch <= n * n * (1 + 1e-12):
            assert theory.malenia_round_time(times, batch) == now
            return
    raise AssertionError("not enough arrivals")


@given(positive_times, st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_round_times_stay_below_their_bounds(times, batch):
    """Rennala: min H_m (1 + S / m) and S gradients of the fastest; Malenia: max{tau_n, 2 tau_A S / n}."""
    seconds, n = theory.rennala_round_time(times, batch), len(times)
    assert seconds <= theory.optimal_time(times, batch) * (1 + 1e-9)
    assert batch * theory.harmonic_mean(times) / n * (1 - 1e-9) <= seconds <= batch * min(times) * (1 + 1e-9)
    seconds = theory.malenia_round_time(times, batch)
    assert max(times) * (1 - 1e-9) <= seconds
    assert seconds <= max(max(times), 2 * np.mean(times) * batch / n) * (1 + 1e-9)


def test_limits_of_rounds():
    """One gradient: the fastest worker; equal workers and S = n: minibatch; a billion gradients are not looped over."""
    times = [2.0, 5.0, 1.5]
    assert theory.rennala_round_time(times, 1) == theory.m_synchronous_round_time(times, 1) == 1.5
    assert theory.rennala_round_time([0.7] * 9, 9) == theory.malenia_round_time([0.7] * 9, 9) == 0.7
    assert theory.m_synchronous_round_time(times, 3) == theory.malenia_round_time(times) == 5.0
    assert theory.rennala_round_time([1e-6, 1.0], 10**9) == pytest.approx(1000, rel=1e-5)
    assert theory.rennala_round_time([INF, 2.0], 3) == 6.0
    assert theory.malenia_round_time([INF, 2.0]) == theory.malenia_round_time([INF, 2.0], 9) == INF
    assert theory.rennala_round_time([INF, INF], 3) == INF


def ringmaster(clocks, threshold, updates):
    """Times of the updates of Ringmaster ASGD without stops: gradients that are too old are dropped."""
    jobs = [(clock(0.0), i, 0) for i, clock in enumerate(clocks)]
    heapq.heapify(jobs)
    ends = []
    while len(ends) < updates:
        now, worker, read = heapq.heappop(jobs)
        if len(ends) - read < threshold:
            ends.append(now)
        heapq.heappush(jobs, (clocks[worker](now), worker, len(ends)))
    return np.array(ends)


@given(st.lists(st.floats(0.05, 20), min_size=1, max_size=6), st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_ringmaster_makes_its_updates_in_time(times, threshold):
    """Any R consecutive updates take at most t(R), and K of them at most the universal model's bound."""
    ends = np.append(0.0, ringmaster(fleet.fixed(times).clocks(), threshold, 40))
    assert (ends[threshold:] - ends[:-threshold]).max() <= theory.ringmaster_block_time(times, threshold) * (1 + 1e-9)
    blocks = theory.universal_ringmaster_times(times, threshold, blocks=math.ceil(40 / threshold))
    assert np.all(ends[::threshold][1:] <= blocks[: 40 // threshold] * (1 + 1e-9))
    assert blocks[0] == pytest.approx(4 * theory.rennala_round_time(times, threshold))


def test_time_of_a_growing_threshold():
    """Ringmaster LMO: the sum over blocks is below 6 min H_m (sqrt K + K / m); each full threshold has three blocks."""
    for times in ([1.0], [1.0, 1.7, 2.3], np.sqrt(LINEAR[100])):
        means = np.array([theory.harmonic_mean(times, m) for m in range(1, len(times) + 1)])
        m = np.arange(1, len(times) + 1)
        for updates in (1, 2, 3, 4, 8, 15, 16, 99, 1000):
            bound = 6 * np.min(means * (math.sqrt(updates) + updates / m))
            assert theory.ringmaster_lmo_time(times, updates) <= bound * (1 + 1e-9)
        blocks = [theory.ringmaster_block_time(times, r) for r in range(1, 10)]
        assert theory.ringmaster_lmo_time(times, 99) == pytest.approx(3 * sum(blocks))
        assert theory.ringmaster_lmo_time(times, 1) == blocks[0]


# Power that changes with time.


def rounds_by_events(times, powers, rounds, complete):
    """Arrival by arrival: the j-th gradient that starts after the last round's end is done at finish(end, j tau)."""
    ends, begin = [], 0.0
    constant = power([0.0], [1.0])
    for _ in range(rounds):
        counts = np.zeros(len(times))
        jobs = [(powers.get(i, constant).finish(begin, tau), i) for i, tau in enumerate(times)]
        heapq.heapify(jobs)
        while not complete(counts):
            now, worker = heapq.heappop(jobs)
            if now == INF or len(ends) > rounds or counts.sum() > 5000:
                return [*ends, *[INF] * (rounds - len(ends))]
            counts[worker] += 1
            heapq.heappush(jobs, (powers.get(worker, constant).finish(begin, (counts[worker] + 1) * times[worker]), worker))
        begin = now
        ends.append(now)
    return ends


@st.composite
def changing_powers(draw, n):
    powers = {}
    for worker in range(n):
        pieces = draw(st.integers(0, 4))
        gaps = draw(st.lists(st.integers(1, 16).map(lambda k: k / 4), min_size=pieces, max_size=pieces))
        values = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.0]), min_size=pieces + 1, max_size=pieces + 1))
        if draw(st.booleans()):
            powers[worker] = power(np.append(0.0, np.cumsum(gaps)), values)
    return powers


@given(small_times.flatmap(lambda t: st.tuples(st.just(t), changing_powers(len(t)))), st.integers(1, 12))
@settings(deadline=None, max_examples=80)
def test_changing_power_agrees_with_the_events(drawn, batch):
    """Rounds end at the arrivals that complete them, also through outages and after workers have stopped for ever."""
    times, powers = drawn
    found = theory.universal_times(times, batch, rounds=4, powers=powers)
    expected = rounds_by_events(times, powers, 4, lambda counts: counts.sum() >= batch)
    np.testing.assert_allclose(found, expected, rtol=1e-12)

    n, largest = len(times), max(batch, len(times))

    def balanced(counts):
        return bool(counts.all()) and (1 / counts).sum() * largest <= n * n * (1 + 1e-12)

    found = theory.universal_times(times, batch, rounds=3, powers=powers, heterogeneous=True)
    np.testing.assert_allclose(found, rounds_by_events(times, powers, 3, balanced), rtol=1e-12)


@given(positive_times, st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_constant_power_gives_the_exact_round_times(times, batch):
    """T_k is k rounds of Rennala, or of Malenia with S = max(s, n); power c divides all times by c."""
    rounds = np.arange(1, 4)
    homogeneous = theory.universal_times(times, batch, rounds=3)
    np.testing.assert_allclose(homogeneous, rounds * theory.rennala_round_time(times, batch), rtol=1e-11)
    heterogeneous = theory.universal_times(times, batch, rounds=3, heterogeneous=True)
    expected = rounds * theory.malenia_round_time(times, max(batch, len(times)))
    np.testing.assert_allclose(heterogeneous, expected, rtol=1e-11)
    fast = dict.fromkeys(range(len(times)), power([0.0, 1.0], [4.0, 4.0]))
    np.testing.assert_allclose(theory.universal_times(times, batch, rounds=3, powers=fast), homogeneous / 4, rtol=1e-11)


def test_a_worker_that_stops_for_ever():
    """Homogeneous data go on without it, heterogeneous ones never end, and neither do they when all have stopped."""
    stopped = fleet.equal(3).with_outages({1: [(2.5, INF)]})
    np.testing.assert_allclose(theory.universal_times(stopped.times, 4, rounds=3, powers=stopped.powers), [2.0, 4.0, 6.0])
    found = theory.universal_times(stopped.times, 4, rounds=3, powers=stopped.powers, heterogeneous=True)
    np.testing.assert_array_equal(found, [2.0, INF, INF])
    dead = dict.fromkeys(range(2), outages([(3.0, INF)]))
    np.testing.assert_array_equal(theory.universal_times([1.0, 2.0], 4, rounds=3, powers=dead), [3.0, INF, INF])
    np.testing.assert_array_equal(theory.universal_ringmaster_times([1.0, 2.0], 2, blocks=2, powers=dead), [INF, INF])
    np.testing.assert_array_equal(theory.universal_times([INF, 2.0], 2, rounds=2), [4.0, 8.0])


def test_counts_that_only_approach_what_is_needed():
    """If one of two workers stops after one gradient, the harmonic mean tends to 2: S = 4 is never reached, S = 3 is."""
    powers = {0: outages([(1.5, INF)])}
    assert theory.universal_times([1.0, 1.0], 4.0, rounds=1, powers=powers, heterogeneous=True)[0] == INF
    assert theory.universal_times([1.0, 1.0], 3.0, rounds=1, powers=powers, heterogeneous=True)[0] == 3.0


def test_long_outages_cost_no_time():
    """A fast worker's million gradients during another's outage are not looped over."""
    powers = {1: outages([(0.0, 1e9)])}
    found = theory.universal_times([1e-3, 1.0], 10.0, rounds=3, powers=powers, heterogeneous=True)
    np.testing.assert_allclose(found - 1e9, [3.0, 6.0, 9.0], atol=1e-3)


def test_rounding_loses_no_gradient_before_an_outage():
    """Three jobs of 0.1 s are done when an outage begins at 0.3 s, though 3 * 0.1 > 0.3."""
    powers = dict.fromkeys(range(2), outages([(0.3, 7.0)]))
    np.testing.assert_allclose(theory.universal_times([0.1, 0.1], 6, rounds=2, powers=powers), [0.3, 7.3], rtol=1e-12)


def test_ringmaster_with_changing_power_stays_in_time():
    """Simulated with outages and changing speed, R, 2 R, ... updates are made before the bound."""
    workers = fleet.fixed([1.0, 1.7, 2.3, 0.4]).with_power(0, [0.0, 7.0, 20.0], [1.0, 0.1, 3.0])
    workers = workers.with_outages({3: [(2.0, 30.0), (33.0, INF)], 1: [(0.0, 11.0)]})
    for threshold in (1, 2, 5):
        ends = ringmaster(workers.clocks(), threshold, 60)
        bound = theory.universal_ringmaster_times(workers.times, threshold, blocks=60 // threshold, powers=workers.powers)
        assert np.all(ends[threshold - 1 :: threshold] <= bound)


# Thresholds and batches.


def test_thresholds_and_batches():
    """Whole numbers from s, at least n for Malenia; rounding of sigma^2 / eps adds nothing; sqrt(m s) for known times."""
    for s, expected in [(0.0, 1), (0.2, 1), (1.0, 1), (17.29, 18), (0.9 / 0.3, 3), (1000.0, 1000)]:
        assert theory.ringmaster_threshold(s) == theory.rennala_batch(s) == expected
        assert theory.malenia_batch(s, 100) == max(100, expected)
    times = LINEAR[1000]
    assert theory.ringmaster_threshold(1000, times=times) == math.ceil(math.sqrt(204 * 1000))
    assert theory.ringmaster_threshold(0, times=times) == 1


def test_the_tau_aware_threshold_minimises_its_product():
    """R = sqrt(m s), before it is rounded up, is at least as good in (1 + R / m)(1 + s / R) as any other."""
    times, s = np.sqrt(LINEAR[100]), 17.29
    m = theory.best_m(times, s)
    found = theory.ringmaster_threshold(s, times=times)
    cost = [(1 + r / m) * (1 + s / r) for r in range(1, 200)]
    assert abs(found - 1 - int(np.argmin(cost))) <= 1


def test_ringleader_batch():
    """tau_n / (2 tau_A), and never less than 1: everybody delivers in each round."""
    assert theory.ringleader_batch([1.0] * 999 + [1001.0]) == pytest.approx(1001 / 4)
    assert theory.ringleader_batch([1.0, 1.0]) == 1.0


# MindFlayer SGD.


def test_mindflayer_one_device_example():
    """Tau = 1 and log-normal extra time with sigma = 2.5: 23.76 seconds per gradient uncut, 3.28 cut at the median."""
    assert theory.mindflayer_lognormal_gradient_time(1.0, 2.5) == pytest.approx(23.76, abs=5e-3)
    assert theory.mindflayer_lognormal_gradient_time(1.0, 2.5) == pytest.approx(1 + math.exp(3.125))
    assert theory.mindflayer_lognormal_gradient_time(1.0, 2.5, extra_time=1.0) == pytest.approx(3.28, abs=5e-3)
    assert theory.mindflayer_lognormal_gradient_time(1.0, 2.5, extra_time=1e30) == pytest.approx(1 + math.exp(3.125))


@pytest.mark.parametrize("extra_time", [0.5, 1.0, 3.0, INF])
def test_mindflayer_closed_form_agrees_with_draws(extra_time):
    """The log-normal formula and the mean over many draws."""
    draws = np.random.default_rng(0).lognormal(0.3, 0.7, 200_000)
    found = theory.mindflayer_gradient_time(2.0, draws, extra_time=extra_time)
    assert found == pytest.approx(
        theory.mindflayer_lognormal_gradient_time(2.0, 0.7, extra_time=extra_time, mu=0.3), rel=0.02
    )


@given(
    st.lists(
        st.tuples(st.floats(0.01, 10), st.floats(0, 10), st.sampled_from([0.0, 0.1, 0.5, 1.0])), min_size=1, max_size=8
    ),
    st.floats(0.1, 100),
)
@settings(deadline=None)
def test_mindflayer_trials_collect_the_batch_within_the_time(workers, batch):
    """Sum p_i B_i >= S, a round takes at most T seconds, workers that never succeed make no trial."""
    times, extra_time, success = (np.array(column) for column in zip(*workers, strict=True))
    if not success.any():
        with pytest.raises(ValueError, match="no worker ever finishes a trial"):
            theory.mindflayer_trials(times, batch, extra_time=extra_time, success=success)
        return
    trials = theory.mindflayer_trials(times, batch, extra_time=extra_time, success=success)
    assert success @ trials >= batch * (1 - 1e-9)
    assert np.all(trials[success == 0] == 0)
    if batch >= 1:
        longest = theory.mindflayer_time(times, batch, extra_time=extra_time, success=success)
        assert np.max(trials * (times + extra_time)) <= longest * (1 + 1e-9)


@given(positive_times, st.floats(1, 1e4))
@settings(deadline=None)
def test_mindflayer_without_randomness_is_optimal(times, s):
    """No extra time and certain success: the optimal time."""
    assert theory.mindflayer_time(times, s, extra_time=0.0, success=1.0) == pytest.approx(
        theory.optimal_time(times, s), rel=1e-11
    )


def test_mindflayer_is_the_formula_of_the_paper():
    """((1/m) sum p / (tau + t))^-1 (S/m + (1/m) sum p), least over m, with S = max(s, 1)."""
    times, extra_time, p = np.array([1.0, 4.0, 2.0]), np.array([1.0, 0.5, 0.1]), np.array([0.5, 0.9, 0.3])
    order = np.argsort(times + extra_time)
    for s in (0.0, 3.0, 50.0):
        candidates = []
        for m in (1, 2, 3):
            first = order[:m]
            speed = np.mean(p[first] / (times + extra_time)[first])
            candidates.append((max(s, 1) / m + p[first].mean()) / speed)
        assert theory.mindflayer_time(times, s, extra_time=extra_time, success=p) == pytest.approx(min(candidates))
    cut = {"extra_time": 1.0, "success": 0.5}
    assert theory.mindflayer_time([1.0, INF], 9.0, **cut) == theory.mindflayer_time([1.0], 9.0, **cut)


# Random clients.

CLIENTS = [10.0] * 900 + [60.0] * 100
FEW_CLIENTS = [1.0] * 9 + [6.0]


def test_lemma_11_of_koloskova():
    """15 s against 42.566 s per 10 gradients; never more than the minibatch; with queues 15.273 s and 6.0008 s."""
    assert theory.random_assignment_time(CLIENTS, 10) == 15
    assert theory.sampled_minibatch_time(CLIENTS, 10) == pytest.approx(60 - 50 * 0.9**10)
    assert theory.sampled_minibatch_time(CLIENTS, 10) == pytest.approx(42.566, abs=5e-4)
    assert theory.random_assignment_time(CLIENTS, 10, queues=True) == pytest.approx(15.273, abs=5e-4)
    assert theory.random_assignment_time(FEW_CLIENTS, 10) == pytest.approx(1.5)
    assert theory.random_assignment_time(FEW_CLIENTS, 10, queues=True) == pytest.approx(6.0008, abs=5e-5)
    assert theory.sampled_minibatch_time(FEW_CLIENTS, 10) == pytest.approx(6 - 5 * 0.9**10)
    assert theory.sampled_minibatch_time(FEW_CLIENTS, 10) == pytest.approx(4.257, abs=5e-4)


@given(positive_times, st.integers(1, 30))
@settings(deadline=None)
def test_waiting_for_drawn_clients_never_helps(times, concurrency):
    """Without queues <= minibatch, with equality for C = 1; queues cost time; the product form is that of its polynomial."""
    free = theory.random_assignment_time(times, concurrency)
    queued = theory.random_assignment_time(times, concurrency, queues=True)
    assert free <= theory.sampled_minibatch_time(times, concurrency) * (1 + 1e-9)
    assert free <= queued * (1 + 1e-9)
    assert theory.sampled_minibatch_time(times, 1) == pytest.approx(free)
    assert theory.random_assignment_time(times, 1, queues=True) == pytest.approx(free)
    g = np.zeros(concurrency + 1)
    g[0] = 1.0
    for tau in times:
        for c in range(1, concurrency + 1):
            g[c] += tau / len(times) * g[c - 1]
    assert queued == pytest.approx(concurrency * g[-1] / g[-2], rel=1e-9)


def test_random_clients_take_that_long():
    """Schedules of 20000 updates: parallel jobs of fixed length, queued jobs of exponential length."""
    for clients in (CLIENTS, FEW_CLIENTS):
        parallel = protocols.asynchronous(
            fleet.fixed(clients), 20_000, assignment="random", concurrency=10, parallel=True, seed=1
        )
        queued = protocols.asynchronous(fleet.exponential(clients), 20_000, assignment="random", concurrency=10, seed=1)
        for schedule, queues in ((parallel, False), (queued, True)):
            expected = theory.random_assignment_time(clients, 10, queues=queues)
            assert schedule.time[-1] / 2000 == pytest.approx(expected, rel=0.04)
    assert theory.random_assignment_time([1.0, INF], 2) == theory.sampled_minibatch_time([1.0, INF], 2) == INF
    assert theory.random_assignment_time([2.0], 7, queues=True) == 14.0


# Step sizes and numbers of steps.

CONSTANTS = {"smoothness": 2.0, "gap": 3.0, "accuracy": 0.01}


def test_step_sizes_of_sgd_are_limits():
    """Ringmaster with R = 1, Birch at distance 0 or 1 and MindFlayer without noise take 1 / (2 L), Rennala 1 / L."""
    for noise in (0.0, 0.3, 5.0):
        birch = theory.birch_step_size(2.0, 0.01, distance=0, noise=noise)
        assert birch == theory.birch_step_size(2.0, 0.01, distance=1, noise=noise)
        assert birch == theory.ringmaster_step_size(2.0, 0.01, threshold=1, noise=noise)
    assert theory.birch_step_size(2.0, 0.01, distance=0) == theory.mindflayer_step_size(2.0, 0.01, batch=1) == 0.25
    assert theory.rennala_step_size(2.0, 0.01, batch=1) == 0.5
    assert theory.asynchronous_step_size(2.0, 1, 0) == 0.25


def test_noisy_step_sizes_are_the_formulas():
    """Eps S / (2 L sigma^2), eps / (4 L sigma^2), eps B / (10 L sigma^2), eps B / (2 L sigma^2)."""
    noise, unit = 10.0, 0.01 / (2.0 * 100)
    assert theory.rennala_step_size(2.0, 0.01, batch=3, noise=noise) == pytest.approx(3 * unit / 2)
    assert theory.ringmaster_step_size(2.0, 0.01, threshold=3, noise=noise) == pytest.approx(unit / 4)
    assert theory.birch_step_size(2.0, 0.01, distance=3, noise=noise) == pytest.approx(unit / 4)
    assert theory.ringleader_step_size(2.0, 0.01, num_workers=3, noise=noise, batch=4.0) == pytest.approx(4 * unit / 10)
    assert theory.mindflayer_step_size(2.0, 0.01, batch=3, noise=noise) == pytest.approx(3 * unit / 2)
    assert theory.ringmaster_step_size(2.0, 0.01, threshold=3) == pytest.approx(1 / 12)
    assert theory.ringleader_step_size(2.0, 0.01, num_workers=3) == pytest.approx(1 / 48)


@given(st.floats(0, 3), st.integers(1, 50))
@settings(deadline=None)
def test_steps_times_step_size_is_a_constant(noise, n):
    """K gamma eps / Delta: between 4 and 8 for Ringleader and Ringmaster, 2 and 6 for Birch from R = 1 on; MindFlayer 4."""
    few = {"smoothness": 2.0, "accuracy": 0.01}

    def product(step, steps):
        return step * (steps - 1) * 0.01 / 3.0, step * steps * 0.01 / 3.0

    def within(pair, low, high):
        return low <= pair[1] * (1 + 1e-9) and pair[0] <= high * (1 + 1e-9)

    ringleader = theory.ringleader_step_size(**few, num_workers=n, noise=noise)
    assert within(product(ringleader, theory.ringleader_iterations(**CONSTANTS, num_workers=n, noise=noise)), 4, 8)
    ringmaster = theory.ringmaster_step_size(**few, threshold=n, noise=noise)
    assert within(product(ringmaster, theory.ringmaster_iterations(**CONSTANTS, threshold=n, noise=noise)), 4, 8)
    birch = theory.birch_step_size(**few, distance=n, noise=noise)
    assert within(product(birch, theory.birch_iterations(**CONSTANTS, distance=n, noise=noise)), 2, 6)
    mindflayer = theory.mindflayer_step_size(**few, batch=n, noise=noise)
    assert within(product(mindflayer, theory.mindflayer_iterations(**CONSTANTS, batch=n, noise=noise)), 4, 4)


def test_numbers_of_steps():
    """Rennala's 24 L Delta / eps; Ringmaster; DuDe's minimum, which its step accepts and where it is 1 / (64 L tau)."""
    assert theory.rennala_iterations(**CONSTANTS) == 14_400
    assert theory.ringmaster_iterations(**CONSTANTS, threshold=4, noise=0.2) == 600 * (32 + 64)
    fewest = theory.dude_iterations(2.0, 3.0, num_workers=4, max_delay=10)
    assert theory.dude_step_size(2.0, 4, 3.0, 10, fewest) == pytest.approx(1 / (64 * 2.0 * 10))
    with pytest.raises(ValueError, match="needs at least"):
        theory.dude_step_size(2.0, 4, 3.0, 10, fewest - 1)


def test_orders_of_koloskova():
    """L Delta / eps times s + sqrt(C tau), s + C G / sqrt(eps) + C, s + C; round-robin delays leave nothing to adapt to."""
    few = {**CONSTANTS, "concurrency": 16, "noise": 0.2}
    assert theory.asynchronous_iterations(**few, max_delay=25) == pytest.approx(600 * (4 + 20))
    assert theory.asynchronous_iterations(**few, lipschitz=0.5) == pytest.approx(600 * (4 + 80 + 16))
    assert theory.delay_adaptive_iterations(**few) == pytest.approx(600 * (4 + 16))
    assert theory.asynchronous_iterations(**few, max_delay=16) == pytest.approx(theory.delay_adaptive_iterations(**few))
    clients = {"mean_delays": [2.0, 6.0], "max_delay": 9.0, "noise": 0.2}
    assert theory.random_assignment_iterations(**CONSTANTS, heterogeneity=0.0, **clients) == pytest.approx(600 * (4 + 6))
    found = theory.random_assignment_iterations(**CONSTANTS, heterogeneity=[0.1, 0.3], **clients)
    drift = math.sqrt(4 * (0.01 * 2 + 0.09 * 6) / 2 / 0.01)
    assert found == pytest.approx(600 * (4 + 5 + drift + 6))


# Bounds, held to simulations in NumPy: all random runs at once, a few fleets.

RUNS, UPDATES, WORKERS = 30, 400, 5
FLEETS = {
    "linear": lambda: fleet.fixed(1.0 + np.arange(WORKERS)),
    "exponential": lambda: fleet.exponential([1.0] * WORKERS),
    "heavy": lambda: fleet.pareto([1.2] * WORKERS, offset=0.001),
    "straggling": lambda: fleet.stragglers(1.0 + 0.01 * np.arange(WORKERS), 100.0, 0.01),
}
every_fleet = pytest.mark.parametrize("name", FLEETS)
SPECTRUM = np.linspace(0.01, 1, 10)
START = 2.0 + np.zeros(10)


def quadratic(x):
    return SPECTRUM * x


def gap_of_quadratic(x):
    return 0.5 * np.sum(SPECTRUM * x**2, axis=-1)


def squared(gradients):
    return np.sum(gradients**2, axis=-1)


def asynchronous_run(schedule, gradient, step, noise):
    """Points x_0, ..., x_K of all runs, (K + 1, RUNS, d), for steps that depend on the delay."""
    rng, points = np.random.default_rng(0), np.empty((len(schedule) + 1, RUNS, len(START)))
    points[0] = START
    for k, (read, delay) in enumerate(zip(schedule.read, schedule.delay, strict=True)):
        g = gradient(points[read]) + noise / math.sqrt(len(START)) * rng.normal(size=points[0].shape)
        points[k + 1] = points[k] - step(delay) * g
    return points


def steps_of_starting_gradients(schedule, step):
    """For x_1, ..., x_K the step with which the gradient computed there is applied; at the end, that of its age."""
    steps = np.array([step(len(schedule) - k) for k in range(len(schedule) + 1)])
    later = schedule.read > 0
    steps[schedule.read[later]] = [step(delay) for delay in schedule.delay[later]]
    return steps[1:]


@every_fleet
def test_bound_for_lipschitz_functions_holds(name):
    """Convex F with bounded gradients, constant step: |x|_1 / sqrt(d) and noise."""
    schedule, noise = protocols.asynchronous(FLEETS[name](), UPDATES, seed=2), 0.5
    known = {"distance": np.linalg.norm(START), "lipschitz": math.sqrt(1 + noise**2), "concurrency": WORKERS}
    step = theory.lipschitz_step_size(**known, updates=UPDATES)
    points = asynchronous_run(schedule, lambda x: np.sign(x) / math.sqrt(len(START)), lambda _: step, noise)
    found = np.mean(np.abs(points[1:]).sum(axis=-1) / math.sqrt(len(START)))
    assert found <= theory.lipschitz_bound(step, **known, updates=UPDATES)


@every_fleet
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_bounds_for_delay_adaptive_steps_hold(name, noise):
    """Steps min(gamma, 1 / (4 L delay)): sum of steps at least gamma K / 2, squared norms and gaps below their bounds."""
    schedule, gamma = protocols.asynchronous(FLEETS[name](), UPDATES, seed=2), 1 / (4 * WORKERS)

    def step(delay):
        return min(gamma, 1 / (4 * max(delay, 1)))

    points = asynchronous_run(schedule, quadratic, step, noise)[1:]
    weights = steps_of_starting_gradients(schedule, step)
    assert weights.sum() >= gamma * UPDATES / 2
    known = {"smoothness": 1.0, "concurrency": WORKERS, "updates": UPDATES, "noise": noise}
    norms = np.average(squared(quadratic(points)).mean(axis=1), weights=weights)
    gap = gap_of_quadratic(START)
    sharp = theory.delay_adaptive_bound(gamma, gap=gap, **known, sum_of_steps=weights.sum())
    assert norms <= sharp <= theory.delay_adaptive_bound(gamma, gap=gap, **known)
    gaps, distance = np.average(gap_of_quadratic(points).mean(axis=1), weights=weights), np.linalg.norm(START)
    sharp = theory.convex_delay_adaptive_bound(gamma, distance=distance, **known, sum_of_steps=weights.sum())
    assert gaps <= sharp <= theory.convex_delay_adaptive_bound(gamma, distance=distance, **known)


@every_fleet
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_bound_for_constant_steps_holds(name, noise):
    """Steps up to 1 / (L sqrt(8 (M - 1) max_delay)), once everybody has delivered."""
    schedule = protocols.asynchronous(FLEETS[name](), UPDATES, seed=2)
    assert len(np.unique(schedule.worker)) == WORKERS
    in_flight = UPDATES - np.array([schedule.version[schedule.worker == i].max() + 1 for i in range(WORKERS)])
    late = int(max(schedule.delay.max(), in_flight.max()))
    step = theory.asynchronous_step_size(1.0, WORKERS, late)
    points = asynchronous_run(schedule, quadratic, lambda _: step, noise)[1:]
    known = {"smoothness": 1.0, "concurrency": WORKERS, "max_delay": late, "updates": UPDATES, "noise": noise}
    assert squared(quadratic(points)).mean() <= theory.asynchronous_bound(step, gap=gap_of_quadratic(START), **known)


@every_fleet
@pytest.mark.parametrize("step", [0.02, 0.1, 0.5])
def test_bound_for_bounded_gradients_holds(name, step):
    """The sum of sqrt(1 + x^2), whose gradient is at most sqrt(d), with steps up to 1 / (2 L), whatever the delays."""
    schedule, noise = protocols.asynchronous(FLEETS[name](), UPDATES, seed=2), 0.5

    def gradient(x):
        return x / np.sqrt(1 + x**2)

    points = asynchronous_run(schedule, gradient, lambda _: step, noise)[1:]
    bound = theory.bounded_gradient_bound(
        step,
        smoothness=1.0,
        concurrency=WORKERS,
        lipschitz=math.sqrt(len(START)),
        gap=float(np.sum(np.sqrt(1 + START**2) - 1)),
        updates=UPDATES,
        noise=noise,
    )
    assert squared(gradient(points)).mean() <= bound


def ormo_run(schedule, gradient, step, momentum, noise):
    """Squared norms at the points of the gradients, in the order of arrival, and their steps."""
    rng, points = np.random.default_rng(0), np.empty((len(schedule) + 1, RUNS, len(START)))
    points[0], memory, group = START, np.zeros((RUNS, len(START))), 0
    norms, steps = [], []
    for k, (read, delay) in enumerate(zip(schedule.read, schedule.delay, strict=True)):
        x = points[k]
        newest = -(-k // WORKERS)
        if newest > group:
            memory, group = momentum * memory, newest
            x = x - memory
        exact, eta = gradient(points[read]), step(delay)
        g = eta * (exact + noise / math.sqrt(len(START)) * rng.normal(size=x.shape))
        late = momentum ** (newest + (-read // WORKERS))
        memory = memory + late * g
        points[k + 1] = x - (1 - momentum * late) / (1 - momentum) * g
        norms.append(squared(exact).mean())
        steps.append(eta)
    return np.array(norms), np.array(steps)


@every_fleet
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_bounds_for_ordered_momentum_hold(name, momentum):
    """Constant steps with bounded gradients; delay-adaptive steps without, the cap with (1 - momentum) too."""
    schedule, noise = protocols.asynchronous(FLEETS[name](), UPDATES, seed=2), 1.0
    known = {"smoothness": 1.0, "num_workers": WORKERS, "updates": UPDATES, "noise": noise}
    eta = theory.ormo_step_size(1.0, momentum, WORKERS)

    def bounded(x):
        return x / np.sqrt(1 + x**2)

    norms, _ = ormo_run(schedule, bounded, lambda _: eta, momentum, noise)
    gap = float(np.sum(np.sqrt(1 + START**2) - 1))
    assert norms.mean() <= theory.ormo_bound(eta, momentum, lipschitz=math.sqrt(len(START)), gap=gap, **known)
    for cap, capped in ((1.0, False), (1 - momentum, True)):

        def adaptive(delay, cap=cap):
            return eta if delay <= 2 * WORKERS else min(eta, cap / (4 * delay))

        norms, steps = ormo_run(schedule, quadratic, adaptive, momentum, noise)
        bound = theory.ormo_da_bound(eta, momentum, gap=gap_of_quadratic(START), capped=capped, **known)
        assert np.average(norms, weights=steps) <= bound


@every_fleet
def test_bound_for_gradient_tables_holds(name):
    """DuDe-ASGD on heterogeneous quadratics, from a full table on."""
    schedule = protocols.asynchronous(FLEETS[name](), UPDATES + WORKERS, first_round="together", seed=2)
    schedule_read, noise = schedule.read[WORKERS:] - WORKERS, 2.0
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(WORKERS, len(START))) * 3
    centres -= centres.mean(axis=0)
    ages, age = np.ones(WORKERS, int), 1
    for worker, delay in zip(schedule.worker[WORKERS:], schedule.delay[WORKERS:], strict=True):
        ages += 1
        ages[worker] = delay + 1
        age = max(age, int(ages.max()))
    step = 1 / (5 * max(1, age - 1))

    def noisy(x, worker):
        return SPECTRUM * (x - centres[worker]) + noise / math.sqrt(len(START)) * rng.normal(size=x.shape)

    start = np.broadcast_to(START, (RUNS, len(START)))
    table = np.stack([noisy(start, i) for i in range(WORKERS)])
    points = np.empty((UPDATES + 1, *start.shape))
    points[0] = start - step * table.mean(axis=0)  # the bootstrap step of the common round
    norms = [squared(quadratic(start)).mean()]
    for k, (worker, read) in enumerate(zip(schedule.worker[WORKERS:], schedule_read, strict=True)):
        table[worker] = noisy(points[read], worker)
        points[k + 1] = points[k] - step * table.mean(axis=0)
        norms.append(squared(quadratic(points[k])).mean())
    bound = theory.dude_bound(
        step,
        smoothness=1.0,
        num_workers=WORKERS,
        max_delay=age,
        gap=float(gap_of_quadratic(START)),
        updates=len(norms),
        noise=noise,
    )
    assert np.mean(norms) <= bound


def test_tuned_bounds():
    """About sqrt(2) G D sqrt(M / K), and 64 L M Delta / K + 20 sqrt(L Delta sigma^2 / K), as their step sizes promise."""
    step = theory.lipschitz_step_size(2.0, 3.0, 20, 4000)
    bound = theory.lipschitz_bound(step, distance=2.0, lipschitz=3.0, concurrency=20, updates=4000)
    assert bound == pytest.approx(math.sqrt(2) * 6 * math.sqrt(20 / 4000), rel=0.03)
    for noise in (0.1, 0.5, 2.0):
        step = theory.delay_adaptive_step_size(1.0, 20, noise=noise, gap=5.0, updates=4000)
        bound = theory.delay_adaptive_bound(step, smoothness=1.0, concurrency=20, gap=5.0, updates=4000, noise=noise)
        assert bound <= 1.1 * (64 * 20 * 5 / 4000 + 20 * math.sqrt(5 * noise**2 / 4000))


def test_tuned_bound_for_gradient_tables():
    """At the paper's step: (4 + 2.7 sigma^2) sqrt(L Delta m / (n T)), m one below the largest age."""
    n, age, gap, smoothness, noise = 4, 101, 3.0, 2.0, 0.7
    updates = theory.dude_iterations(smoothness, gap, num_workers=n, max_delay=age)
    step = theory.dude_step_size(smoothness, n, gap, age, updates)
    bound = theory.dude_bound(
        step, smoothness=smoothness, num_workers=n, max_delay=age, gap=gap, updates=updates, noise=noise
    )
    root = math.sqrt(smoothness * gap * 100 / (n * updates))
    assert bound == pytest.approx((4 + 2.7 * noise**2) * root, rel=0.01)


def test_one_worker_is_sgd():
    """With one worker nothing is late: the bounds' delay terms vanish, momentum 0 leaves OrMo's bound to SGD's."""
    known = {"smoothness": 1.0, "gap": 2.0, "updates": 100, "noise": 0.5}
    found = theory.bounded_gradient_bound(0.1, concurrency=1, lipschitz=7.0, **known)
    assert found == pytest.approx(4 * (2 + 0.1**2 / 8) / 10 + 2 * 0.1 / 4)
    assert theory.ormo_bound(0.1, 0.0, num_workers=1, lipschitz=7.0, **known) == pytest.approx(8 / 10 + 2 * 0.1 / 4)
    assert theory.ormo_da_bound(0.1, 0.0, num_workers=1, **known) == theory.ormo_da_bound(
        0.1, 0.0, num_workers=1, capped=True, **known
    )
    assert theory.dude_bound(0.1, num_workers=1, max_delay=1, **known) == theory.dude_bound(
        0.1, num_workers=1, max_delay=2, **known
    )


# What has no answer.

TIMES_FUNCTIONS = [
    lambda times: theory.harmonic_mean(times),
    lambda times: theory.mean_time(times),
    lambda times: theory.update_shares(times),
    lambda times: theory.optimal_time(times, 1.0),
    lambda times: theory.optimal_time(times, 1.0, heterogeneous=True),
    lambda times: theory.convex_optimal_time(times, 0.1, smoothness=1.0, distance=1.0),
    lambda times: theory.asynchronous_time(times, 1.0),
    lambda times: theory.synchronous_time(times, 1.0),
    lambda times: theory.m_synchronous_time(times, 1.0),
    lambda times: theory.rescaled_time(times, 1.0),
    lambda times: theory.best_m(times, 1.0),
    lambda times: theory.best_m_synchronous(times, 1.0),
    lambda times: theory.ringleader_batch(times),
    lambda times: theory.rennala_round_time(times, 2),
    lambda times: theory.malenia_round_time(times),
    lambda times: theory.ringmaster_block_time(times, 2),
    lambda times: theory.universal_times(times, 1.0, rounds=2),
    lambda times: theory.mindflayer_time(times, 1.0, extra_time=1.0, success=0.5),
    lambda times: theory.random_assignment_time(times, 2),
    lambda times: theory.sampled_minibatch_time(times, 2),
    lambda times: theory.rescaled_step_size(times, 1.0, 0.1),
]


@pytest.mark.parametrize("index", range(len(TIMES_FUNCTIONS)))
def test_bad_times_are_refused(index):
    """Empty, not flat, zero, negative and NaN: one sentence that names the worker."""
    for times, message in [
        ([], "seconds per gradient of each worker"),
        (1.0, "seconds per gradient of each worker"),
        ([[1.0]], "seconds per gradient of each worker"),
        ([1.0, 0.0], "`times` must be positive, worker 1 has 0.0"),
        ([1.0, 2.0, -1.0], "`times` must be positive, worker 2 has -1.0"),
        ([NAN, 1.0], "`times` must be positive, worker 0 has nan"),
    ]:
        with pytest.raises(ValueError, match=message):
            TIMES_FUNCTIONS[index](times)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.optimal_time([1.0], -1.0), "`noise_ratio` must not be negative"),
        (lambda: theory.optimal_time([1.0], NAN), "`noise_ratio` must not be negative"),
        (lambda: theory.ringmaster_threshold(INF), "`noise_ratio` must not be negative, nor infinite"),
        (lambda: theory.harmonic_mean([1.0], m=2), "`m` must count some of the 1 workers"),
        (lambda: theory.m_synchronous_time([1.0], 1.0, m=2), "`m` must count some of the 1 workers"),
        (lambda: theory.update_shares([INF]), "nobody ever answers"),
        (lambda: theory.ringleader_batch([1.0, INF]), "worker 1 never answers"),
        (lambda: theory.rescaled_step_size([INF], 1.0, 0.1), "worker 0 never answers"),
        (lambda: theory.rennala_round_time([1.0], 0), "`batch` must be a positive whole number"),
        (lambda: theory.malenia_round_time([1.0], 1.5), "`batch` must be a positive whole number"),
        (lambda: theory.universal_times([1.0], 1.0, rounds=0), "`rounds` must be a positive whole number"),
        (lambda: theory.universal_times([1.0], 1.0, rounds=1, powers={1: outages([])}), "names worker 1"),
        (lambda: theory.dude_time([1.0], 1.0, smoothness_ratio=0.5), "at least 1"),
        (
            lambda: theory.strongly_convex_optimal_time([1.0], 0.1, smoothness=1.0, strong_convexity=2.0),
            "cannot exceed `smoothness`",
        ),
        (lambda: theory.mindflayer_time([1.0], 1.0, extra_time=1.0, success=1.5), r"`success` must be in \[0, 1\]"),
        (lambda: theory.mindflayer_time([1.0], 1.0, extra_time=[1.0, 2.0], success=0.5), "one for each of the 1 workers"),
        (lambda: theory.mindflayer_time([INF], 1.0, extra_time=1.0, success=0.5), "no worker ever finishes"),
        (lambda: theory.mindflayer_gradient_time(1.0, [-1.0]), "`extra` must be"),
        (lambda: theory.asynchronous_iterations(1.0, 1.0, 0.1, concurrency=2), "either `max_delay` or `lipschitz`"),
        (lambda: theory.rennala_iterations(1.0, 1.0, 0.0), "`accuracy` must be positive"),
        (
            lambda: theory.random_assignment_iterations(1.0, 1.0, -1.0, mean_delays=[1.0], heterogeneity=0.0, max_delay=1.0),
            "`accuracy` must be positive",
        ),
        (lambda: theory.ringmaster_step_size(1.0, 0.1, threshold=0), "`threshold` must be a positive whole number"),
        (lambda: theory.ormo_step_size(1.0, 1.0, 4), "`momentum` must be in"),
        (
            lambda: theory.delay_adaptive_bound(0.2, smoothness=1.0, concurrency=2, gap=1.0, updates=9),
            "step sizes up to 1 / .4 L M. = 0.125, got 0.2",
        ),
        (
            lambda: theory.asynchronous_bound(0.1, smoothness=1.0, concurrency=9, max_delay=2, gap=1.0, updates=9),
            "each of which has delivered",
        ),
        (
            lambda: theory.dude_bound(0.3, smoothness=1.0, num_workers=2, max_delay=1, gap=1.0, updates=9),
            "step sizes up to",
        ),
    ],
)
def test_what_has_no_answer_is_refused(call, message):
    """One clear sentence."""
    with pytest.raises(ValueError, match=message):
        call()


def test_all_names_are_exported_in_order():
    """The package lists its functions alphabetically, and they return plain Python numbers."""
    assert theory.__all__ == sorted(theory.__all__)
    assert all(callable(getattr(theory, name)) for name in theory.__all__)
    assert type(theory.optimal_time([1.0, 2.0], 3)) is float
    assert type(theory.best_m([1.0, 2.0], 3)) is int
    assert type(theory.ringmaster_threshold(3)) is int
