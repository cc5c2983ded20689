"""Rounds at a common point: Rennala, Malenia and m-Synchronous SGD against a slow event loop, their limits and times."""

import dataclasses

import numpy as np
import protocol_references as papers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_references import assert_same, drawn_fleets

from jasgd import fleet, theory
from jasgd.protocols import m_synchronous, malenia, minibatch, rennala, ringmaster

INF = float("inf")
THREE = fleet.fixed([1.0, 1.7, 2.3])

seeds = st.integers(0, 3)
steps = st.integers(1, 25)
real_times = st.lists(st.floats(0.5, 9.0), min_size=2, max_size=7)


def counts_per_round(schedule):
    """(updates, n): how many gradients of each worker are in each step."""
    counts = np.zeros((schedule.updates, schedule.num_workers), int)
    np.add.at(counts, (schedule.version, schedule.worker), 1)
    return counts


def round_ends(schedule):
    return schedule.time[schedule.apply]


def same_rows(one, other):
    for name in ("worker", "job", "read", "start", "time", "apply"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# Against the event loop.


@settings(max_examples=120, deadline=None)
@given(made=drawn_fleets(), updates=steps, batch=st.integers(1, 12), interrupt=st.booleans(), seed=seeds)
def test_rennala_is_the_event_loop(made, updates, batch, interrupt, seed):
    """Rows, lost work and jobs under way are those of the reference, bit for bit."""
    chosen = {"batch": batch, "interrupt": interrupt, "seed": seed}
    assert_same(rennala(made, updates, **chosen), papers.rennala(made, updates, **chosen))


@settings(max_examples=120, deadline=None)
@given(made=drawn_fleets(), updates=steps, batch=st.none() | st.integers(1, 25), interrupt=st.booleans(), seed=seeds)
def test_malenia_is_the_event_loop(made, updates, batch, interrupt, seed):
    """As above; the reference decides with fractions when a round closes."""
    chosen = {"batch": batch, "interrupt": interrupt, "seed": seed}
    assert_same(malenia(made, updates, **chosen), papers.malenia(made, updates, **chosen))


@settings(max_examples=120, deadline=None)
@given(made=drawn_fleets(), updates=steps, interrupt=st.booleans(), seed=seeds, data=st.data())
def test_m_synchronous_is_the_event_loop(made, updates, interrupt, seed, data):
    """As above, for any m."""
    chosen = {"m": data.draw(st.integers(1, made.num_workers)), "interrupt": interrupt, "seed": seed}
    assert_same(m_synchronous(made, updates, **chosen), papers.m_synchronous(made, updates, **chosen))


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.sampled_from([0.5, 1.0, 1.1, 3.0, 7.0, 20.0, 64.0, 500.0, INF]), min_size=3, max_size=9),
    updates=steps,
    few=st.integers(1, 3),
)
def test_workers_that_are_always_too_late_are_counted_as_in_the_event_loop(times, updates, few):
    """Some are a thousand times as slow as others, so nothing they compute is of use; ties between them are frequent."""
    made = fleet.fixed([1.0, *times])
    chosen = {"batch": few, "interrupt": False}
    assert_same(rennala(made, updates, **chosen), papers.rennala(made, updates, **chosen))
    assert_same(ringmaster(made, updates, few), papers.ringmaster(made, updates, few))
    m = min(few, np.isfinite(made.times).sum())
    assert_same(
        m_synchronous(made, updates, int(m), interrupt=False), papers.m_synchronous(made, updates, int(m), interrupt=False)
    )


# Golden rounds, worked out by hand from the algorithms.

GOLDEN = {
    ("rennala", 4, True): [(2.3, (2, 1, 1)), (4.6, (2, 1, 1))],
    ("rennala", 4, False): [(2.3, (2, 1, 1)), (5.1, (2, 1, 1)), (8.5, (2, 2, 0))],
    ("malenia", 6, True): [(4.6, (4, 2, 2)), (9.2, (4, 2, 2))],
    ("malenia", 6, False): [(4.6, (4, 2, 2)), (9.2, (4, 2, 2)), (13.8, (3, 2, 2))],
    ("malenia", 3, True): [(2.3, (2, 1, 1)), (4.6, (2, 1, 1))],
    ("malenia", 3, False): [(2.3, (2, 1, 1)), (5.1, (2, 1, 1)), (9.2, (3, 2, 1))],
}


@pytest.mark.parametrize(("method", "batch", "interrupt"), GOLDEN)
@pytest.mark.parametrize("made_by", ["fast", "reference"])
def test_golden_rounds_of_three_workers(method, batch, interrupt, made_by):
    """End and counts of the rounds of workers that need 1, 1.7 and 2.3 seconds."""
    expected = GOLDEN[method, batch, interrupt]
    if made_by == "fast":
        schedule = {"rennala": rennala, "malenia": malenia}[method](THREE, len(expected), batch, interrupt=interrupt)
        ends, counts = round_ends(schedule), counts_per_round(schedule)
    else:
        trace = getattr(papers, method)(THREE, len(expected), batch, interrupt=interrupt)
        ends = [row[4] for row in trace.rows if row[6]]
        counts = np.zeros((len(expected), 3), int)
        for row in trace.rows:
            counts[row[2], row[0]] += 1
    np.testing.assert_allclose(ends, [end for end, _ in expected], rtol=1e-12)
    assert [tuple(row) for row in counts.tolist()] == [count for _, count in expected]


@pytest.mark.parametrize("interrupt", [True, False])
def test_malenia_up_to_n_gradients_is_the_parameter_free_form(interrupt):
    """With S of n or less a round closes as soon as every worker has delivered."""
    for batch in (0.5, 1, 3):
        assert malenia(THREE, 9, batch, interrupt=interrupt) == malenia(THREE, 9, interrupt=interrupt)


def test_golden_rounds_of_two_synchronous_workers():
    """Rounds of the two first of workers of 1, 1.7 and 2.3 seconds end at 1.7 k; the third is cancelled every time."""
    schedule = m_synchronous(THREE, 20, m=2).verify()
    np.testing.assert_allclose(round_ends(schedule), 1.7 * np.arange(1, 21), rtol=1e-12)
    assert schedule.worker.tolist() == [0, 1] * 20
    assert schedule.ledger.cancelled.tolist() == [0, 0, 20]
    np.testing.assert_allclose(schedule.ledger.idle_seconds, [20 * 0.7, 0.0, 0.0], rtol=1e-12)


def test_without_interrupts_a_late_synchronous_worker_takes_part_again():
    """Nobody is cancelled: a late gradient is thrown away, and its worker starts from the model of that moment."""
    made = THREE.with_outages({0: [(0.5, 2.0)]})  # worker 0 is late once, at 2.5; from then on it is worker 2
    schedule = m_synchronous(made, 3, m=2, interrupt=False).verify()
    assert schedule.worker.tolist() == [1, 2, 0, 1, 0, 1]
    np.testing.assert_allclose(round_ends(schedule), [2.3, 4.0, 5.7], rtol=1e-12)
    assert schedule.start[2] == 2.5
    assert schedule.ledger.dropped.tolist() == [1, 0, 1]
    # Where speeds never change, who is late once is late for ever.
    slow = m_synchronous(THREE, 20, m=2, interrupt=False).verify()
    assert slow.worker.tolist() == [0, 1] * 20
    assert slow.ledger.dropped.tolist() == [0, 0, int(34 / 2.3)]


# Rounding.


def test_times_that_rounding_makes_equal_are_ordered_by_worker():
    """0.1 + 0.1 + 0.1 is later than 0.3, but not when the beginning of a round is added."""
    for batch in (4, 5, 6):
        assert_same(rennala(fleet.fixed([0.1, 0.3]), 60, batch), papers.rennala(fleet.fixed([0.1, 0.3]), 60, batch))
    made = fleet.fixed([0.1 + 0.2, 0.3])
    assert_same(m_synchronous(made, 60, m=2), papers.m_synchronous(made, 60, m=2))
    assert_same(malenia(fleet.fixed([0.7, 0.1, 0.3]), 60), papers.malenia(fleet.fixed([0.7, 0.1, 0.3]), 60))


@pytest.mark.parametrize("n", [3, 5, 19])
def test_malenia_closes_when_the_harmonic_mean_is_just_reached(n):
    """Equal workers have S / n = c gradients each after c jobs, although 1 / c is rounded."""
    for count in range(1, 60):
        assert malenia(fleet.equal(n), 1, batch=n * count).time[-1] == count


# Limits.


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, seed=seeds)
def test_rennala_with_one_gradient_is_ringmaster_with_threshold_one(made, updates, seed):
    """Hero SGD: what is not done when the first gradient arrives is lost; with interrupts stopped, else thrown away."""
    same_rows(rennala(made, updates, 1, seed=seed), ringmaster(made, updates, 1, stop=True, seed=seed))
    thrown_away = rennala(made, updates, 1, interrupt=False, seed=seed)
    same_rows(thrown_away, ringmaster(made, updates, 1, seed=seed))
    assert thrown_away.ledger.dropped.tolist() == ringmaster(made, updates, 1, seed=seed).ledger.dropped.tolist()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equal_workers_make_rennala_and_malenia_minibatch_sgd(n):
    """With S = n, or S <= n, and equal times, a round has one gradient of everybody; only numbers of jobs differ."""
    made = fleet.equal(n, time=0.7)
    expected = minibatch(made, 12)
    for schedule in (rennala(made, 12, n), malenia(made, 12), malenia(made, 12, 1), malenia(made, 12, n)):
        # Who delivered first had started another job, which is cancelled at once.
        assert schedule.job[schedule.worker == 0].tolist() == [(2 if n > 1 else 1) * k for k in range(12)]
        assert dataclasses.replace(schedule, job=expected.job) == expected


def test_without_interrupts_equal_workers_are_not_minibatch_sgd():
    """Who delivered first has started another job, which is stale and keeps it busy: later rounds take longer."""
    schedule = rennala(fleet.equal(3), 6, 3, interrupt=False).verify()
    assert round_ends(schedule).tolist() != [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert np.diff(round_ends(schedule), prepend=0.0).max() <= 2.0


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, interrupt=st.booleans(), seed=seeds)
def test_all_synchronous_workers_are_minibatch_sgd_and_one_is_rennala(made, updates, interrupt, seed):
    """With m = n the server waits for everybody, with m = 1 for the first."""
    everybody = m_synchronous(made, updates, m=made.num_workers, interrupt=interrupt, seed=seed)
    assert everybody == minibatch(made, updates, seed=seed)
    one = m_synchronous(made, updates, m=1, interrupt=interrupt, seed=seed)
    same_rows(one, rennala(made, updates, 1, interrupt=interrupt, seed=seed))


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, interrupt=st.booleans(), data=st.data())
def test_weights_of_a_step_sum_to_one_and_delays_are_zero(made, updates, interrupt, data):
    """Rennala and m-Sync weigh every gradient alike, Malenia every worker; all are taken at the point that moves."""
    n = made.num_workers
    batch, m = data.draw(st.integers(1, 3 * n)), data.draw(st.integers(1, n))
    rounds = rennala(made, updates, batch, interrupt=interrupt)
    balanced = malenia(made, updates, batch, interrupt=interrupt)
    first = m_synchronous(made, updates, m, interrupt=interrupt)
    for schedule in (rounds, balanced, first):
        sums = np.bincount(schedule.version, schedule.weight.astype(float))
        np.testing.assert_allclose(sums, np.ones(updates), rtol=1e-6)
        assert not schedule.delay.any()
        assert np.array_equal(schedule.read, schedule.version)
    assert set(np.bincount(rounds.version)) == {batch}
    assert set(np.bincount(first.version)) == {m}
    assert counts_per_round(first).max() == 1
    per_worker = np.zeros((updates, n))
    np.add.at(per_worker, (balanced.version, balanced.worker), balanced.weight)
    np.testing.assert_allclose(per_worker, np.full((updates, n), 1 / n), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(made=drawn_fleets(), updates=steps, batch=st.integers(1, 9))
def test_interrupts_lose_jobs_early_and_waiting_loses_them_late(made, updates, batch):
    """With interrupts everybody but the closer is cancelled in every round; without, nobody is."""
    cancels = rennala(made, updates, batch)
    assert cancels.ledger.dropped.sum() == 0
    assert cancels.ledger.cancelled.sum() == (made.num_workers - 1) * updates
    assert rennala(made, updates, batch, interrupt=False).ledger.cancelled.sum() == 0
    for schedule in (cancels, rennala(made, updates, batch, interrupt=False)):
        assert schedule.ledger.idle_seconds.sum() == 0


# Times.


@settings(max_examples=80, deadline=None)
@given(times=real_times, batch=st.integers(1, 30), data=st.data())
def test_rounds_take_the_time_that_theory_says(times, batch, data):
    """Exactly, with interrupts; without, at most twice the bound of Rennala's round."""
    made, n = fleet.fixed(times), len(times)
    m = data.draw(st.integers(1, n))
    for schedule, expected in (
        (rennala(made, 5, batch), theory.rennala_round_time(times, batch)),
        (malenia(made, 5, batch), theory.malenia_round_time(times, batch)),
        (malenia(made, 5), max(times)),
        (m_synchronous(made, 5, m), sorted(times)[m - 1]),
        (m_synchronous(made, 5, m), theory.m_synchronous_round_time(times, m)),
    ):
        np.testing.assert_allclose(round_ends(schedule), expected * np.arange(1, 6), rtol=1e-9)
    bound = min(np.mean(1 / np.sort(times)[:m]) ** -1 * (1 + batch / m) for m in range(1, n + 1))
    assert round_ends(rennala(made, 1, batch))[0] <= bound * (1 + 1e-9)
    waits = np.diff(round_ends(rennala(made, 20, batch, interrupt=False)), prepend=0.0)
    assert waits.max() <= 2 * bound * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(times=real_times, batch=st.integers(1, 30))
def test_a_round_of_malenia_is_at_most_its_bound(times, batch):
    """Twice tau_n + tau_A S / n."""
    ends = round_ends(malenia(fleet.fixed(times), 3, batch))
    assert np.diff(ends, prepend=0.0).max() <= 2 * (max(times) + np.mean(times) * batch / len(times))


# Fleets with links, and workers that fail.


@settings(max_examples=40, deadline=None)
@given(times=st.lists(st.integers(1, 9).map(float), min_size=3, max_size=3), interrupt=st.booleans(), data=st.data())
def test_links_are_longer_jobs_and_none_change_nothing(times, interrupt, data):
    """A job is download, computation and upload."""
    links = st.lists(st.integers(0, 4).map(float), min_size=3, max_size=3)
    upload, download = data.draw(links), data.draw(links)
    made = fleet.fixed(times)
    linked = made.with_links(upload=upload, download=download, size=2.0)
    longer = fleet.fixed(np.array(times) + 2 * (np.array(upload) + download))
    for protocol, number in ((rennala, 4), (malenia, 5), (m_synchronous, 2)):
        assert protocol(linked, 12, number, interrupt=interrupt) == protocol(longer, 12, number, interrupt=interrupt)
        free = made.with_links(upload=0, download=0)
        assert protocol(free, 12, number, interrupt=interrupt) == protocol(made, 12, number, interrupt=interrupt)


@pytest.mark.parametrize("interrupt", [True, False])
@pytest.mark.parametrize(
    "made",
    [fleet.fixed([1.0, 2.0, INF]), fleet.equal(3).with_outages({2: [(0.0, INF)]})],
    ids=["infinite time", "endless outage"],
)
def test_a_worker_that_never_answers_stops_only_those_who_wait_for_it(made, interrupt):
    """Rennala and m-Sync with m < n go on without it; Malenia and m = n say so instead of waiting for ever."""
    for schedule in (rennala(made, 8, 4, interrupt=interrupt), m_synchronous(made, 8, 2, interrupt=interrupt)):
        assert set(schedule.verify().worker) == {0, 1}
    for batch in (None, 6):
        with pytest.raises(ValueError, match="worker 2 never answers, and this protocol waits for every worker"):
            malenia(made, 8, batch, interrupt=interrupt)
    with pytest.raises(ValueError, match="fewer than m = 3 workers answer after update 0, so its round never closes"):
        m_synchronous(made, 8, 3, interrupt=interrupt)


@pytest.mark.parametrize("interrupt", [True, False])
def test_workers_that_fail_later_are_named_when_they_are_missed(interrupt):
    """All three are there until 4.65 seconds; then worker 2 stays away, or everybody."""
    one = THREE.with_outages({2: [(4.65, INF)]})
    assert malenia(one, 1, interrupt=interrupt).verify().updates == 1
    with pytest.raises(ValueError, match="worker 2 never answers"):
        malenia(one, 20, interrupt=interrupt)
    with pytest.raises(ValueError, match="fewer than m = 3 workers answer after update 2"):
        m_synchronous(one, 20, 3, interrupt=interrupt)
    everybody = fleet.equal(3).with_outages({i: [(4.5, INF)] for i in range(3)})
    with pytest.raises(ValueError, match=r"no worker answers any more after update \d+; 20 were asked for"):
        rennala(everybody, 20, 2, interrupt=interrupt)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rennala(THREE, 0, 2), "`updates` must be at least 1, got 0"),
        (lambda: rennala(THREE, 5, 0), "`batch` must be at least 1, got 0"),
        (lambda: malenia(THREE, 0), "`updates` must be at least 1, got 0"),
        (lambda: malenia(THREE, 5, 0), "`batch` must be positive, or None, got 0"),
        (lambda: malenia(THREE, 5, float("nan")), "`batch` must be positive, or None, got nan"),
        (lambda: m_synchronous(THREE, 0, 2), "`updates` must be at least 1, got 0"),
        (lambda: m_synchronous(THREE, 5, 0), "`m` must lie between 1 and the 3 workers, got 0"),
        (lambda: m_synchronous(THREE, 5, 4), "`m` must lie between 1 and the 3 workers, got 4"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    """With one sentence that says what is expected."""
    with pytest.raises(ValueError, match=message):
        call()
