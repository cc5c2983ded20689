"""The equilibrium time and Shadowheart's counts: the definition, closed forms, invariants, and what must be refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd import theory

INF, NAN = float("inf"), float("nan")

seconds = st.one_of(st.just(0.0), st.floats(1e-4, 1e4), st.just(INF))
workers = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=8)
positive = st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=8)
ratios = st.one_of(st.just(0.0), st.floats(1e-2, 1e4))


def time_of(pairs, omega, s):
    return theory.equilibrium_time(omega, s, [h for h, _ in pairs], [tau for _, tau in pairs])


def counts_of(pairs, omega, s, **options):
    return theory.shadowheart_counts(omega, s, [h for h, _ in pairs], [tau for _, tau in pairs], **options)


def defined(pairs, omega, s):
    """Min over j of max(M_j, s*(j)): workers sorted, and for each j its own equation solved by bisection of logarithms."""
    pairs = sorted((pair for pair in pairs if max(pair) < INF), key=max)

    def inverse_sum(first, unknown):
        """The sum of 1 / (2 tau omega + 4 tau h s omega / S + 2 h s) over the first workers."""
        total = 0.0
        for h, tau in first:
            denominator = 2 * tau * omega + 4 * tau * h * s * omega / unknown + 2 * h * s
            total += INF if denominator == 0 else 1 / denominator
        return total

    best = INF
    for j in range(1, len(pairs) + 1):
        first = pairs[:j]
        if any(tau * omega == 0 and h * s == 0 for h, tau in first):
            root = 0.0
        else:
            low, high = -100.0, 100.0
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (low, middle) if math.exp(middle) * inverse_sum(first, math.exp(middle)) >= 1 else (middle, high)
            root = math.exp(high)
        best = min(best, max(max(pairs[j - 1]), root))
    return best


# The equilibrium time.


@given(workers, ratios, ratios)
@settings(deadline=None, max_examples=300)
def test_one_bisection_solves_the_definition(pairs, omega, s):
    """The same as sorting and solving one equation per number of workers, to 1e-12, zeros and infinities included."""
    assert time_of(pairs, omega, s) == pytest.approx(defined(pairs, omega, s), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "h", "tau", "omega", "s"), [(3, 1.0, 0.3, 99.0, 17.0), (7, 2.0, 5.0, 0.5, 0.1), (1, 3.0, 4.0, 9.0, 2.0)]
)
def test_equal_workers(n, h, tau, omega, s):
    """The largest of A + sqrt(A^2 + 4 tau omega h s / n), h and tau, for A = (tau omega + h s) / n."""
    a = (tau * omega + h * s) / n
    expected = max(a + math.sqrt(a**2 + 4 * tau * omega * h * s / n), h, tau)
    assert time_of([(h, tau)] * n, omega, s) == pytest.approx(expected, rel=1e-14)


@given(positive, ratios, ratios)
@settings(deadline=None)
def test_special_cases(pairs, omega, s):
    """One worker; no compression; no noise."""
    (h, tau), *_ = pairs
    a, c = 2 * (tau * omega + h * s), 4 * tau * h * omega * s
    assert time_of([(h, tau)], omega, s) == pytest.approx(max(h, tau, (a + math.sqrt(a**2 + 4 * c)) / 2), rel=1e-12)
    by_slower = sorted(pairs, key=max)
    for each, found in (
        (lambda h, tau: h * s, time_of(pairs, 0.0, s)),
        (lambda h, tau: tau * omega, time_of(pairs, omega, 0.0)),
    ):
        rates = np.cumsum([1 / each(*pair) if each(*pair) else INF for pair in by_slower])
        assert found == pytest.approx(
            min(max(max(pair), 2 / rate) for pair, rate in zip(by_slower, rates, strict=True)), rel=1e-12
        )


@given(positive, st.floats(1e-2, 1e4))
@settings(deadline=None)
def test_free_messages_cost_what_rennala_costs(pairs, s):
    """Without communication it is the optimal time of the fixed computation model, up to a factor of 2."""
    h = [h for h, _ in pairs]
    ratio = theory.equilibrium_time(3.0, s, h, np.zeros(len(h))) / theory.optimal_time(h, s)
    assert 0.5 <= ratio <= 2


@given(workers, ratios, ratios, st.randoms())
@settings(deadline=None)
def test_invariants(pairs, omega, s, random):
    """Renaming and units; more noise, more variance or slower workers never help, one more worker never hurts."""
    time, more = time_of(pairs, omega, s), 1 + 1e-11
    shuffled = list(pairs)
    random.shuffle(shuffled)
    assert time_of(shuffled, omega, s) == pytest.approx(time, rel=1e-12)
    assert time_of([(3e-9 * h, 3e-9 * tau) for h, tau in pairs], omega, s) == pytest.approx(3e-9 * time, rel=1e-11, abs=0)
    assert time <= time_of(pairs, 2 * omega + 1, s) * more
    assert time <= time_of(pairs, omega, 2 * s + 1) * more
    (h, tau), *others = pairs
    assert time <= time_of([(2 * h + 1, tau), *others], omega, s) * more
    assert time <= time_of([(h, 2 * tau + 1), *others], omega, s) * more
    assert time_of([*pairs, (1.0, 1.0)], omega, s) <= time * more
    for slow in ((INF, 0.0), (0.0, INF), (INF, INF)):
        assert time_of([*pairs, slow], omega, s) == time
    if time < INF:
        assert time_of([*pairs, (0.0, 2 * time + 1)], omega, s) == pytest.approx(time, rel=1e-12)


def test_workers_that_need_no_time_and_workers_that_never_answer():
    """One that is free decides alone; a free half costs only the other half; none at all takes for ever."""
    assert time_of([(1.0, 1.0), (0.0, 0.0)], 5.0, 5.0) == 0
    assert time_of([(INF, 1.0), (1.0, INF)], 5.0, 5.0) == INF
    # Free gradients leave 2 tau omega, free messages 2 h s; a free product decides at once.
    assert time_of([(0.0, 3.0)], 5.0, 7.0) == pytest.approx(30)
    assert time_of([(3.0, 0.0)], 5.0, 7.0) == pytest.approx(42)
    assert time_of([(0.0, 3.0)], 0.0, 7.0) == 3
    assert time_of([(3.0, 0.5)], 0.0, 0.0) == 3


def test_units_do_not_matter():
    """Nanoseconds and centuries: no absolute tolerance anywhere."""
    for unit in (1e-200, 1e-9, 1e9, 1e200):
        assert time_of([(2 * unit, unit)] * 3, 40.0, 5.0) == pytest.approx(
            unit * time_of([(2.0, 1.0)] * 3, 40.0, 5.0), rel=1e-13
        )


def test_one_coordinate_per_message_is_nearly_best():
    """RandK with K = 1 is within a factor of 2 of the best K, for 20 workers of random speeds and 1000 coordinates."""
    random = np.random.default_rng(0)
    for _ in range(20):
        h, per_number, s = (
            random.uniform(0.1, 1, 20),
            random.uniform(0.1, 1, 20) * 10 ** random.uniform(-4, 1),
            10 ** random.uniform(-1, 4),
        )
        times = [theory.equilibrium_time(1000 / k - 1, s, h, k * per_number) for k in (1, 2, 5, 10, 30, 100, 300, 1000)]
        assert times[0] <= 2 * min(times)


# Counts and weights.


@given(positive, ratios, ratios, st.floats(1.0, 50.0))
@settings(deadline=None, max_examples=300)
def test_the_normaliser_is_at_least_one(pairs, omega, s, longer):
    """For the equilibrium time and every longer budget; counts, weights and normaliser are those of the formulas."""
    time = longer * time_of(pairs, omega, s)
    for counts in (counts_of(pairs, omega, s), counts_of(pairs, omega, s, time=time)):
        assert counts.normaliser >= 1 - 1e-9
        terms = 0.0
        for i, (h, tau) in enumerate(pairs):
            b, m = math.floor(counts.time / h * (1 + 1e-12)), math.floor(counts.time / tau * (1 + 1e-12))
            if b == 0 or m == 0:
                assert counts.gradients[i] == counts.messages[i] == counts.weights[i] == 0
                continue
            assert (counts.gradients[i], counts.messages[i]) == (b, m)
            spread = b * omega + omega * s + m * s
            assert counts.weights[i] == pytest.approx(1 / spread if spread else 1.0)
            terms += b * m / spread if spread else b * m
        assert counts.normaliser == pytest.approx(terms)
        np.testing.assert_array_equal(counts.active, counts.messages > 0)


@given(positive, st.integers(1, 50), st.integers(1, 10), ratios)
@settings(deadline=None, max_examples=300)
def test_with_few_messages_the_normaliser_is_at_least_a_third(pairs, dim, k, s):
    """At most ceil(d / K) RandK messages of each worker; the weights are those of the messages that are sent."""
    k = min(k, dim)
    omega, most = dim / k - 1, math.ceil(dim / k)
    counts = counts_of(pairs, omega, s, max_messages=most)
    assert counts.normaliser >= 1 / 3 - 1e-9
    assert counts.messages.max() <= most
    active = counts.active
    b, m = counts.gradients[active], counts.messages[active]
    if omega or s:
        np.testing.assert_allclose(counts.weights[active], 1 / (b * omega + omega * s + m * s))


def test_the_variance_of_the_estimator_at_the_target():
    """With these weights and |grad|^2 = epsilon the variance is epsilon / Z, and that of other weights is larger."""
    pairs, omega, s = [(1.0, 0.2), (2.0, 0.1), (3.0, 1.5)], 9.0, 4.0
    counts = counts_of(pairs, omega, s)
    b, m = counts.gradients, counts.messages
    assert counts.active.all()

    def variance(shares):
        """In units of epsilon: the sum of alpha_i^2 (omega / m_i + omega s / (m_i b_i) + s / b_i)."""
        return np.sum(shares**2 * (omega / m + omega * s / (m * b) + s / b))

    shares = counts.weights * m * b / counts.normaliser
    assert shares.sum() == pytest.approx(1)
    assert variance(shares) == pytest.approx(1 / counts.normaliser)
    for change in ([0.01, -0.01, 0.0], [0.0, 0.02, -0.02]):
        assert variance(shares + change) > variance(shares)


def test_special_weights():
    """No compression: all messages weigh the same per gradient; no noise: gradients do not matter; neither: plain means."""
    pairs = [(1.0, 0.3), (2.0, 0.7), (0.4, 1.0)]
    plain = counts_of(pairs, 0.0, 20.0)
    np.testing.assert_allclose(plain.weights * plain.messages, plain.weights[0] * plain.messages[0])
    noiseless = counts_of(pairs, 20.0, 0.0)
    np.testing.assert_allclose(noiseless.weights * noiseless.gradients, noiseless.weights[0] * noiseless.gradients[0])
    exact = counts_of(pairs, 0.0, 0.0, time=10.0)
    np.testing.assert_array_equal(exact.weights, 1)
    assert exact.normaliser == np.sum(exact.messages * exact.gradients)
    equal = counts_of([(1.0, 0.3)] * 4, 5.0, 20.0)
    np.testing.assert_array_equal(equal.weights, equal.weights[0])


@pytest.mark.parametrize("unit", [1.0, 0.1, 1 / 3, 7e-9])
def test_a_worker_that_just_makes_it_is_counted(unit):
    """If the time is exactly that of one gradient or message, there is one: 0.3 / 0.1 gives three."""
    assert counts_of([(unit, unit / 3)], 0.0, 0.0).gradients.tolist() == [1]
    counts = counts_of([(0.1 * unit, 0.3 * unit)], 0.0, 0.0)
    assert (counts.gradients.tolist(), counts.messages.tolist()) == ([3], [1])
    # Four equal workers are not enough, the fifth, who starts when its one message arrives, is just in time.
    pairs = [(unit, unit)] * 4 + [(5 * unit, 5 * unit)]
    assert counts_of(pairs, 5.0, 5.0, time=5 * unit).gradients.tolist() == [5, 5, 5, 5, 1]


def test_jumps_are_hit_exactly():
    """A worker that decides alone, but late, sets the time to the last bit of its own, in any unit, and has one gradient."""
    random = np.random.default_rng(0)
    for late, unit in zip(random.uniform(1, 20, 200), random.uniform(0.1, 1, 200), strict=True):
        # Without noise the first worker alone would need 2 tau omega = 200 units; for the second, sending is free.
        pairs = [(unit, unit), (late, 0.0)]
        assert time_of(pairs, 100.0, 0.0) == late
        assert counts_of(pairs, 100.0, 0.0, max_messages=200).gradients.tolist() == [math.floor(late / unit), 1]


# Refusals.


@pytest.mark.parametrize("function", [theory.equilibrium_time, theory.shadowheart_counts])
def test_bad_times_and_constants_are_refused(function):
    for h, tau, omega, s, sentence in [
        ([], [], 1.0, 1.0, r"`compute` must hold one number per worker, got an array of shape \(0,\)"),
        ([1.0], 2.0, 1.0, 1.0, r"`upload` must hold one number per worker, got an array of shape \(\)"),
        ([1.0, -2.0], [1.0, 1.0], 1.0, 1.0, "`compute` must not be negative, worker 1 has -2.0"),
        ([1.0, 2.0], [NAN, 1.0], 1.0, 1.0, "`upload` must not be negative, worker 0 has nan"),
        ([1.0, 2.0], [1.0], 1.0, 1.0, "must name the same workers, got 2 and 1"),
        ([1.0], [1.0], -1.0, 1.0, "`omega` must not be negative"),
        ([1.0], [1.0], INF, 1.0, "`omega` must not be negative, nor infinite"),
        ([1.0], [1.0], 1.0, NAN, "`noise_ratio` must not be negative"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            function(omega, s, h, tau)


def test_infinite_counts_are_refused_or_capped():
    """A worker that computes in no time never stops; one that sends in no time needs ``max_messages``."""
    with pytest.raises(ValueError, match=r"`compute` must not vanish next to the 10.0 seconds of a round, worker 1 has 0.0"):
        counts_of([(1.0, 1.0), (0.0, 1.0)], 5.0, 5.0, time=10.0)
    with pytest.raises(ValueError, match="`upload` must not vanish"):
        counts_of([(1.0, 0.0)], 5.0, 5.0)
    with pytest.raises(ValueError, match="`compute` must not vanish"):
        counts_of([(0.0, 0.0), (1.0, 1.0)], 5.0, 5.0, max_messages=3)
    free = counts_of([(1.0, 0.0), (2.0, 0.0)], 0.0, 6.0, max_messages=1)
    assert (free.gradients.tolist(), free.messages.tolist()) == ([8, 4], [1, 1])
    # Who takes no part may be as fast as it likes.
    assert counts_of([(1.0, 1.0), (0.0, INF), (INF, 0.0)], 1.0, 1.0).gradients.tolist() == [4, 0, 0]


def test_rounds_without_workers_are_refused():
    with pytest.raises(ValueError, match="no worker ever answers"):
        counts_of([(INF, 1.0)], 1.0, 1.0)
    with pytest.raises(ValueError, match=r"no worker computes a gradient and sends a message within `time`, got 0.5"):
        counts_of([(1.0, 0.1)], 1.0, 1.0, time=0.5)
    with pytest.raises(ValueError, match=r"`time` must be positive and finite, got -1.0"):
        counts_of([(1.0, 0.1)], 1.0, 1.0, time=-1.0)
    with pytest.raises(ValueError, match="`max_messages` must be a positive whole number, got 0"):
        counts_of([(1.0, 0.1)], 1.0, 1.0, max_messages=0)
