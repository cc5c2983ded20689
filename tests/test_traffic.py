"""What histories say of the links: slow counts of every arrival, cut and saved schedules, bytes of messages, labels.

A slow count goes from one arrival to the next and adds up what it carried; seconds are summed without rounding.
"""

import dataclasses
import math

import jax
import numpy as np
import optax
import protocol_references as papers
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_references import drawn_fleets

import jasgd
from jasgd import compressors, fleet, oracles, protocols, rules
from jasgd.protocols import _too_slow
from jasgd.traffic import UNITS, Contents, Traffic, columns, traffic

pytestmark = pytest.mark.compiled_quickly
INF = float("inf")
KEY = jax.random.key(0)
DIM = 10
PROBLEM = jasgd.problems.quadratic(DIM, noise=0.1)
MODEL = 4 * DIM  # bytes

seeds = st.integers(0, 3)
steps = st.integers(1, 20)


def link(made):
    """Seconds that a job of each worker needs its link."""
    return np.zeros(made.num_workers) if made.upload is None else np.array(made.upload) + np.array(made.download)


def summed(per_version):
    """What has happened when each version comes into being, from what each has seen as the newest one."""
    so_far, found = [], [0.0]
    for events in per_version:
        so_far += events
        found.append(math.fsum(so_far))
    return found


def used_while(rows):
    """For each version the workers whose gradients are used while it is the newest; rows of (worker, ..., apply)."""
    found = [[]]
    for worker, *_, apply in rows:
        found[-1].append(worker)
        if apply:
            found.append([])
    assert not found[-1], "the last row steps"
    return found[:-1]


def arrivals_of(trace):
    """As above, with those thrown away."""
    found = used_while(trace.rows)
    for worker, version in trace.dropped_while:
        found[version].append(worker)
    return found


def assert_carried(schedule, messages, models, seconds):
    """These numbers, version by version."""
    carried = traffic(schedule.verify())
    assert carried.messages.dtype == carried.models.dtype == np.int64
    np.testing.assert_array_equal(carried.messages, messages, err_msg="messages")
    np.testing.assert_array_equal(carried.models, models, err_msg="models")
    np.testing.assert_allclose(carried.seconds, seconds, rtol=1e-12, atol=0, err_msg="seconds")


def assert_counted(schedule, made, arrived):
    """Each of these jobs has had one model, one message, and its link for as long as both take."""
    jobs = summed([[1] * len(workers) for workers in arrived])
    assert_carried(schedule, jobs, jobs, summed([link(made)[workers].tolist() for workers in arrived]))


def rows_of(schedule):
    """The table as rows of (worker, apply)."""
    return list(zip(schedule.worker.tolist(), schedule.apply.tolist(), strict=True))


# Every protocol against a slow count.

COUNTED = {  # by which test of this file
    "asynchronous": "test_aged_gradients_are_counted_when_they_arrive",
    "ata": "test_protocols_that_lose_nothing_carry_their_rows",
    "buffered": "test_buffers_carry_what_the_event_loop_counts",
    "delays": "test_given_delays_carry_bytes_and_no_seconds",
    "doubling_budget": "test_a_doubled_budget_carries_its_stages_in_vain",
    "fastest_worker": "test_a_worker_alone_carries_nothing",
    "geometric_delays": "test_given_delays_carry_bytes_and_no_seconds",
    "m_synchronous": "test_rounds_carry_what_the_event_loop_counts",
    "malenia": "test_rounds_carry_what_the_event_loop_counts",
    "mindflayer": "test_trials_that_are_cut_carry_nothing",
    "minibatch": "test_protocols_that_lose_nothing_carry_their_rows",
    "naive_optimal": "test_asynchronous_servers_carry_what_the_event_loop_counts",
    "rennala": "test_rounds_carry_what_the_event_loop_counts",
    "ringleader": "test_asynchronous_servers_carry_what_the_event_loop_counts",
    "ringmaster": "test_asynchronous_servers_carry_what_the_event_loop_counts",
    "semi_asynchronous": "test_buffers_carry_what_the_event_loop_counts",
    "shadowheart": "test_shadowheart_carries_several_messages_and_one_model",
    "uniform_delays": "test_given_delays_carry_bytes_and_no_seconds",
}


def test_every_protocol_is_counted():
    """Each public protocol has its test here."""
    assert set(COUNTED) == set(protocols.__all__)
    assert set(COUNTED.values()) <= set(globals())


@settings(max_examples=80, deadline=None)
@given(made=drawn_fleets(), updates=steps, interrupt=st.booleans(), seed=seeds, data=st.data())
def test_rounds_carry_what_the_event_loop_counts(made, updates, interrupt, seed, data):
    """Rennala, Malenia and m-Sync: late gradients that are thrown away count, jobs that are cancelled do not."""
    options = {"interrupt": interrupt, "seed": seed}
    for name, number in (
        ("rennala", data.draw(st.integers(1, 9))),
        ("malenia", data.draw(st.none() | st.integers(1, 20))),
        ("m_synchronous", data.draw(st.integers(1, made.num_workers))),
    ):
        schedule = getattr(protocols, name)(made, updates, number, **options)
        trace = getattr(papers, name)(made, updates, number, **options)
        assert_counted(schedule, made, arrivals_of(trace))


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, stop=st.booleans(), seed=seeds, data=st.data())
def test_asynchronous_servers_carry_what_the_event_loop_counts(made, updates, stop, seed, data):
    """Ringmaster with and without stops, its naive form, and Ringleader."""
    threshold = data.draw(st.integers(1, 8))
    schedule = protocols.ringmaster(made, updates, threshold, stop=stop, seed=seed)
    assert_counted(schedule, made, arrivals_of(papers.ringmaster(made, updates, threshold, stop=stop, seed=seed)))
    restart = data.draw(st.sampled_from(["server point", "own model"]))
    schedule = protocols.ringleader(made, updates, restart=restart, seed=seed)
    assert_counted(schedule, made, arrivals_of(papers.ringleader(made, updates, restart=restart, seed=seed)))
    if made.times is not None:
        few = data.draw(st.integers(1, made.num_workers))
        schedule = protocols.naive_optimal(made, updates, few)
        assert_counted(schedule, made, arrivals_of(papers.naive_optimal(made, updates, few)))


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, seed=seeds, data=st.data())
def test_buffers_carry_what_the_event_loop_counts(made, updates, seed, data):
    """FedBuff, which may throw away; asynchronous SGD by any assignment, its buffer of one; semi-asynchronous steps."""
    options = {
        "assignment": data.draw(st.sampled_from(["own", "random", "shuffled"])),
        "concurrency": data.draw(st.integers(1, made.num_workers)),
        "max_delay": data.draw(st.none() | st.integers(0, 4)),
        "seed": seed,
    }
    options["parallel"] = options["assignment"] != "own" and data.draw(st.booleans())
    buffer = data.draw(st.integers(1, 4))
    schedule = protocols.buffered(made, updates, buffer, **options)
    assert_counted(schedule, made, arrivals_of(papers.buffered(made, updates, buffer, **options)))
    schedule = protocols.asynchronous(made, updates, **options)
    assert_counted(schedule, made, arrivals_of(papers.buffered(made, updates, 1, **options)))
    wait_for = data.draw(st.integers(1, made.num_workers))
    together = {"first_round": data.draw(st.sampled_from(["apart", "together"])), "seed": seed}
    schedule = protocols.semi_asynchronous(made, updates, wait_for, **together)
    assert_counted(schedule, made, arrivals_of(papers.semi_asynchronous(made, updates, wait_for, **together)))


def aged(made, updates, max_delay, age_in, dispatch, seed):
    """Asynchronous SGD that throws away what is too old, in updates or in arrivals."""
    shop, trace = papers.Workshop(made, seed), papers.Trace(made.num_workers)
    given_out = [0] * made.num_workers  # how many had arrived by then
    for worker in range(made.num_workers):
        shop.start(worker, read=0, now=0.0)
    version = arrivals = 0
    while version < updates:
        job = shop.next_delivery()
        newest = version
        if (version - job.read if age_in == "updates" else arrivals - given_out[job.worker]) > max_delay:
            trace.drop(job, delay=version - job.read)
        else:
            trace.use(job, weight=1, apply=True)
            version += 1
        arrivals += 1
        given_out[job.worker] = arrivals
        shop.start(job.worker, read=version if dispatch == "after" else newest, now=job.finish)
    return trace


@settings(max_examples=80, deadline=None)
@given(
    made=drawn_fleets(),
    updates=steps,
    spare=st.integers(0, 3),
    age_in=st.sampled_from(["updates", "arrivals"]),
    dispatch=st.sampled_from(["after", "before"]),
    seed=seeds,
)
def test_aged_gradients_are_counted_when_they_arrive(made, updates, spare, age_in, dispatch, seed):
    """Whether age is counted in updates or in arrivals; nothing is thrown away of those who never are too old."""
    # A smaller age in arrivals may drop every gradient for ever.
    max_delay = spare + (made.num_workers - 1 if age_in == "arrivals" else dispatch == "before")
    schedule = protocols.asynchronous(made, updates, max_delay=max_delay, age_in=age_in, dispatch=dispatch, seed=seed)
    trace = aged(made, updates, max_delay, age_in, dispatch, seed)
    assert schedule.ledger.dropped.tolist() == trace.dropped
    assert_counted(schedule, made, arrivals_of(trace))
    if dispatch == "after":
        plain = protocols.asynchronous(made, updates, seed=seed)
        assert_counted(plain, made, arrivals_of(papers.ringmaster(made, updates, np.inf, seed=seed)))


slow_times = st.lists(st.sampled_from([0.5, 1.0, 1.1, 3.0, 7.0, 20.0, 64.0, 500.0, INF]), min_size=2, max_size=8)


@settings(max_examples=80, deadline=None)
@given(times=slow_times, place=st.integers(0, 8), updates=st.integers(1, 40), few=st.integers(1, 3), data=st.data())
def test_workers_that_are_always_too_late_are_counted_when_they_arrive(times, place, updates, few, data):
    """They are counted afterwards, a few arrivals at a time here; equal times go by worker, and some never answer."""
    times = [*times[:place], 1.0, *times[place:]]
    seconds = st.sampled_from([0.0, 0.25, 2.0])
    upload, download = (np.array([data.draw(seconds) for _ in times]) for _ in range(2))
    made = fleet.fixed(times).with_links(upload=upload, download=download)
    if data.draw(st.booleans()):  # the same times with another share of the links in them
        made = fleet.fixed(times)
        made = dataclasses.replace(made, upload=upload, download=download)
    m = int(min(few, np.isfinite(made.times).sum()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_too_slow, "_BLOCK", data.draw(st.sampled_from([2, 1_000_000])))
        for schedule, trace in (
            (protocols.rennala(made, updates, few, interrupt=False), papers.rennala(made, updates, few, interrupt=False)),
            (protocols.ringmaster(made, updates, few), papers.ringmaster(made, updates, few)),
            (
                protocols.m_synchronous(made, updates, m, interrupt=False),
                papers.m_synchronous(made, updates, m, interrupt=False),
            ),
        ):
            assert_counted(schedule, made, arrivals_of(trace))
            # Once more, by the clock alone: all that is over before (time, worker) of the row that makes the version.
            arrived = sorted(trace.dropped_at + [(row[4], row[0]) for row in trace.rows])
            ends = [(row[4], row[0]) for row in trace.rows if row[6]]
            expected = [0] + [sum(event <= end for event in arrived) for end in ends]
            np.testing.assert_array_equal(traffic(schedule).messages, expected)


def test_a_slow_worker_in_numbers():
    """Of workers of 1, 1 and 7.5 seconds the last one's jobs are dropped, at 15 and 30 seconds after those of the others."""
    made = fleet.fixed([0.5, 1.0, 7.0]).with_links(upload=[0.5, 0.0, 0.25], download=[0.0, 0.0, 0.25])
    assert _too_slow.split(made, _too_slow.most_seconds_for(2, made)) == ([0, 1], [2])  # it is counted afterwards
    schedule = protocols.ringmaster(made, 60, threshold=2).verify()  # two updates a second, of workers 0 and 1
    assert schedule.ledger.dropped.tolist() == [0, 0, 3]
    versions = np.arange(61)
    late = np.floor((schedule.version_time - 1e-9).clip(0) / 7.5).astype(int)
    assert_carried(schedule, versions + late, versions + late, 0.5 * ((versions + 1) // 2) + 0.5 * late)


@settings(max_examples=40, deadline=None)
@given(made=drawn_fleets(power=False), updates=steps, batch=st.integers(1, 9), seed=seeds, data=st.data())
def test_protocols_that_lose_nothing_carry_their_rows(made, updates, batch, seed, data):
    """Minibatches, of some or of all, have so many rows per step as take part; ATA has its batch."""
    participants = data.draw(st.none() | st.integers(1, made.num_workers))
    allocation = data.draw(st.sampled_from(["uniform", "empirical"]))
    for schedule, each in (
        (protocols.minibatch(made, updates, participants=participants, seed=seed), participants or made.num_workers),
        (protocols.ata(made, updates, batch, allocation=allocation, seed=seed), batch),
    ):
        rows = rows_of(schedule)
        assert [len(workers) for workers in used_while(rows)] == [each] * updates
        assert_counted(schedule, made, used_while(rows))


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(power=False), updates=steps, seed=seeds, data=st.data())
def test_trials_that_are_cut_carry_nothing(made, updates, seed, data):
    """MindFlayer: a trial that finishes in its time has had a model and sent a message; one that is cut has not."""
    n = made.num_workers
    trials = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    allotted = data.draw(st.lists(st.sampled_from([0.5, 3.0, 40.0]), min_size=n, max_size=n))
    allotted[int(np.argmax(trials))] = 40.0  # somebody must be able to finish
    durations = [iter(made.durations(i, 6000, seed=seed)) for i in range(n)]
    rounds = []
    while len(rounds) < updates:
        finished = [i for i in range(n) for _ in range(trials[i]) if next(durations[i]) <= allotted[i]]
        if finished:  # else the step has size zero, and there is no version
            rounds.append(finished)
    schedule = protocols.mindflayer(made, updates, trials, allotted, success=0.5, seed=seed)
    assert_counted(schedule, made, rounds)


@settings(max_examples=40, deadline=None)
@given(made=drawn_fleets(power=False), updates=steps, omega=st.sampled_from([0.0, 1.0, 9.0]), data=st.data())
def test_shadowheart_carries_several_messages_and_one_model(made, updates, omega, data):
    """Everybody who is fast enough has one model and floor(t / tau) messages per round, and its link for all of them."""
    n = made.num_workers
    compute = None if made.times is not None else np.ones(n)
    h = np.ones(n) if made.times is None else (made.times if made.computing is None else made.computing.times)
    # A message takes some time, or the number of messages is limited.
    schedule = protocols.shadowheart(made, updates, omega, 2.0, max_messages=5, compute=compute)
    budget = schedule.arguments["time"]
    sent, received, seconds = 0, 0, []
    for i in range(n):
        tau = 0.0 if made.upload is None else made.upload[i]
        gradients = math.floor(budget / h[i] * (1 + 1e-12))
        messages = 5 if tau == 0 else min(5, math.floor(budget / tau * (1 + 1e-12)))
        if gradients and messages:
            sent, received = sent + messages, received + 1
            seconds += [tau] * messages + [0.0 if made.download is None else made.download[i]]
    rounds = np.arange(updates + 1)
    assert_carried(schedule, sent * rounds, received * rounds, summed([seconds] * updates))


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.sampled_from([0.5, 1.0, 3.0, 9.0, INF]), min_size=1, max_size=4),
    updates=st.integers(1, 5),
    omega=st.sampled_from([0.0, 1.0, 9.0]),
    first=st.sampled_from([0.125, 0.75, 4.0, 100.0]),
    data=st.data(),
)
def test_a_doubled_budget_carries_its_stages_in_vain(times, updates, omega, first, data):
    """Stage after stage: the messages of those that are not enough were sent all the same; of the model there is one."""
    times = [1.0, *times]
    upload = [data.draw(st.sampled_from([0.25, 1.0, 7.0, INF])) for _ in times]
    upload[0] = 1.0
    made = fleet.fixed(times).with_links(upload=upload)
    sent, received, seconds, normaliser, budget = 0, 0, [], 0.0, first
    while normaliser < 1:
        normaliser = received = 0
        for h, tau in zip(times, upload, strict=True):
            b, m = math.floor(budget / h * (1 + 1e-12)), math.floor(budget / tau * (1 + 1e-12))
            if b and m:
                received += 1
                sent += m
                seconds += [tau] * m
                normaliser += b * m / (b * omega + omega * 2.0 + m * 2.0)
        budget *= 2
    schedule = protocols.doubling_budget(made, updates, omega, 2.0, first=first)
    rounds = np.arange(updates + 1)
    assert_carried(schedule, sent * rounds, received * rounds, summed([seconds] * updates))


def test_a_worker_alone_carries_nothing():
    """It needs no server: no bytes, no seconds, even where its link takes some."""
    schedule = protocols.fastest_worker(fleet.fixed([2.0, 1.0]).with_links(upload=3.0, download=1.0), 7)
    zeros = np.zeros(8, int)
    assert_carried(schedule, zeros, zeros, zeros)
    run = jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, key=KEY, lanes=1)
    assert all(not run.history[name].any() for name in UNITS)


@pytest.mark.parametrize("every_worker", [False, True])
@pytest.mark.parametrize("drawn", [2, protocols.uniform_delays(3), protocols.geometric_delays(2.0)])
def test_given_delays_carry_bytes_and_no_seconds(drawn, every_worker):
    """Where nobody has a speed each row is a message and a model, and links take no time."""
    schedule = protocols.delays(3, 12, drawn, every_worker=every_worker)
    jobs = (3 if every_worker else 1) * np.arange(13)
    assert_carried(schedule, jobs, jobs, np.zeros(13))


def test_a_log_carries_its_events():
    """A cluster's log says nothing of its links: one message and one model per event, no seconds."""
    log = jasgd.Schedule.from_events(worker=[0, 1, 0, 2], start=[0.0, 0.0, 1.0, 0.0], finish=[1.0, 1.5, 2.0, 2.0])
    assert_carried(log, range(5), range(5), np.zeros(5))
    history = jasgd.simulate(PROBLEM, optax.sgd(0.1), log, key=KEY, every=2, lanes=1).history
    for name, expected in (("uploaded_bytes", [0, 80, 160]), ("downloaded_bytes", [0, 80, 160]), ("wire_seconds", [0] * 3)):
        assert history[name].tolist() == expected


def test_a_link_that_never_answers_carries_nothing():
    """Its infinite seconds are in no sum."""
    made = fleet.fixed([1.0, 1.0, 1.0]).with_links(upload=[0.5, INF, 0.25], download=[0.0, 0.0, INF])
    for schedule in (
        protocols.asynchronous(made, 6),
        protocols.ringmaster(made, 6, 1),
        protocols.ringmaster(made, 6, 1, stop=True),
        protocols.rennala(made, 6, 1),
        protocols.rennala(made, 6, 1, interrupt=False),
        protocols.m_synchronous(made, 6, 1, interrupt=False),
        protocols.buffered(made, 6, 1, assignment="own"),
    ):
        assert_carried(schedule, range(7), range(7), 0.5 * np.arange(7))


# Cut, saved and broken schedules.

LINKED = fleet.fixed([1.0, 1.7, 2.3, 9.0]).with_links(upload=[0.5, 0.1, 1.0, 0.3], download=0.2)
MAKERS = {
    "asynchronous": lambda updates: protocols.asynchronous(LINKED, updates, max_delay=2),
    "rennala": lambda updates: protocols.rennala(LINKED, updates, 3, interrupt=False),
    "m_synchronous": lambda updates: protocols.m_synchronous(LINKED, updates, 2, interrupt=False),
    "ringmaster": lambda updates: protocols.ringmaster(LINKED, updates, 1),
    "buffered": lambda updates: protocols.buffered(LINKED, updates, 2, assignment="own", max_delay=0),
    "doubling_budget": lambda updates: protocols.doubling_budget(
        fleet.fixed([1.0, 2.0]).with_links(upload=[0.1, 0.7]), updates, 3.0, 2.0, first=0.5
    ),
    "shadowheart": lambda updates: protocols.shadowheart(LINKED, updates, 3.0, 2.0),
    "ringleader": lambda updates: protocols.ringleader(LINKED, updates),
    "minibatch": lambda updates: protocols.minibatch(fleet.equal(3), updates),
}
LOSING = ("asynchronous", "rennala", "m_synchronous", "ringmaster", "buffered", "doubling_budget")


@pytest.mark.parametrize("name", MAKERS)
def test_the_head_of_a_schedule_has_carried_the_head(name):
    """A cut schedule, by updates or by time, and a shorter one of the same protocol."""
    schedule, shorter = MAKERS[name](25), MAKERS[name](10)
    assert (schedule.lost is not None and schedule.lost.messages.sum() > 0) == (name in LOSING)
    carried = traffic(schedule)
    assert traffic(shorter) == carried.first(11)
    for k in (0, 1, 9, 10, 24, 25):
        assert traffic(schedule.first_updates(k)) == carried.first(k + 1)
    for time in (0.0, schedule.time[0], schedule.version_time[7], schedule.version_time[7] + 0.01, INF):
        versions = sum(schedule.version_time <= time)
        assert traffic(schedule.until(time)) == carried.first(versions)
    twice = schedule.until(schedule.version_time[20]).first_updates(9)
    assert traffic(twice.verify()) == carried.first(10)


@pytest.mark.parametrize("name", MAKERS)
def test_a_saved_schedule_has_carried_the_same(name, tmp_path):
    """Whole, or cut and so without a ledger."""
    schedule = MAKERS[name](25)
    for written in (schedule, schedule.first_updates(10)):
        written.save(tmp_path / "schedule.npz")
        read = jasgd.Schedule.load(tmp_path / "schedule.npz")
        assert traffic(read) == traffic(written)
        assert read.lost == written.lost
        assert read.ledger is None or read.ledger.lost == read.lost


def test_traffic_is_compared_by_its_numbers():
    """Which the tests above rely on."""
    carried = traffic(MAKERS["rennala"](10))
    assert carried == carried.first(11)
    assert carried != carried.first(10)
    for name in ("messages", "models", "seconds"):
        assert carried != dataclasses.replace(carried, **{name: getattr(carried, name) + 1})
    assert carried != 3


def lost(length=10, **changes):
    """What ten versions have lost."""
    zeros = np.zeros(length, np.int64)
    return Traffic(**{"messages": zeros, "models": zeros, "seconds": np.zeros(length), **changes})


BROKEN = {
    "one version too many": {"lost": lost(11)},
    "one version too few": {"lost": lost(9)},
    "one column short": {"lost": lost(models=np.zeros(9, np.int64))},
    "negative messages": {"lost": lost(messages=np.array([0, 1, -1, 0, 0, 0, 0, 0, 0, 0]))},
    "negative seconds": {"lost": lost(seconds=np.linspace(-1e-9, 1.0, 10))},
    "not a number of seconds": {"lost": lost(seconds=np.full(10, np.nan))},
    "links of three": {"wire_seconds": np.ones(3)},
    "a negative link": {"wire_seconds": np.array([1.0, -0.5, 1.0, 1.0])},
    "contents of three": {"contents": Contents(gradients=np.ones(4), messages=np.ones(3), models=np.ones(4))},
    "negative contents": {"contents": Contents(gradients=np.ones(4), messages=np.ones(4), models=-np.ones(4))},
}


@pytest.mark.parametrize("change", BROKEN)
def test_what_cannot_have_been_carried_is_refused(change, tmp_path):
    """By verify, and so by files and simulations."""
    schedule = MAKERS["rennala"](10).verify()
    broken = dataclasses.replace(schedule, ledger=None, **BROKEN[change])
    with pytest.raises(ValueError, match="numbers, none negative, got"):
        broken.verify()
    broken.save(tmp_path / "schedule.npz")
    with pytest.raises(ValueError, match="breaks a law"):
        jasgd.Schedule.load(tmp_path / "schedule.npz")
    with pytest.raises(ValueError, match="numbers, none negative, got"):
        jasgd.simulate(PROBLEM, optax.sgd(0.1), broken, key=KEY)


@pytest.mark.parametrize("missing", ["lost_messages", "lost_models", "lost_seconds"])
def test_a_file_with_half_a_loss_is_refused(missing, tmp_path):
    """It is incomplete, which is said in one sentence."""
    MAKERS["rennala"](10).save(tmp_path / "whole.npz")
    with np.load(tmp_path / "whole.npz") as file:
        np.savez(tmp_path / "half.npz", **{name: file[name] for name in file.files if name != missing})
    with pytest.raises(ValueError, match=f"incomplete: it lacks .*{missing}"):
        jasgd.Schedule.load(tmp_path / "half.npz")


# Histories.

SCHEDULE = MAKERS["rennala"](23)
TOP_1 = compressors.top_k(1)
SENT = {  # rule, oracle, bytes of a job's messages
    "4 levels": (optax.sgd(0.1), oracles.compressed(oracles.gradient(2), compressors.qsgd(4)), 4 + 5),
    "3 messages": (optax.sgd(0.1), oracles.compressed(oracles.gradient(), compressors.rand_k(2), messages=3), 3 * 8),
    "EF21 in a chain": (optax.chain(rules.scale_by_ef21(4, TOP_1), optax.sgd(0.1)), oracles.gradient(4), 5),
}


def expected_columns(schedule, versions, message_bytes):
    """Of jobs that send so many bytes each, one arrival after the other."""
    carried = traffic(schedule)
    return {
        "uploaded_bytes": [int(carried.messages[v]) * message_bytes for v in versions],
        "downloaded_bytes": [int(carried.models[v]) * MODEL for v in versions],
        "wire_seconds": carried.seconds[versions].tolist(),
    }


@pytest.mark.parametrize("name", SENT)
def test_histories_hold_what_jobs_send(name):
    """Messages times their bytes, at every recorded version."""
    rule, oracle, message_bytes = SENT[name]
    run = jasgd.simulate(PROBLEM, rule, SCHEDULE, key=KEY, every=10, oracle=oracle, lanes=1)
    assert run.history["version"].tolist() == [0, 10, 20, 23]
    for column, expected in expected_columns(SCHEDULE, run.history["version"], message_bytes).items():
        assert run.history[column].dtype == np.float64
        assert run.history[column].tolist() == expected, column


def test_histories_at_times_hold_what_their_versions_had():
    """At a time, what the newest version had when it was made; the last entry is the end."""
    times = [0.5, SCHEDULE.version_time[7], 0.5 * SCHEDULE.version_time[7:9].sum(), SCHEDULE.time[-1]]
    run = jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE, key=KEY, times=times, lanes=1)
    assert run.history["version"].tolist() == [0, 0, 7, 7, 23]
    for column, expected in expected_columns(SCHEDULE, run.history["version"], MODEL).items():
        assert run.history[column].tolist() == expected, column


def test_a_diverged_history_holds_what_was_sent_until_then():
    """As long as its other columns, and a head of that of a run that does not diverge."""
    run = jasgd.simulate(PROBLEM, optax.sgd(1e25), SCHEDULE, key=KEY, every=1, lanes=1)
    assert run.diverged
    assert 1 < len(run.history["version"]) < SCHEDULE.updates
    for column, expected in expected_columns(SCHEDULE, run.history["version"], MODEL).items():
        assert run.history[column].tolist() == expected, column


def test_shadowhearts_history_holds_the_messages_of_each_worker():
    """Bytes of all messages up, one model down for each that takes part."""
    made = fleet.fixed([1.0, 2.0, 99.0]).with_links(upload=[0.25, 0.5, 0.5], download=0.125)
    method = jasgd.methods.shadowheart(
        made, 6, compressor=compressors.rand_k(2), dim=DIM, noise_ratio=1.0, learning_rate=0.1
    )
    history = method.simulate(PROBLEM, key=KEY, every=3, lanes=1).history
    work = method.schedule.contents
    per_round = (
        (work.messages * 8).sum(),
        (work.models * MODEL).sum(),
        (work.messages * made.upload + 0.125 * work.models).sum(),
    )
    assert work.models.tolist() == [1, 1, 0]
    for column, each in zip(UNITS, per_round, strict=True):
        np.testing.assert_allclose(history[column], each * np.array([0, 3, 6]), rtol=1e-12)


def two_parts():
    """A problem with parameters in two parts, of three and of two numbers."""
    return jasgd.Problem(
        init=lambda key: {"v": np.ones(2, np.float32), "w": np.ones(3, np.float32)},
        loss=lambda params, batch: sum((part**2).sum() for part in params.values()),
        sample=lambda key, worker: None,
        metrics=lambda params: {"loss": params["w"].sum(), "grad_norm": params["v"].sum()},
    )


def test_rules_that_compress_part_by_part_send_all_of_their_messages():
    """A job sends one message about each part: 4 + 1 bytes for one coordinate of two, and for one of three."""
    parts = {"few": rules.ef21(0.1, 4, TOP_1), "many": rules.ef21(0.1, 4, TOP_1)}
    rule = optax.partition(parts, {"v": "few", "w": "many"})
    schedule = protocols.minibatch(fleet.equal(4), 3)
    run = jasgd.simulate(two_parts(), rule, schedule, key=KEY, lanes=1)
    assert run.history["uploaded_bytes"].tolist() == [0, 3 * 4 * (5 + 5)]


def test_large_counts_are_exact():
    """Ten million messages of 40 MB, and of a byte more: 4e14 bytes and 4e14 + 1e7, to the byte."""
    rows, each = 10_000, 1000
    schedule = dataclasses.replace(
        protocols.asynchronous(fleet.equal(2), rows),
        contents=Contents(gradients=np.full(2, 1), messages=np.full(2, each), models=np.full(2, each)),
    )
    versions = np.array([0, 1, 9999, 10_000])
    for size in (40_000_000, 40_000_001):
        found = columns(schedule, versions, messages=1, message_bytes=size, model_bytes=size)
        for name in ("uploaded_bytes", "downloaded_bytes"):
            assert [int(value) for value in found[name]] == [int(v) * each * size for v in versions]
    plain = dataclasses.replace(schedule, contents=None)
    found = columns(plain, versions, messages=each, message_bytes=40_000_001, model_bytes=1)
    assert [int(value) for value in found["uploaded_bytes"]] == [int(v) * each * 40_000_001 for v in versions]


# Sweeps.

RANDOM = fleet.exponential([1.0, 2.0, 3.0]).with_links(upload=[0.5, 0.1, 0.3], download=0.2)


def alone(seed, schedule, **options):
    """What a run of a sweep is by itself."""
    return jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, key=jax.random.fold_in(KEY, seed), lanes=1, **options).history


def test_sweeps_hold_the_columns_of_every_run():
    """Where schedules differ every run has its own numbers, and none after its end."""
    make = lambda updates, seed: protocols.ringmaster(RANDOM, updates, 2, seed=seed)  # noqa: E731
    found = jasgd.sweep(PROBLEM, optax.sgd(0.1), make, grid={"updates": [12, 20]}, seeds=2, key=KEY, every=5)
    for updates, seed in ((12, 0), (20, 1)):
        mine, history = found.sel(updates=updates, seed=seed), alone(seed, make(updates, seed), every=5)
        for name in UNITS:
            assert found[name].dims == ("updates", "seed", "version")
            np.testing.assert_array_equal(mine[name].sel(version=history["version"]), history[name])
            after = mine[name].drop_sel(version=history["version"])
            assert after.size > 0
            assert after.isnull().all()


def test_sweeps_at_times_hold_the_columns_of_every_run():
    """What the newest version of each had; other compressors send other bytes of the same schedule."""
    make = lambda seed: protocols.ringmaster(RANDOM, 12, 2, seed=seed)  # noqa: E731
    oracle = lambda k: oracles.compressed(oracles.gradient(), compressors.rand_k(k))  # noqa: E731
    times = [0.5, 3.0, 5.0]
    found = jasgd.sweep(PROBLEM, optax.sgd(0.1), make, grid={"k": [1, 3]}, seeds=2, key=KEY, times=times, oracle=oracle)
    history = alone(1, make(1), oracle=oracle(3), times=times)
    for name in UNITS:
        mine = found[name].sel({"k": 3, "seed": 1})
        np.testing.assert_array_equal(mine.sel(time=[0.0, *times]), history[name][:4])
    np.testing.assert_array_equal(found["uploaded_bytes"].sel(k=3), 3 * found["uploaded_bytes"].sel(k=1))
    np.testing.assert_array_equal(found["downloaded_bytes"].sel(k=3), found["downloaded_bytes"].sel(k=1))


def test_sweeps_share_what_all_runs_have_carried():
    """Rounds differ in their seconds only, and EF21 with one or two of ten coordinates in bytes: 5 or 9."""
    make = lambda seed: protocols.minibatch(RANDOM, 12, seed=seed)  # noqa: E731
    rule = lambda k: rules.ef21(0.1, 3, compressors.top_k(k))  # noqa: E731
    found = jasgd.sweep(PROBLEM, rule, make, grid={"k": [1, 2]}, seeds=2, key=KEY, every=6)
    assert found["time"].dims == found["uploaded_bytes"].dims == ("k", "seed", "version")
    for k, size in ((1, 5), (2, 9)):
        assert found["uploaded_bytes"].sel(k=k).values.tolist() == 2 * [[0, 6 * 3 * size, 12 * 3 * size]]
    for name in ("downloaded_bytes", "wire_seconds"):
        assert found[name].dims == ("version",)
    assert found["downloaded_bytes"].values.tolist() == [0, 6 * 3 * MODEL, 12 * 3 * MODEL]
    np.testing.assert_allclose(found["wire_seconds"], [0, 6 * 1.5, 12 * 1.5], rtol=1e-12)


def test_sweeps_tell_schedules_apart_that_have_the_same_table():
    """Of the same jobs another share is the link's; or the same gradients are used and others thrown away."""
    halves = lambda share: protocols.asynchronous(fleet.fixed([2 - share] * 2).with_links(upload=share), 4)  # noqa: E731
    found = jasgd.sweep(PROBLEM, optax.sgd(0.1), halves, grid={"share": [0.5, 1.5]}, key=KEY)
    assert found["wire_seconds"].isel(seed=0, version=-1).values.tolist() == [2.0, 6.0]
    late = lambda slow: protocols.ringmaster(fleet.fixed([1.0, slow]), 20, 1)  # noqa: E731
    found = jasgd.sweep(PROBLEM, optax.sgd(0.1), late, grid={"slow": [2.5, 9.5]}, key=KEY)
    assert found["uploaded_bytes"].isel(seed=0, version=-1).values.tolist() == [MODEL * (20 + 7), MODEL * (20 + 2)]


@pytest.fixture(scope="module")
def swept():
    """Step sizes, one of which diverges, and seeds with schedules of their own."""
    make = lambda seed: protocols.ringmaster(RANDOM, 20, 2, seed=seed)  # noqa: E731
    grid = {"learning_rate": [0.001, 0.1, 1e25]}
    return jasgd.sweep(PROBLEM, optax.sgd, make, grid=grid, seeds=2, key=KEY, every=10)


def test_what_links_carry_is_labelled_and_kept_in_files(swept, tmp_path):
    """Units, coordinates and not metrics, the same after netCDF; of a run they are columns like others."""
    assert UNITS == {"uploaded_bytes": "B", "downloaded_bytes": "B", "wire_seconds": "s"}
    assert set(UNITS) <= set(swept.coords)
    assert not set(UNITS) & set(swept.data_vars)
    run = jasgd.simulate(PROBLEM, optax.sgd(0.1), SCHEDULE, key=KEY, every=10, lanes=1).to_dataset()
    for dataset in (swept, run):
        jasgd.results.save_dataset(dataset, tmp_path / "result.nc")
        with xarray.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as file:
            again = file.load()
        xarray.testing.assert_identical(again[list(UNITS)], dataset[list(UNITS)])
        assert set(again.coords) == set(dataset.coords)
        for name, unit in UNITS.items():
            assert dataset[name].attrs["units"] == again[name].attrs["units"] == unit


def test_what_links_carry_is_no_metric(swept):
    """The best values, the last ones and bands are those without these columns; a run that diverged still has them."""
    bare = swept.drop_vars(list(UNITS))
    for at in (None, 10):
        chosen = jasgd.results.best(swept, over="learning_rate", at=at)
        xarray.testing.assert_identical(chosen.drop_vars(list(UNITS)), jasgd.results.best(bare, over="learning_rate", at=at))
        assert chosen["learning_rate"] == 0.1
        xarray.testing.assert_equal(
            chosen["wire_seconds"].reset_coords(drop=True),
            swept["wire_seconds"].sel(learning_rate=0.1).reset_coords(drop=True),
        )
    xarray.testing.assert_identical(jasgd.results.final(swept), jasgd.results.final(bare))
    xarray.testing.assert_identical(
        jasgd.results.band(swept["loss"]).reset_coords(drop=True), jasgd.results.band(bare["loss"]).reset_coords(drop=True)
    )
    lost = swept.sel(learning_rate=1e25)
    assert lost["diverged"].all()
    assert lost["wire_seconds"].notnull().all()


@pytest.mark.parametrize("name", UNITS)
def test_these_names_are_taken(name):
    """A metric or a dimension of a grid that is called so is refused before anything is computed."""
    metrics = lambda params: {**PROBLEM.metrics(params), name: 0.0 * params.sum()}  # noqa: E731
    problem = dataclasses.replace(PROBLEM, metrics=metrics)
    for run in (jasgd.simulate, jasgd.sweep):
        with pytest.raises(ValueError, match=f"`problem.metrics` must not return '{name}'"):
            run(problem, optax.sgd(0.1), SCHEDULE, key=KEY)
    with pytest.raises(ValueError, match=f"cannot have a dimension called '{name}'; that name is taken"):
        jasgd.sweep(PROBLEM, optax.sgd, SCHEDULE, grid={name: [1.0]}, key=KEY)
    with pytest.raises(ValueError, match=f"cannot have a dimension called '{name}'; that name is taken"):
        jasgd.sweep(PROBLEM, optax.sgd, SCHEDULE, grid=[{"learning_rate": 0.1, name: 1.0}], key=KEY)
