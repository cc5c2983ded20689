"""Ringmaster, Ringleader and servers with buffers: against a slow event loop, golden traces, limits, times."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import protocol_references as papers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_references import assert_same, drawn_fleets

import jasgd
from jasgd import fleet, theory
from jasgd.protocols import (
    asynchronous,
    buffered,
    malenia,
    minibatch,
    naive_optimal,
    rennala,
    ringleader,
    ringmaster,
    semi_asynchronous,
)

pytestmark = pytest.mark.compiled_quickly
INF = float("inf")
KEY = jax.random.key(0)
THREE = fleet.fixed([1.0, 1.7, 2.3])
RULES = ("server point", "own model")
ROW = ("worker", "job", "read", "start", "time")

seeds = st.integers(0, 3)
steps = st.integers(1, 40)
restarts = st.sampled_from(RULES)
whole_times = st.lists(st.integers(1, 5).map(float), min_size=2, max_size=7)
real_times = st.lists(st.floats(0.5, 9.0), min_size=2, max_size=7)


def same_rows(one, other):
    for name in (*ROW, "apply", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@st.composite
def buffers(draw, n):
    """Any admissible combination of the arguments of ``buffered``."""
    assignment = draw(st.sampled_from(["own", "random", "idle", "shuffled"]))
    return {
        "buffer": draw(st.integers(1, n + 2)),
        "assignment": assignment,
        "concurrency": draw(st.none() | st.integers(1, n)),
        "parallel": assignment in ("random", "shuffled") and draw(st.booleans()),
        "max_delay": draw(st.none() | st.integers(0, 3)),
        "seed": draw(seeds),
    }


# Against the event loop.


@settings(max_examples=150, deadline=None)
@given(made=drawn_fleets(), updates=steps, threshold=st.integers(1, 14), stop=st.booleans(), seed=seeds)
def test_ringmaster_is_the_event_loop(made, updates, threshold, stop, seed):
    """Rows, lost work and jobs under way are those of the reference, bit for bit."""
    chosen = {"threshold": threshold, "stop": stop, "seed": seed}
    schedule = ringmaster(made, updates, **chosen)
    assert_same(schedule, papers.ringmaster(made, updates, **chosen))
    # Every delay is below R, nobody is idle, and only the variant with stops cancels.
    assert schedule.delay.max() <= threshold - 1
    assert not schedule.ledger.idle_seconds.any()
    assert not (schedule.ledger.dropped if stop else schedule.ledger.cancelled).any()


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(fixed=True), updates=steps, data=st.data())
def test_naive_optimal_is_the_event_loop(made, updates, data):
    """As above, for the fastest m workers."""
    workers = data.draw(st.integers(1, made.num_workers))
    assert_same(naive_optimal(made, updates, workers), papers.naive_optimal(made, updates, workers))


@settings(max_examples=120, deadline=None)
@given(made=drawn_fleets(), updates=steps, restart=restarts, seed=seeds)
def test_ringleader_is_the_event_loop(made, updates, restart, seed):
    """As above; and no entry of the table is older than 2 n - 2."""
    trace = papers.ringleader(made, updates, restart=restart, seed=seed)
    assert_same(ringleader(made, updates, restart=restart, seed=seed), trace)
    oldest = max(k - min(min(entry) for entry in table) for k, table in enumerate(trace.tables))
    assert oldest <= 2 * made.num_workers - 2


@settings(max_examples=200, deadline=None)
@given(made=drawn_fleets(), updates=steps, data=st.data())
def test_buffered_is_the_event_loop(made, updates, data):
    """As above, for every way to choose the next client."""
    chosen = data.draw(buffers(made.num_workers))
    schedule = buffered(made, updates, **chosen)
    assert_same(schedule, papers.buffered(made, updates, **chosen))
    if chosen["max_delay"] is not None:
        assert schedule.delay.max() <= chosen["max_delay"]


@settings(max_examples=100, deadline=None)
@given(made=drawn_fleets(), updates=steps, together=st.booleans(), seed=seeds, data=st.data())
def test_semi_asynchronous_is_the_event_loop(made, updates, together, seed, data):
    """As above, with and without a first step of all."""
    chosen = {"first_round": "together" if together else "apart", "seed": seed}
    wait_for = data.draw(st.integers(1, made.num_workers))
    schedule = semi_asynchronous(made, updates, wait_for, **chosen)
    assert_same(schedule, papers.semi_asynchronous(made, updates, wait_for, **chosen))
    sums = np.bincount(schedule.version, schedule.weight.astype(float))
    np.testing.assert_allclose(sums, np.ones(updates), rtol=1e-6)


@pytest.mark.parametrize("threshold", [1, 2, 3])
def test_cancelled_workers_whose_finish_rounding_makes_equal_go_by_their_number(threshold):
    """0.1 + 0.2 is more than 0.3, but after a common start the sums may be the same."""
    made = fleet.fixed([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2])
    assert_same(ringmaster(made, 90, threshold, stop=True), papers.ringmaster(made, 90, threshold, stop=True))


# Golden traces, worked out by hand from the algorithms.

WITHOUT_STOPS = [  # worker, read, version, time
    *[(0, 0, 0, 1.0), (1, 0, 1, 1.7), (0, 1, 2, 2.0), (0, 3, 3, 3.0)],
    *[(0, 4, 4, 4.0), (0, 5, 5, 5.0), (0, 6, 6, 6.0), (1, 6, 7, 6.8)],
]
WITH_STOPS = [
    *[(0, 0, 0, 1.0), (1, 0, 1, 1.7), (0, 1, 2, 2.0), (0, 3, 3, 3.0)],
    *[(0, 4, 4, 4.0), (1, 4, 5, 4.7), (0, 5, 6, 5.0), (0, 7, 7, 6.0)],
]


@pytest.mark.parametrize(("stop", "expected"), [(False, WITHOUT_STOPS), (True, WITH_STOPS)])
def test_golden_trace_of_ringmaster(stop, expected):
    """Workers of 1, 1.7 and 2.3 seconds, R = 2: rows, and what is thrown away or cancelled when."""
    schedule = ringmaster(THREE, 8, threshold=2, stop=stop).verify()
    trace = papers.ringmaster(THREE, 8, threshold=2, stop=stop)
    worker, read, version, time = zip(*expected, strict=True)
    assert schedule.worker.tolist() == list(worker)
    assert schedule.read.tolist() == list(read)
    assert schedule.version.tolist() == list(version)
    np.testing.assert_allclose(schedule.time, time, rtol=1e-12)
    dropped = [] if stop else [(2.3, 2), (3.4, 1), (4.6, 2), (5.1, 1)]
    cancelled = [(1.7, 2), (3.0, 1), (3.0, 2), (4.7, 2), (6.0, 1), (6.0, 2)] if stop else []
    for found, wanted in ((trace.dropped_at, dropped), (trace.cancelled_at, cancelled)):
        assert [(round(when, 9), who) for when, who in found] == wanted
    assert schedule.ledger.dropped.tolist() == ([0, 0, 0] if stop else [0, 2, 2])
    assert schedule.ledger.cancelled.tolist() == ([0, 2, 4] if stop else [0, 0, 0])


@pytest.mark.parametrize("restart", RULES)
def test_golden_trace_of_ringleader(restart):
    """The start of the paper's timeline, workers of 1, 1.44 and 2.05 seconds; the rules first differ at 4.10."""
    made = fleet.fixed([1.0, 1.44, 2.05])
    schedule = ringleader(made, 4, restart=restart).verify()
    np.testing.assert_allclose(schedule.time[schedule.apply], [2.05, 2.88, 3.0, 4.32], rtol=1e-12)
    assert schedule.worker[schedule.apply].tolist() == [2, 1, 0, 1]
    trace = papers.ringleader(made, 4, restart=restart)
    counts = [[len(entry) for entry in table] for table in trace.tables]
    assert counts == [[2, 1, 1], [2, 2, 1], [3, 2, 1], [1, 1, 1]]
    jobs = zip(
        np.concatenate([schedule.worker, schedule.ledger.pending_worker]),
        np.concatenate([schedule.start, schedule.ledger.pending_start]),
        np.concatenate([schedule.read, schedule.ledger.pending_read]),
        strict=True,
    )
    reads = [[], [], []]
    for worker, start, read in sorted(jobs):
        reads[worker].append((round(float(start), 9), int(read)))
    assert [read for _, read in reads[0]] == [0, 0, 0, 3, 3]
    assert [read for _, read in reads[1]] == [0, 0, 2, 4]
    assert reads[2] == [(0.0, 0), (2.05, 1), (4.1, 3 if restart == "server point" else 1)]


# Ringmaster: limits, times.


@settings(max_examples=80, deadline=None)
@given(made=drawn_fleets(), updates=steps, seed=seeds)
def test_a_large_threshold_is_plain_asynchronous_sgd(made, updates, seed):
    """With R above the largest delay nothing is lost, with stops or without."""
    plain = asynchronous(made, updates, seed=seed)
    oldest = max(plain.delay.max(), (updates - plain.ledger.pending_read).max())
    for stop in (False, True):
        assert ringmaster(made, updates, int(oldest) + 1, stop=stop, seed=seed) == plain


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("n", [1, 4])
def test_equal_workers_never_reach_the_threshold_n(n, stop):
    """Delays of equal workers are at most n - 1."""
    assert ringmaster(fleet.equal(n), 40, n, stop=stop) == asynchronous(fleet.equal(n), 40)


@settings(max_examples=100, deadline=None)
@given(times=st.one_of(real_times, whole_times), threshold=st.integers(1, 12), stop=st.booleans())
def test_a_block_of_updates_takes_at_most_its_bound(times, threshold, stop):
    """Any R consecutive updates of Ringmaster take at most 2 min_m H_m (1 + R / m), in the fixed model."""
    schedule = ringmaster(fleet.fixed(times), 80, threshold, stop=stop)
    bound = theory.ringmaster_block_time(times, threshold)
    assert bound == pytest.approx(
        2 * min(m / np.sum(1 / np.sort(times)[:m]) * (1 + threshold / m) for m in range(1, len(times) + 1))
    )
    blocks = schedule.version_time[threshold:] - schedule.version_time[:-threshold]
    assert blocks.max() <= bound * (1 + 1e-9)
    assert schedule.time[-1] <= -(-80 // threshold) * bound * (1 + 1e-9)


@settings(max_examples=40, deadline=None)
@given(made=drawn_fleets(fixed=True), updates=steps)
def test_naive_optimal_with_all_workers_is_plain_asynchronous_sgd(made, updates):
    """And with one it is the fastest alone, without delay."""
    assert naive_optimal(made, updates, made.num_workers) == asynchronous(made, updates)
    alone = naive_optimal(made, updates, 1)
    assert set(alone.worker) == {int(np.argmin(made.times))}
    assert not alone.delay.any()


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, number=st.integers(1, 9), stop=st.booleans())
def test_birch_distances_are_bounded(made, updates, number, stop):
    """Every gradient is taken at an earlier point of the path, used once, at a distance of at most R - 1, or of 0."""
    for schedule, bound in (
        (ringmaster(made, updates, number, stop=stop), number - 1),
        (rennala(made, updates, number, interrupt=stop), 0),
    ):
        distance = schedule.version - schedule.read
        assert np.all((distance >= 0) & (distance <= bound))
        assert len({*zip(schedule.worker.tolist(), schedule.job.tolist(), strict=True)}) == len(schedule)


# Ringleader.


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), rounds=st.integers(1, 8), restart=restarts)
def test_every_worker_causes_one_step_per_round(made, rounds, restart):
    """K = n x rounds; nothing is thrown away, nobody is idle, and the last one marked has delivered nothing ahead."""
    n = made.num_workers
    schedule = ringleader(made, n * rounds, restart=restart).verify()
    causes = schedule.worker[schedule.apply].reshape(rounds, n)
    assert np.sort(causes).tolist() == [list(range(n))] * rounds
    for name in ("dropped", "cancelled", "idle_seconds"):
        assert not getattr(schedule.ledger, name).any()
    trace = papers.ringleader(made, n * rounds, restart=restart)
    # All that arrived is in the tables at the ends of the rounds, or was delivered ahead by who was marked.
    used = sum(len(entry) for table in trace.tables[n - 1 :: n] for entry in table)
    last = np.flatnonzero(schedule.apply)[-n]
    marked, ahead = set(), 0
    for worker, steps_now in zip(schedule.worker[last:].tolist(), schedule.apply[last:], strict=True):
        ahead += worker in marked
        marked |= {worker} if steps_now else set()
    assert used + ahead == len(schedule)


@settings(max_examples=80, deadline=None)
@given(times=real_times, restart=restarts)
def test_a_round_of_ringleader_takes_at_most_twice_the_slowest_time(times, restart):
    """A round of n updates takes at most 2 tau_n; the harmonic mean of the counts is at least tau_n / (2 tau_A)."""
    n = len(times)
    schedule = ringleader(fleet.fixed(times), 10 * n, restart=restart)
    ends = np.append(0.0, schedule.time[schedule.apply][n - 1 :: n])
    assert np.diff(ends).max() <= 2 * max(times) * (1 + 1e-9)
    tables = papers.ringleader(fleet.fixed(times), 10 * n, restart=restart).tables
    smallest = min(n / sum(1 / len(entry) for entry in table) for table in tables)
    assert smallest >= max(times) / (2 * np.mean(times)) * (1 - 1e-9)


@pytest.mark.parametrize("restart", RULES)
@pytest.mark.parametrize("n", [5, 20])
def test_the_oldest_entry_of_ringleader_can_be_two_n_minus_two(n, restart):
    """The bound is attained, by times between 1 and 2."""
    times = np.random.default_rng(n).uniform(1, 2, (20, n))
    oldest = 0
    for row in times:
        tables = papers.ringleader(fleet.fixed(row), 20 * n, restart=restart).tables
        oldest = max(oldest, max(k - min(min(entry) for entry in table) for k, table in enumerate(tables)))
    assert oldest == 2 * n - 2


def test_a_lone_ringleader_is_sgd_and_equal_workers_are_not_synchronous():
    """One worker steps with each gradient, at delay 0; equal ones arrive one after the other."""
    for restart in RULES:
        assert ringleader(fleet.exponential([1.0]), 30, restart=restart) == asynchronous(fleet.exponential([1.0]), 30)
        equal = ringleader(fleet.equal(3), 3, restart=restart)
        assert equal.apply.tolist() == [False, False, True, True, True]
        assert equal.read.tolist() == [0, 0, 0, 0, 0]
        assert equal.time.tolist() == [1.0, 1.0, 1.0, 2.0, 2.0]


# Buffers.


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, parallel=st.booleans(), seed=seeds, data=st.data())
def test_a_buffer_of_one_is_asynchronous_sgd(made, updates, parallel, seed, data):
    """With the same clients drawn, or with the one that delivered."""
    jobs = data.draw(st.integers(1, made.num_workers))
    for assignment in ("random", "shuffled", "own"):
        chosen = {
            "assignment": assignment,
            "concurrency": jobs,
            "parallel": parallel and assignment != "own",
            "seed": seed,
            "max_delay": data.draw(st.none() | st.integers(0, 4)),
        }
        assert buffered(made, updates, 1, **chosen) == asynchronous(made, updates, **chosen)


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, seed=seeds)
def test_a_semi_asynchronous_server_that_waits_for_all_is_synchronous(made, updates, seed):
    """And one that waits for a single worker is plain asynchronous SGD."""
    n = made.num_workers
    for first_round in ("apart", "together"):
        assert semi_asynchronous(made, updates, n, first_round=first_round, seed=seed) == minibatch(made, updates, seed=seed)
    one = semi_asynchronous(made, updates, 1, seed=seed)
    assert one == asynchronous(made, updates, seed=seed)
    together = semi_asynchronous(made, updates, 1, first_round="together", seed=seed)
    rows = asynchronous(made, updates + n - 1, first_round="together", seed=seed)
    for name in ("worker", "job", "start", "time"):
        np.testing.assert_array_equal(getattr(together, name), getattr(rows, name), err_msg=name)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 7), rounds=st.integers(1, 9))
def test_own_buffers_of_all_equal_clients_are_rounds_one_version_late(n, rounds):
    """Who delivered before the buffer was full goes on at the old version, the one that filled it at the new one."""
    schedule = buffered(fleet.equal(n), rounds, buffer=n, assignment="own")
    assert schedule.worker.tolist() == list(range(n)) * rounds
    assert schedule.time[schedule.apply].tolist() == list(range(1, rounds + 1))
    assert schedule.delay.tolist() == [0] * n + ([1] * (n - 1) + [0]) * (rounds - 1)


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, data=st.data())
def test_idle_assignment_never_queues_a_job(made, updates, data):
    """Every job starts the moment its model is sent, at a client that computes nothing else."""
    jobs, buffer = data.draw(st.integers(1, made.num_workers)), data.draw(st.integers(1, 4))
    schedule = buffered(made, updates, buffer, assignment="idle", concurrency=jobs).verify()
    assert len(schedule.ledger.pending_worker) == len(set(schedule.ledger.pending_worker.tolist())) == jobs
    next_version = np.append(schedule.version_time, INF)[schedule.read + 1]
    assert np.all(schedule.start <= next_version)


@pytest.mark.parametrize("assignment", ["own", "random", "idle", "shuffled"])
def test_the_mean_delay_of_a_buffer_is_concurrency_less_one_over_its_size(assignment):
    """(C - 1) / B server steps, to jobs in flight at the end; exactly, with them."""
    made = fleet.exponential(np.arange(1.0, 31.0))
    schedule = buffered(made, 2000, buffer=5, assignment=assignment, concurrency=20, seed=1).verify()
    ages = schedule.updates - schedule.ledger.pending_read
    assert schedule.delay.sum() + ages.sum() == 2000 * 19
    assert schedule.delay.mean() == pytest.approx(19 / 5, rel=0.05)


def test_clients_that_run_jobs_in_parallel_need_the_mean_time():
    """Koloskova et al., Lemma 11: 900 clients of 10 s and 100 of 60 s, C = 10, take 15 s per C gradients."""
    made = fleet.fixed(np.repeat([10.0, 60.0], [900, 100]))
    updates = 2500
    seconds = []
    for seed in range(4):
        schedule = buffered(made, updates, buffer=10, concurrency=10, parallel=True, seed=seed)
        seconds.append(schedule.time[-1] / updates)
    # One gradient in C takes 10 or 60 s, of variance 225, and four runs are 4 x 25 000 of them.
    assert np.mean(seconds) == pytest.approx(15.0, abs=5 * 15 / np.sqrt(4 * 10 * updates) + 0.03)


def test_one_softsync_is_at_most_two_versions_late():
    """Staleness-aware SGD, n = 1: a buffer of all equal learners has delays from 0 to 2, about one on average."""
    schedule = buffered(fleet.jittered(np.ones(30), 0.05), 200, buffer=30, assignment="own")
    assert schedule.delay.max() <= 2
    assert schedule.delay.mean() == pytest.approx(29 / 30, abs=0.05)


# Links.


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_links_are_longer_jobs_and_none_change_nothing(data):
    """A job is download, computation and upload."""
    three = st.lists(st.integers(0, 4).map(float), min_size=3, max_size=3)
    times = np.array(data.draw(three)) + 1
    upload, download = data.draw(three), data.draw(three)
    made = fleet.fixed(times)
    linked = made.with_links(upload=upload, download=download, size=0.5)
    longer = fleet.fixed(times + 0.5 * (np.array(upload) + download))
    free = made.with_links(upload=0, download=0)
    drawn = fleet.exponential(times)
    for protocol in (
        lambda made: ringmaster(made, 20, 2),
        lambda made: ringmaster(made, 20, 2, stop=True),
        lambda made: ringleader(made, 20),
        lambda made: buffered(made, 20, 2),
        lambda made: semi_asynchronous(made, 20, 2),
    ):
        assert protocol(linked) == protocol(longer)
        assert protocol(free) == protocol(made)
        assert protocol(drawn.with_links()) == protocol(drawn)
    assert naive_optimal(linked, 20, 2) == naive_optimal(longer, 20, 2)


# Workers that fail, wrong arguments.


@pytest.mark.parametrize(
    "made",
    [fleet.fixed([1.0, 1.7, INF]), fleet.equal(3).with_outages({2: [(0.0, INF)]})],
    ids=["infinite time", "endless outage"],
)
def test_a_worker_that_never_answers_stops_only_ringleader(made):
    """The others go on without it; Ringleader says so instead of waiting for ever."""
    for schedule in (
        ringmaster(made, 20, 2),
        ringmaster(made, 20, 2, stop=True),
        buffered(made, 9, 2, assignment="own"),
        semi_asynchronous(made, 9, 2),
    ):
        assert set(schedule.verify().worker) == {0, 1}
    for restart in RULES:
        with pytest.raises(ValueError, match="worker 2 never answers, and this protocol waits for every worker"):
            ringleader(made, 9, restart=restart)
    with pytest.raises(ValueError, match="no worker answers any more after update 0; 9 were asked for"):
        semi_asynchronous(made, 9, 3)


def test_schedules_end_when_nobody_answers_any_more():
    """Equal workers that stop at 4.5 seconds have delivered four times each."""
    made = fleet.equal(2).with_outages({i: [(4.5, INF)] for i in range(2)})
    assert len(ringmaster(made, 8, 2)) == 8
    for call in (
        lambda: ringmaster(made, 9, 2),
        lambda: ringmaster(made, 9, 2, stop=True),
        lambda: naive_optimal(made, 9, 2),
        lambda: buffered(made, 5, 2, assignment="own"),
        lambda: semi_asynchronous(made, 5, 2),
    ):
        with pytest.raises(ValueError, match=r"no worker answers any more after update \d; \d were asked for"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ringmaster(THREE, 0, 2), "`updates` must be at least 1, got 0"),
        (lambda: ringmaster(THREE, 5, 0), "`threshold` must be at least 1, got 0"),
        (lambda: naive_optimal(THREE, 0, 1), "`updates` must be at least 1, got 0"),
        (lambda: naive_optimal(THREE, 5, 4), "`workers` must lie between 1 and 3, got 4"),
        (lambda: naive_optimal(fleet.exponential([1.0, 2.0]), 5, 1), "this fleet draws its durations"),
        (lambda: ringleader(THREE, 0), "`updates` must be at least 1, got 0"),
        (lambda: ringleader(THREE, 5, restart="new"), "`restart` must be 'server point' or 'own model', got 'new'"),
        (lambda: buffered(THREE, 0, 1), "`updates` must be at least 1, got 0"),
        (lambda: buffered(THREE, 5, 0), "`buffer` must be at least 1, got 0"),
        (lambda: buffered(THREE, 5, 1, assignment="mine"), "`assignment` must be .*, got 'mine'"),
        (lambda: buffered(THREE, 5, 1, concurrency=4), "`concurrency` must lie between 1 and the 3 workers, got 4"),
        (lambda: buffered(THREE, 5, 1, assignment="own", parallel=True), "the others never choose a busy client"),
        (lambda: buffered(THREE, 5, 1, max_delay=-1), "`max_delay` must not be negative, got -1"),
        (lambda: semi_asynchronous(THREE, 0, 1), "`updates` must be at least 1, got 0"),
        (lambda: semi_asynchronous(THREE, 5, 4), "`wait_for` must lie between 1 and the 3 workers, got 4"),
        (lambda: semi_asynchronous(THREE, 5, 1, first_round="late"), "`first_round` must be 'apart' or 'together', got"),
        (lambda: THREE.with_links(upload=-1.0), "`upload` must not be negative, but that of worker 0 is -1.0"),
        (lambda: THREE.with_links(download=[1.0, 2.0]), r"`download` must be a number or one per worker \(3\)"),
        (lambda: THREE.with_links(upload=1.0, size=-2.0), "`size` must not be negative, got -2.0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    """With one sentence that says what is expected."""
    with pytest.raises(ValueError, match=message):
        call()


# With rules.

CURVATURES, CENTRES = np.array([1.0, 2.0, 0.5]), np.array([1.0, -1.5, 3.0])
OPTIMUM = float(np.sum(CURVATURES * CENTRES) / np.sum(CURVATURES))


def parabolas(noise=0.0):
    """Worker i has f_i(x) = a_i (x - b_i)^2 / 2; the uniform optimum is none of the b_i."""
    a, b = jnp.asarray(CURVATURES, jnp.float32), jnp.asarray(CENTRES, jnp.float32)
    return jasgd.Problem(
        init=lambda key: jnp.full((1,), 5.0),
        loss=lambda x, z: 0.5 * z[0] * jnp.sum((x - z[1] + z[2]) ** 2),
        sample=lambda key, worker: jnp.stack([a[worker], b[worker], noise * jax.random.normal(key)]),
        metrics=lambda x: {
            "loss": 0.5 * jnp.mean(a * (x[0] - b) ** 2),
            "grad_norm": jnp.abs(jnp.mean(a * (x[0] - b))),
        },
        num_workers=3,
    )


@pytest.mark.parametrize("restart", RULES)
def test_ringleader_with_its_rule_is_the_slow_replay(restart):
    """Compiled lanes and one gradient at a time give the same point, with noise; without, it is the table's, by hand."""
    made, rule = fleet.fixed([1.0, 1.44, 2.05]), jasgd.rules.ringleader(0.05, 3)
    schedule = ringleader(made, 12, restart=restart)
    replayed = jasgd.reference.replay(parabolas(0.5), rule, schedule, key=KEY)[-1]
    noisy = jasgd.simulate(parabolas(0.5), rule, schedule, key=KEY, lanes=3)
    np.testing.assert_allclose(noisy.params, replayed, rtol=1e-5, atol=1e-5)
    x = [5.0]
    for table in papers.ringleader(made, 12, restart=restart).tables:
        means = [CURVATURES[i] * np.mean([x[read] - CENTRES[i] for read in entry]) for i, entry in enumerate(table)]
        x.append(x[-1] - 0.05 * np.mean(means))
    exact = jasgd.simulate(parabolas(), rule, schedule, key=KEY, lanes=3)
    np.testing.assert_allclose(exact.params, [x[-1]], rtol=1e-5, atol=1e-5)


def test_balanced_protocols_reach_the_uniform_optimum_and_plain_asynchronous_sgd_does_not():
    """Different data and speeds, no noise: Ringleader and Malenia weigh workers alike, the others by their speed."""
    made = fleet.fixed([1.0, 4.1, 6.3])
    problem = parabolas()

    def end(rule, schedule):
        return float(jasgd.simulate(problem, rule, schedule, key=KEY, lanes=4).params[0])

    assert end(jasgd.rules.ringleader(0.05, 3), ringleader(made, 600)) == pytest.approx(OPTIMUM, abs=1e-4)
    assert end(optax.sgd(0.2), malenia(made, 100, 7)) == pytest.approx(OPTIMUM, abs=1e-4)
    shares = CURVATURES / made.times
    biased = float(np.sum(shares * CENTRES) / np.sum(shares))
    assert abs(biased - OPTIMUM) > 0.4
    assert end(optax.sgd(0.002), asynchronous(made, 8000)) == pytest.approx(biased, abs=0.02)
    assert abs(end(optax.sgd(0.2), rennala(made, 100, 8)) - OPTIMUM) > 0.4


def test_ringleader_and_malenia_stay_at_the_optimum():
    """Started there, with exact gradients of different functions, every step is zero."""
    made, start = fleet.fixed([1.0, 1.44, 2.05]), jnp.full((1,), OPTIMUM, jnp.float32)
    for rule, schedule in (
        (jasgd.rules.ringleader(0.1, 3), ringleader(made, 30)),
        (optax.sgd(0.1), malenia(made, 30)),
    ):
        run = jasgd.simulate(parabolas(), rule, schedule, key=KEY, params=start, lanes=3)
        np.testing.assert_allclose(run.params, start, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f: jasgd.protocols.ringmaster(f, 12, threshold=2.5, stop=True),
            "`threshold` must be a whole number, got 2.5",
        ),
        (lambda f: jasgd.protocols.rennala(f, 3, batch=4.5), "`batch` must be a whole number, got 4.5"),
        (lambda f: jasgd.protocols.buffered(f, 3, buffer=2.5), "`buffer` must be a whole number, got 2.5"),
        (lambda f: jasgd.protocols.ringleader(f, 10.5), "`updates` must be a whole number, got 10.5"),
        (lambda f: jasgd.protocols.m_synchronous(f, 10, 1.5), "`m` must be a whole number, got 1.5"),
    ],
)
def test_fractions_are_refused_instead_of_looping_for_ever(call, message):
    """noise**2 / accuracy is rarely a whole number; a count of 2.5 is never reached."""
    with pytest.raises(ValueError, match=message):
        call(fleet.fixed([1.0, 1.7, 2.3]))
