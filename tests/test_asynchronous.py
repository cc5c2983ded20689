"""Protocols: exact facts about delays, assignment, waiting, dropping, and the two implementations of one of them.

The facts are those of Mishchenko et al. 2022, Koloskova et al. 2022 and AsGrad 2024, or follow from counting.
"""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd import fleet
from jasgd.ledger import Ledger
from jasgd.protocols import asynchronous, delays, geometric_delays, minibatch, uniform_delays
from jasgd.protocols._always_busy import always_busy
from jasgd.protocols._event_loop import Server

INF = float("inf")

# Fleets and protocols drawn by hypothesis. Small whole times make many ties, Poisson times many jobs of no duration.

whole_times = st.lists(st.integers(1, 9).map(float), min_size=1, max_size=6)


@st.composite
def fleets(draw, powers=True):
    n = draw(st.integers(1, 6))
    kind = draw(st.sampled_from(["fixed", "equal", "poisson", "exponential", "heavy", "stragglers"]))
    means = np.array(draw(st.lists(st.integers(1, 9), min_size=n, max_size=n)), float)
    made = {
        "fixed": lambda: fleet.fixed(means),
        "equal": lambda: fleet.equal(n),
        "poisson": lambda: fleet.poisson(means / 4),
        "exponential": lambda: fleet.exponential(means),
        "heavy": lambda: fleet.pareto(np.full(n, 1.1), means, offset=0.001),
        "stragglers": lambda: fleet.stragglers(means, 20.0, 0.2),
    }[kind]()
    if powers and draw(st.booleans()):
        worker, begin = draw(st.integers(0, n - 1)), draw(st.integers(0, 9))
        made = made.with_outages({worker: [(begin, begin + draw(st.integers(1, 20)))]})
    return made


@st.composite
def options(draw, n, wait=True, drop=True):
    """Any admissible combination of the protocol's arguments."""
    jobs = draw(st.integers(1, n))
    assignment = draw(st.sampled_from(["own", "random", "shuffled"]))
    chosen = {
        "assignment": assignment,
        "concurrency": jobs,
        "parallel": assignment != "own" and draw(st.booleans()),
        "seed": draw(st.integers(0, 3)),
    }
    if wait and draw(st.booleans()):
        return chosen | {"wait_for": draw(st.integers(1, jobs))}
    chosen["dispatch"] = draw(st.sampled_from(["after", "before"]))
    if drop and draw(st.booleans()):
        chosen["age_in"] = draw(st.sampled_from(["updates", "arrivals"]))
        # An age in arrivals below the concurrency may drop every gradient for ever.
        chosen["max_delay"] = draw(st.integers(0, 8)) + (n + 1 if chosen["age_in"] == "arrivals" else 0)
    return chosen


@st.composite
def executions(draw, **kinds):
    """A schedule of any fleet under any protocol, and the arguments it was made with."""
    made = draw(fleets())
    chosen = draw(options(made.num_workers, **kinds))
    return asynchronous(made, draw(st.integers(1, 60)), **chosen), chosen


def ages_in_flight(schedule):
    return schedule.updates - schedule.ledger.pending_read


# Conservation.


@settings(max_examples=150, deadline=None)
@given(executions())
def test_delays_are_conserved_in_every_variant(execution):
    """Delays used, lost and under way add up to the other jobs in flight, summed over the updates."""
    schedule, chosen = execution
    schedule.verify()
    jobs, wait_for = chosen["concurrency"], chosen.get("wait_for", 1)
    others = jobs - (chosen.get("dispatch", "after") == "after")
    # With waiting, the j-th update after a release finds j jobs fewer in flight.
    expected = sum(others - step % wait_for for step in range(schedule.updates))
    assert int(schedule.delay.sum()) + schedule.ledger.lost_delay + int(ages_in_flight(schedule).sum()) == expected


@settings(max_examples=60, deadline=None)
@given(executions(drop=False))
def test_every_version_is_sent_out_as_often_as_the_protocol_says(execution):
    """Version 0 goes to all jobs of the start, every later one to one job, with waiting every b-th one to b jobs."""
    schedule, chosen = execution
    wait_for, before = chosen.get("wait_for", 1), chosen.get("dispatch", "after") == "before"
    reads = np.concatenate([schedule.read, schedule.ledger.pending_read])
    expected = np.zeros(schedule.updates + 1, int)
    expected[0] = chosen["concurrency"]
    for step in range(wait_for, schedule.updates + 1, wait_for):
        expected[step - before] += wait_for
    assert np.bincount(reads, minlength=schedule.updates + 1).tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(executions())
def test_dropping_and_starting_jobs_in_order(execution):
    """No gradient older than the limit is used, and a worker computes its jobs in the order in which it got them."""
    schedule, chosen = execution
    if chosen.get("age_in") == "updates":
        assert schedule.delay.max() <= chosen["max_delay"]
    elif "max_delay" not in chosen:
        assert schedule.ledger.dropped.sum() == 0
    for worker in range(schedule.num_workers):
        rows = np.flatnonzero(schedule.worker == worker)
        rows = rows[np.argsort(schedule.job[rows])]
        assert np.all(np.diff(schedule.job[rows]) > 0)
        assert np.all(np.diff(schedule.read[rows]) >= 0)
        assert np.all(np.diff(schedule.start[rows]) >= 0)


@settings(max_examples=60, deadline=None)
@given(made=fleets(), assignment=st.sampled_from(["own", "random", "shuffled"]), updates=st.integers(1, 60), data=st.data())
def test_less_than_half_of_all_delays_exceed_twice_the_mean(made, assignment, updates, data):
    """Markov, jobs in flight included: the fact behind dropping old gradients in Koloskova et al., Theorem 8."""
    jobs = data.draw(st.integers(1, made.num_workers))
    schedule = asynchronous(made, updates, assignment=assignment, concurrency=jobs)
    in_flight = np.sort(ages_in_flight(schedule))
    assert in_flight[0] == 0  # the job just sent out, which does not count
    ages = np.concatenate([schedule.delay, in_flight[1:]])
    assert len(ages) == updates + jobs - 1
    assert ages.mean() == pytest.approx(updates * (jobs - 1) / (updates + jobs - 1))
    assert np.count_nonzero(ages > 2 * ages.mean()) < (updates + jobs - 1) / 2


def test_a_worker_that_returns_at_the_end_has_the_largest_delay_and_a_small_mean():
    """Koloskova et al.'s toy: one of two workers returns after T updates, so the mean delay is T / (T + 1)."""
    waiting = asynchronous(fleet.fixed([1.0, 50.0]), 50)
    assert waiting.worker.tolist() == [0] * 50
    assert waiting.delay.max() == 0
    assert ages_in_flight(waiting).tolist() == [0, 50]
    returned = asynchronous(fleet.fixed([1.0, 50.0]), 51)
    assert returned.worker[-1] == 1
    assert returned.delay[-1] == 50


# Delays of workers of fixed speed.


@settings(max_examples=40, deadline=None)
@given(times=st.lists(st.floats(1.0, 1.99), min_size=1, max_size=8), dispatch=st.sampled_from(["after", "before"]))
def test_first_deliveries_have_delays_zero_to_n_minus_one(times, dispatch):
    """All jobs of the start read version 0, so the j-th first delivery is j - 1 updates late."""
    schedule = asynchronous(fleet.fixed(times), len(times), dispatch=dispatch)
    assert schedule.delay.tolist() == list(range(len(times)))
    assert sorted(schedule.worker) == list(range(len(times)))
    assert schedule.job.tolist() == [0] * len(times)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_equal_speeds_have_delay_n_minus_one_for_ever(n):
    """Round robin: after the start every delay is n - 1, with dispatch before apply n."""
    after = asynchronous(fleet.equal(n, time=0.1), 10 * n)
    assert after.delay.tolist() == list(range(n)) + [n - 1] * (9 * n)
    assert after.worker.tolist() == list(range(n)) * 10
    before = asynchronous(fleet.equal(n, time=0.1), 10 * n, dispatch="before")
    assert before.delay.tolist() == list(range(n)) + [n] * (9 * n)


@pytest.mark.parametrize("assignment", ["own", "random", "shuffled"])
def test_a_lone_worker_has_delay_zero(assignment):
    """One worker's gradient is used before anything else happens; sent out before, its successor is one late."""
    schedule = asynchronous(fleet.exponential([2.0]), 30, assignment=assignment)
    assert schedule.delay.tolist() == [0] * 30
    early = asynchronous(fleet.exponential([2.0]), 30, assignment=assignment, dispatch="before")
    assert early.delay.tolist() == [0] + [1] * 29


@settings(max_examples=40, deadline=None)
@given(made=fleets(), updates=st.integers(1, 60))
def test_dispatch_before_apply_makes_every_later_delay_one_larger(made, updates):
    """The same gradients arrive at the same times, one update later after a worker's first job."""
    after, before = asynchronous(made, updates), asynchronous(made, updates, dispatch="before")
    np.testing.assert_array_equal(after.worker, before.worker)
    np.testing.assert_array_equal(after.time, before.time)
    np.testing.assert_array_equal(after.delay + (after.job > 0), before.delay)


@settings(max_examples=60, deadline=None)
@given(times=whole_times)
def test_delays_of_fixed_speeds_lie_between_the_sums_of_floors_and_ceilings(times):
    """During one of its jobs, worker i sees floor or ceil of T_i / T_j deliveries of every other worker j."""
    schedule = asynchronous(fleet.fixed(times), 80)
    for i, own in enumerate(times):
        others = [other for j, other in enumerate(times) if j != i]
        seen = schedule.delay[(schedule.worker == i) & (schedule.job > 0)]
        assert np.all(seen >= sum(math.floor(own / other) for other in others))
        assert np.all(seen <= sum(math.ceil(own / other) for other in others))


@settings(max_examples=60, deadline=None)
@given(times=whole_times)
def test_updates_in_a_given_time_are_a_sum_of_floors(times):
    """In S seconds worker i delivers floor(S / T_i) times, and minibatch SGD does floor(S / max T) rounds."""
    schedule, rounds = asynchronous(fleet.fixed(times), 80), minibatch(fleet.fixed(times), 10)
    for seconds in np.arange(0.0, schedule.time[-1], 0.5):
        assert schedule.until(seconds).updates == sum(math.floor(seconds / time) for time in times)
    for seconds in np.arange(0.0, rounds.time[-1], 0.5):
        assert rounds.until(seconds).updates == math.floor(seconds / max(times))


def test_ties_are_broken_by_worker():
    """Gradients that arrive at the same time are used in the order of their workers."""
    schedule = asynchronous(fleet.fixed([2.0, 1.0, 2.0, 1.0]), 10)
    assert schedule.time.tolist() == [1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert schedule.worker.tolist() == [1, 3, 0, 1, 2, 3, 1, 3, 0, 1]


# Who gets the next job.


def sent_to(schedule):
    """The worker that got each version from 1 on, where every version goes to one worker."""
    read = np.concatenate([schedule.read, schedule.ledger.pending_read])
    worker = np.concatenate([schedule.worker, schedule.ledger.pending_worker])
    order = np.argsort(read, kind="stable")
    return worker[order][read[order] > 0]


@settings(max_examples=40, deadline=None)
@given(made=fleets(), blocks=st.integers(1, 12), parallel=st.booleans(), data=st.data())
def test_shuffled_assigns_every_worker_once_per_block(made, blocks, parallel, data):
    """In every block of n updates each worker gets one job, at any concurrency."""
    n = made.num_workers
    jobs = data.draw(st.integers(1, n))
    schedule = asynchronous(made, blocks * n, assignment="shuffled", concurrency=jobs, parallel=parallel, seed=jobs)
    assert np.sort(sent_to(schedule).reshape(blocks, n)).tolist() == [list(range(n))] * blocks


def test_shuffled_draws_a_new_permutation_for_every_block():
    """Blocks differ from each other, and from those of another seed."""
    runs = [asynchronous(fleet.equal(6), 60, assignment="shuffled", seed=seed) for seed in range(2)]
    blocks = [{tuple(block) for block in sent_to(run).reshape(10, 6).tolist()} for run in runs]
    assert len(blocks[0]) > 5
    assert blocks[0] != blocks[1]


def test_shuffled_with_waiting_assigns_every_worker_once_per_block():
    """Jobs given out two at a time use up the same permutations of four workers."""
    schedule = asynchronous(fleet.exponential(np.ones(4)), 40, assignment="shuffled", wait_for=2)
    workers = sent_to(schedule)
    assert np.sort(workers.reshape(10, 4)).tolist() == [[0, 1, 2, 3]] * 10


@pytest.mark.parametrize("parallel", [False, True])
def test_random_assigns_workers_uniformly(parallel):
    """Five workers of different speed get a fifth of 5000 jobs each, to five standard errors."""
    schedule = asynchronous(fleet.fixed([1.0, 1.0, 2.0, 3.0, 9.0]), 5000, assignment="random", parallel=parallel)
    counts = np.bincount(sent_to(schedule), minlength=5)
    assert np.all(np.abs(counts - 1000) < 5 * math.sqrt(5000 * 0.2 * 0.8))


def test_own_assigns_the_worker_that_delivered():
    """The version made by a worker's gradient is what this worker reads next."""
    schedule = asynchronous(fleet.exponential([1.0, 2.0, 3.0]), 60)
    np.testing.assert_array_equal(sent_to(schedule), schedule.worker)


def test_limited_concurrency_starts_few_workers():
    """With three jobs in flight, "own" starts workers 0 to 2 for ever, the others three different drawn ones."""
    own = asynchronous(fleet.equal(9), 30, concurrency=3)
    assert set(own.worker) == {0, 1, 2}
    assert own.ledger.idle_seconds.tolist() == [0.0] * 3 + [10.0] * 6
    starts = set()
    for seed in range(5):
        drawn = asynchronous(fleet.equal(9), 30, assignment="random", concurrency=3, seed=seed)
        first = drawn.worker[drawn.read == 0].tolist()
        assert len(set(first)) == 3
        starts.add(tuple(sorted(first)))
    assert len(starts) > 1


def test_a_job_for_a_busy_worker_waits_in_its_queue():
    """The slow worker has one job under way at a time, with parallel jobs several; waiting jobs keep their old model."""
    made = fleet.fixed([1.0, 1.0, 8.0])
    queued = asynchronous(made, 60, assignment="random", seed=1)
    at_once = asynchronous(made, 60, assignment="random", seed=1, parallel=True)

    def most_under_way(schedule):
        start, time = (column[schedule.worker == 2] for column in (schedule.start, schedule.time))
        return max(np.count_nonzero((start <= now) & (now < time)) for now in start)

    assert most_under_way(queued) == 1
    assert most_under_way(at_once) > 1
    assert np.any(queued.start > queued.version_time[queued.read])
    np.testing.assert_array_equal(at_once.start, at_once.version_time[at_once.read])


# Koloskova et al., Lemma 11, with and without queues.


def seconds_per_block(made, jobs, updates, **chosen):
    schedule = asynchronous(made, updates, assignment="random", concurrency=jobs, **chosen)
    return schedule.time[-1] / updates * jobs


def closed_network(means, jobs):
    """Seconds per ``jobs`` gradients with queues and exponential times: C g_C / g_{C-1}, the product form."""
    g = np.zeros(jobs + 1)
    g[0] = 1.0
    for load in np.asarray(means) / len(means):
        for c in range(1, jobs + 1):
            g[c] += load * g[c - 1]
    return jobs * g[jobs] / g[jobs - 1]


THOUSAND = np.repeat([10.0, 60.0], [900, 100])
TEN = np.repeat([1.0, 6.0], [9, 1])


def test_product_form_has_the_known_values():
    """The oracle itself: 15.273 s and 6.0008 s in the two examples, and the mean time for a lone job."""
    assert closed_network(THOUSAND, 10) == pytest.approx(15.273, abs=5e-4)
    assert closed_network(TEN, 10) == pytest.approx(6.0008, abs=5e-5)
    assert closed_network([1.0, 3.0], 1) == 2.0


@pytest.mark.parametrize(("times", "seconds"), [(THOUSAND, 15.0), (TEN, 1.5)])
def test_lemma_11_holds_for_parallel_jobs(times, seconds):
    """Without queues C gradients take the mean time of a job: 15 s where minibatch SGD needs 42.6 s."""
    # Each of 30,000 times has the standard deviation of the mean, so 3 % are five standard errors.
    assert seconds_per_block(fleet.fixed(times), 10, 30_000, parallel=True) == pytest.approx(seconds, rel=0.03)


@pytest.mark.parametrize(
    ("made", "seconds"),
    [
        (fleet.fixed(THOUSAND), 15.1),
        (fleet.exponential(THOUSAND), closed_network(THOUSAND, 10)),
        (fleet.fixed(TEN), 5.97),
        (fleet.exponential(TEN), closed_network(TEN, 10)),
    ],
    ids=["thousand fixed", "thousand exponential", "ten fixed", "ten exponential"],
)
def test_queues_make_lemma_11_slower(made, seconds):
    """Jobs that pile up at the slow worker cost up to four times the 1.5 s of the lemma."""
    # Of 40,000 jobs of ten workers 4000 are the slow one's: 5 % are three standard errors of their time.
    assert seconds_per_block(made, 10, 40_000) == pytest.approx(seconds, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("means", "seconds"), [(THOUSAND, 15.273), (TEN, 6.0008)])
def test_queues_agree_with_the_product_form_to_one_percent(means, seconds):
    """A million exponential jobs come within one percent of the exact value."""
    assert seconds_per_block(fleet.exponential(means), 10, 1_000_000) == pytest.approx(seconds, rel=0.01)


# Waiting.


@pytest.mark.parametrize("assignment", ["own", "shuffled"])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_waiting_for_everybody_reads_as_minibatch_does(n, assignment):
    """With equal times and b = n, blocks of n gradients are computed at one point, n updates apart."""
    waiting = asynchronous(fleet.equal(n), 6 * n, assignment=assignment, wait_for=n)
    rounds = minibatch(fleet.equal(n), 6)
    np.testing.assert_array_equal(waiting.read, n * rounds.read)
    np.testing.assert_array_equal(waiting.delay, np.tile(np.arange(n), 6))
    np.testing.assert_array_equal(waiting.time, rounds.time)
    np.testing.assert_array_equal(waiting.worker, rounds.worker)


def test_waiting_reads_only_every_b_th_version():
    """Snapshots are sent out after every third update, and workers that have delivered pause until then."""
    schedule = asynchronous(fleet.fixed([1.0, 1.5, 2.5, 4.0]), 12, wait_for=3)
    assert set(schedule.read % 3) == {0}
    assert schedule.worker[:6].tolist() == [0, 1, 2, 0, 1, 3]
    assert schedule.time[:6].tolist() == [1.0, 1.5, 2.5, 3.5, 4.0, 4.0]
    assert schedule.read[:6].tolist() == [0, 0, 0, 3, 3, 0]
    assert schedule.start[:6].tolist() == [0.0, 0.0, 0.0, 2.5, 2.5, 0.0]


# Dropping.


def test_a_worker_that_is_always_too_old_is_starved():
    """Three fast workers deliver thirty gradients during each job of the slow one, whose gradients are all dropped."""
    schedule = asynchronous(fleet.fixed([1.0, 1.0, 1.0, 10.0]), 90, max_delay=5).verify()
    assert set(schedule.worker) == {0, 1, 2}
    assert schedule.delay[3:].tolist() == [2] * 87
    assert schedule.ledger.dropped.tolist() == [0, 0, 0, 2]
    assert schedule.ledger.dropped_seconds.tolist() == [0.0, 0.0, 0.0, 20.0]
    assert schedule.ledger.lost_delay == 60


@settings(max_examples=40, deadline=None)
@given(made=fleets(), updates=st.integers(1, 60), dispatch=st.sampled_from(["after", "before"]))
def test_a_limit_that_no_delay_exceeds_changes_nothing(made, updates, dispatch):
    """Dropping above the largest delay gives the schedule without dropping, ledger included."""
    free = asynchronous(made, updates, dispatch=dispatch)
    for age_in in ("updates", "arrivals"):
        limited = asynchronous(made, updates, dispatch=dispatch, max_delay=int(free.delay.max()), age_in=age_in)
        assert limited == free
        assert_same_ledger(limited.ledger, free.ledger)


def test_age_may_count_arrivals_that_were_dropped():
    """A dropped gradient of the slow worker makes the fast one's too old by one arrival, though not by an update."""
    made = fleet.fixed([1.0, 2.5])
    updates = asynchronous(made, 4, max_delay=0)
    arrivals = asynchronous(made, 4, max_delay=0, age_in="arrivals")
    assert updates.time.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert arrivals.time.tolist() == [1.0, 2.0, 4.0, 5.0]
    assert updates.ledger.dropped.tolist() == [0, 1]
    assert arrivals.ledger.dropped.tolist() == [1, 1]
    assert updates.ledger.lost_delay == 2
    assert arrivals.ledger.lost_delay == 2


# One protocol, two implementations.


def assert_same_ledger(one, other):
    for field in dataclasses.fields(Ledger):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def assert_both_agree(made, updates, jobs, dispatch="after", seed=0):
    columns, ledger = always_busy(made, updates, jobs, dispatch, seed)
    expected, expected_ledger = Server(made, jobs, "own", 1, False, dispatch, None, "updates", seed).run(updates)
    assert columns.keys() == expected.keys()
    for name in columns:
        np.testing.assert_array_equal(columns[name], expected[name], err_msg=name)
    assert_same_ledger(ledger, expected_ledger)
    return columns


@settings(max_examples=150, deadline=None)
@given(
    made=fleets(powers=False),
    updates=st.integers(1, 120),
    dispatch=st.sampled_from(["after", "before"]),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_vectorised_matches_event_loop(made, updates, dispatch, seed, data):
    """Sorted running sums and the heap give the same bits, with ties, jobs of no duration and few workers started."""
    assert_both_agree(made, updates, data.draw(st.integers(1, made.num_workers)), dispatch, seed)


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.sampled_from([0.1, 0.3, 1 / 3, 1.0, 1e3, 1e-3, INF]), min_size=1, max_size=6),
    updates=st.integers(1, 120),
)
def test_vectorised_matches_event_loop_with_infinite_and_extreme_times(times, updates):
    """Workers that never answer, and speeds a million times apart with inexact sums, are no exception."""
    assert_both_agree(fleet.fixed([0.7, *times]), updates, len(times) + 1)


@pytest.mark.parametrize(
    "made",
    [
        fleet.power_law(60, 0.5),
        fleet.equal(60, time=0.1),
        fleet.lognormal(np.zeros(60), 1.0),
        fleet.pareto(np.full(60, 1.2)),
    ],
    ids=["square root", "equal", "lognormal", "Lomax"],
)
def test_vectorised_matches_event_loop_in_a_long_run(made):
    """Sixty workers and 6000 updates: sums of many inexact terms are still the same."""
    assert_both_agree(made, 6000, 60)


def test_many_jobs_of_no_duration_match_the_event_loop():
    """Nearly all jobs are done at once, so that hundreds of updates share one time."""
    columns = assert_both_agree(fleet.poisson([0.02, 0.01, 3.0]), 500, 3)
    assert len(np.unique(columns["time"])) < 50


def runaway(durations):
    """A draw function of (worker, jobs) that stops a loop without end instead of filling the memory."""

    def draw(rng, worker, jobs):
        if len(jobs) and jobs[-1] > 20_000:
            raise RuntimeError("more than 20,000 jobs of one worker were drawn")
        return durations(worker, jobs)

    return draw


def test_jobs_of_no_duration_at_the_last_time_match_the_event_loop():
    """Of 41 workers that deliver at 16 s, the first goes on without any duration and delivers all of the last updates."""

    def durations(worker, jobs):
        return np.where((worker == 0) & (jobs >= 8) & (jobs < 200), 0.0, 2.0)

    columns = assert_both_agree(fleet.drawn(41, runaway(durations)), 7 * 41 + 20, 41)
    assert columns["worker"][-20:].tolist() == [0] * 20
    assert columns["time"][-20:].tolist() == [16.0] * 20


def test_a_worker_without_any_duration_matches_the_event_loop():
    """A worker whose jobs take no time delivers all gradients at time 0."""
    made = fleet.drawn(2, runaway(lambda worker, jobs: np.full(len(jobs), float(worker))))
    assert set(assert_both_agree(made, 10, 2)["time"]) == {0.0}


def test_a_worker_that_dies_matches_the_event_loop():
    """A fast worker that never answers after twenty jobs leaves the rest to the slow one."""
    made = fleet.drawn(2, runaway(lambda worker, jobs: np.where(jobs < 20, 0.1, INF) if worker else np.ones(len(jobs))))
    assert assert_both_agree(made, 1000, 2)["time"][-1] == 980.0


# Executions that cannot go on.


@pytest.mark.parametrize(
    ("made", "chosen", "done"),
    [
        (fleet.fixed([INF, INF]), {}, 0),
        (fleet.fixed([INF, 1.0]), {"concurrency": 1}, 0),
        (fleet.fixed([1.0, INF]), {"wait_for": 2}, 1),
        (fleet.fixed([INF, INF]), {"max_delay": 3}, 0),
        (fleet.equal(2).with_outages({0: [(3.5, INF)], 1: [(2.5, INF)]}), {}, 5),
        (fleet.drawn(1, runaway(lambda worker, jobs: np.where(jobs < 30, 1.0, INF))), {}, 30),
    ],
    ids=["nobody answers", "started ones do not answer", "waiting for ever", "limit", "outages", "all die"],
)
def test_a_fleet_that_stops_answering_is_refused(made, chosen, done):
    """The message says after how many updates nobody answers any more."""
    with pytest.raises(ValueError, match=f"no worker answers any more after update {done}; 200 were asked for"):
        asynchronous(made, 200, **chosen)
    if done:
        assert len(asynchronous(made, done, **chosen)) == done


def test_random_jobs_that_pile_up_at_a_silent_worker_are_refused():
    """In the end all jobs wait for the worker that never answers."""
    with pytest.raises(ValueError, match="no worker answers any more after update"):
        asynchronous(fleet.fixed([1.0, 1.0, INF]), 1000, assignment="random")


def test_an_age_limit_that_drops_everything_for_ever_is_refused():
    """With two equal workers every later gradient is one arrival old: an error, no endless loop."""
    made = fleet.drawn(2, runaway(lambda worker, jobs: np.ones(len(jobs))))
    with pytest.raises(ValueError, match="max_delay"):
        asynchronous(made, 10, max_delay=0, age_in="arrivals")


def test_minibatch_refuses_a_worker_that_never_answers():
    """The message names the worker, and the round if it is not the first."""
    with pytest.raises(ValueError, match="worker 1 never answers, so no round of minibatch SGD ever ends"):
        minibatch(fleet.fixed([1.0, INF]), 3)
    with pytest.raises(ValueError, match="worker 1 never answers in round 2"):
        minibatch(fleet.equal(2).with_outages({1: [(2.5, INF)]}), 3)


@pytest.mark.parametrize(
    ("updates", "chosen", "message"),
    [
        (0, {}, "`updates` must be at least 1, got 0"),
        (5, {"assignment": "same"}, "`assignment` must be one of .* got 'same'"),
        (5, {"dispatch": "now"}, "`dispatch` must be one of .* got 'now'"),
        (5, {"age_in": "seconds"}, "`age_in` must be one of .* got 'seconds'"),
        (5, {"concurrency": 0}, "`concurrency` must lie between 1 and the 3 workers, got 0"),
        (5, {"concurrency": 4}, "`concurrency` must lie between 1 and the 3 workers, got 4"),
        (5, {"wait_for": 0}, "`wait_for` must lie between 1 and the 3 jobs in flight, got 0"),
        (5, {"wait_for": 3, "concurrency": 2}, "`wait_for` must lie between 1 and the 2 jobs in flight, got 3"),
        (5, {"max_delay": -1}, "`max_delay` must not be negative, got -1"),
        (5, {"wait_for": 2, "max_delay": 3}, "`wait_for` above 1 cannot be combined"),
        (5, {"wait_for": 2, "dispatch": "before"}, "`wait_for` above 1 cannot be combined"),
        (5, {"parallel": True}, "`parallel` jobs need assignment 'random' or 'shuffled'"),
    ],
)
def test_bad_arguments_are_refused(updates, chosen, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        asynchronous(fleet.equal(3), updates, **chosen)


def test_the_same_arguments_give_the_same_schedule():
    """Durations and assignment follow from the seed, and the schedule knows its arguments."""
    made = fleet.exponential(np.ones(5))
    one, same, other = (asynchronous(made, 50, assignment="random", seed=seed) for seed in (7, 7, 8))
    assert one == same
    assert one != other
    assert one.arguments["seed"] == 7
    assert one.arguments["fleet"] == "exponential"
    assert one.arguments["assignment"] == "random"


# Minibatch rounds.


def test_minibatch_waits_for_the_slowest_in_every_round():
    """Workers of 2, 1 and 3 seconds: rounds of three seconds, all at the newest point, three idle seconds per round."""
    schedule = minibatch(fleet.fixed([2.0, 1.0, 3.0]), 4).verify()
    assert schedule.worker.tolist() == [1, 0, 2] * 4
    assert schedule.time.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]
    assert schedule.start.tolist() == [0.0] * 3 + [3.0] * 3 + [6.0] * 3 + [9.0] * 3
    assert schedule.read.tolist() == schedule.job.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert schedule.apply.tolist() == [False, False, True] * 4
    assert schedule.delay.tolist() == [0] * 12
    np.testing.assert_array_equal(schedule.weight, np.full(12, 1 / 3, np.float32))
    assert schedule.ledger.idle_seconds.tolist() == [4.0, 8.0, 0.0]
    assert len(schedule.ledger.pending_worker) == 0


@settings(max_examples=40, deadline=None)
@given(made=fleets(), updates=st.integers(1, 20), seed=st.integers(0, 3))
def test_minibatch_rounds_end_with_the_last_clock(made, updates, seed):
    """Every worker delivers once per round, and a round takes as long as its longest job."""
    schedule = minibatch(made, updates, seed=seed).verify()
    n = made.num_workers
    assert np.sort(schedule.worker.reshape(updates, n)).tolist() == [list(range(n))] * updates
    clocks, now = made.clocks(seed=seed), 0.0
    for end in schedule.version_time[1:]:
        now = max(clock(now) for clock in clocks)
        assert end == now


def test_minibatch_needs_an_update():
    """No round at all is refused."""
    with pytest.raises(ValueError, match="`updates` must be at least 1, got 0"):
        minibatch(fleet.equal(2), 0)


# Delays that are given or drawn.


def test_a_constant_delay_starts_when_there_are_versions_enough():
    """Delay three is 0, 1, 2 and then three for ever; workers take turns on a clock of server steps."""
    schedule = delays(2, 8, 3).verify()
    assert schedule.delay.tolist() == [0, 1, 2, 3, 3, 3, 3, 3]
    assert schedule.read.tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert schedule.worker.tolist() == [0, 1] * 4
    assert schedule.job.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert schedule.clock == "steps"
    assert schedule.time.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@settings(max_examples=40, deadline=None)
@given(given_delays=st.lists(st.integers(0, 12), min_size=1, max_size=30), n=st.integers(1, 4))
def test_given_delays_are_the_delays(given_delays, n):
    """At step k the delay is the given one, or k where there are no older versions."""
    schedule = delays(n, len(given_delays), np.array(given_delays)).verify()
    assert schedule.delay.tolist() == [min(delay, step) for step, delay in enumerate(given_delays)]
    assert schedule.updates == len(given_delays)


def test_every_worker_delivers_in_every_step_at_its_own_snapshot():
    """Given delays per step and worker, each step averages all workers' gradients."""
    schedule = delays(3, 4, np.array([[0, 0, 0], [0, 1, 2], [2, 0, 1], [3, 9, 0]]), every_worker=True).verify()
    assert schedule.worker.tolist() == [0, 1, 2] * 4
    assert schedule.delay.tolist() == [0, 0, 0, 0, 1, 1, 2, 0, 1, 3, 3, 0]
    assert schedule.apply.tolist() == [False, False, True] * 4
    assert schedule.updates == 4
    np.testing.assert_array_equal(schedule.weight, np.full(12, 1 / 3, np.float32))


def test_uniform_delays_are_uniform_up_to_the_maximum():
    """Each of 0 to 4 has a fifth of 20,000 delays, to five standard errors."""
    schedule = delays(3, 20_000, uniform_delays(4), seed=1)
    counts = np.bincount(schedule.delay, minlength=5)
    assert len(counts) == 5
    assert np.all(np.abs(counts - 4000) < 5 * math.sqrt(20_000 * 0.2 * 0.8) + 4)
    assert delays(1, 9, uniform_delays(0)).delay.tolist() == [0] * 9


def test_geometric_delays_have_their_mean_and_start_at_zero():
    """Mean three: a quarter of the delays is zero, and their variance is m (m + 1)."""
    schedule = delays(3, 20_000, geometric_delays(3.0), seed=1)
    assert abs(schedule.delay.mean() - 3.0) < 5 * math.sqrt(12 / 20_000)
    assert abs(np.mean(schedule.delay == 0) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 20_000)
    assert delays(1, 9, geometric_delays(0.0)).delay.tolist() == [0] * 9


def test_drawn_delays_follow_the_seed():
    """The same seed draws the same delays, another one others, also for every worker."""
    for every_worker in (False, True):
        one, same, other = (delays(3, 40, uniform_delays(9), every_worker=every_worker, seed=s) for s in (1, 1, 2))
        assert one == same
        assert one != other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 1), "must be at least 1, got 0 and 5"),
        ((2, 0, 1), "must be at least 1, got 2 and 0"),
        ((2, 3, -1), "`delays` must be whole, not negative"),
        ((2, 3, 1.5), "`delays` must be whole, not negative"),
        ((2, 3, [0, 1]), r"of shape \(3,\)"),
        ((2, 3, [[0, 0], [0, 0], [0, 0]]), r"of shape \(3,\)"),
        ((2, 3, lambda rng, shape: rng.normal(size=shape)), "`delays` must be whole, not negative"),
    ],
)
def test_bad_delays_are_refused(arguments, message):
    """Delays are whole, not negative, and one per step."""
    with pytest.raises(ValueError, match=message):
        delays(*arguments)


def test_bad_delay_laws_are_refused():
    """A maximum or a mean below zero is no law of delays."""
    with pytest.raises(ValueError, match="`maximum` must not be negative, got -1"):
        uniform_delays(-1)
    for mean in (-0.5, float("nan")):
        with pytest.raises(ValueError, match=f"`mean` must not be negative, got {mean}"):
            geometric_delays(mean)
