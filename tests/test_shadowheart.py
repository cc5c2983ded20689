"""Shadowheart's rounds, doubled budgets, the fastest worker alone and the baselines in the same clock: slow event loops."""

import heapq
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd import compressors, fleet, methods, theory
from jasgd.power import outages, power
from jasgd.protocols import doubling_budget, fastest_worker, minibatch, rennala, shadowheart
from jasgd.traffic import traffic

INF, NAN = float("inf"), float("nan")
COLUMNS = ("worker", "job", "read", "start", "time", "apply")

# All in eighths of a second, whose sums and products with small whole numbers are exact in any order.
eighths = st.integers(1, 24).map(lambda k: k / 8)
ratios = st.sampled_from([0.0, 0.5, 1.0, 4.0, 9.0])
real_ratios = st.just(0.0) | st.floats(1e-3, 99.0)
real_pairs = st.lists(st.tuples(st.floats(0.1, 9.0), st.floats(0.01, 9.0)), min_size=1, max_size=6)


class NeverError(Exception):
    """A worker never answers, in a round."""


# The references: plain lists, one event at a time.


def counted(t, h, tau, omega, s, max_messages):
    """b_i, m_i and the shares alpha_i = w_i m_i b_i / Z of a budget of t seconds, and Z, with fractions."""
    b, m, terms = [], [], []
    for each, link in zip(h, tau, strict=True):
        gradients = math.floor(t / each * (1 + 1e-12)) if each < INF else 0
        most = INF if max_messages is None else max_messages
        messages = int(min(most, INF if link == 0 else math.floor(t / link * (1 + 1e-12)) if link < INF else 0))
        if gradients == 0 or messages == 0:
            gradients = messages = 0
        b.append(gradients)
        m.append(messages)
        spread = gradients * Fraction(omega) + Fraction(omega) * Fraction(s) + messages * Fraction(s)
        terms.append(gradients * messages / spread if spread else Fraction(gradients * messages))
    total = sum(terms)
    return b, m, [float(term / total) if total else 0.0 for term in terms], total


class Books:
    """What happened: rows, idle and wasted seconds, and what the links have carried when each version is made."""

    def __init__(self, n):
        self.rows, self.weights = [], []
        self.idle, self.wasted, self.thrown_away = [0.0] * n, [0.0] * n, [0] * n
        self.messages, self.models, self.link_seconds = 0, 0, 0.0
        self.carried = [(0, 0, 0.0)]

    def step(self):
        """The server makes a version."""
        self.carried.append((self.messages, self.models, self.link_seconds))


def slow_shadowheart(made, updates, omega, s, t, *, max_messages, compute, seed):
    """Events are the arrival of the model, every gradient's end and every message's arrival; ties by (time, worker)."""
    n, alone = made.num_workers, made if made.computing is None else made.computing
    h = list(alone.times if compute is None else compute)
    tau = [0.0] * n if made.upload is None else list(made.upload)
    down = [0.0] * n if made.download is None else list(made.download)
    b, m, shares, _ = counted(t, h, tau, omega, s, max_messages)
    active = [i for i in range(n) if b[i]]
    durations = {i: iter(alone.durations(i, updates * b[i], seed=seed).tolist()) for i in active}
    books, now = Books(n), 0.0

    def after(worker, start, seconds):
        """When something that takes so long at full power is done."""
        changing = made.power_of(worker)
        return start + seconds if changing is None else changing.finish(start, seconds)

    for k in range(updates):
        events, done, missing = [], [], []
        todo = {i: ["model", *["gradient"] * b[i], *["message"] * m[i]] for i in active}

        def begin(worker, start, events=events, todo=todo):
            seconds = {"model": down[worker], "message": tau[worker]}
            what = todo[worker][0]
            takes = next(durations[worker]) if what == "gradient" else seconds[what]
            heapq.heappush(events, (after(worker, start, takes), worker))

        for i in active:
            begin(i, now)
        while events:
            time, i = heapq.heappop(events)
            if time == INF:
                missing.append(i)
                continue
            finished = todo[i].pop(0)
            if finished == "message":
                books.messages += 1
                books.link_seconds += tau[i]
            if finished == "model":
                books.models += 1
                books.link_seconds += down[i]
            if todo[i]:
                begin(i, time)
            else:
                done.append((time, i))
        if missing:
            raise NeverError(min(missing), k)
        end = done[-1][0]
        for place, (time, i) in enumerate(done):
            books.rows.append((i, k, k, now, time, place == len(done) - 1))
            books.weights.append(shares[i])
        finish = dict(map(reversed, done))
        for i in range(n):
            books.idle[i] += end - finish.get(i, now)
        books.step()
        now = end
    return books, b, m


def slow_doubling(made, updates, omega, s, first, *, max_messages):
    """Stages of T seconds of computing and T seconds of sending; Z >= 1: step with it, else throw it away and double T."""
    n, alone = made.num_workers, made if made.computing is None else made.computing
    h, tau = list(alone.times), [0.0] * n if made.upload is None else list(made.upload)
    books, now, jobs = Books(n), 0.0, [0] * n
    for k in range(updates):
        budget, enough = first, False
        told = [False] * n
        while not enough:
            b, m, shares, total = counted(budget, h, tau, omega, s, max_messages)
            enough, end = total >= 1, now + 2 * budget
            arrivals = []
            for i in range(n):
                if not b[i]:
                    books.idle[i] += end - now
                    continue
                arrived = now + budget
                for _ in range(m[i]):
                    arrived += tau[i]
                    books.messages += 1
                    books.link_seconds += tau[i]
                told[i] = True
                if enough:
                    arrivals.append((arrived, i))
                else:
                    books.wasted[i] += arrived - now
                    books.idle[i] += end - arrived
                    books.thrown_away[i] += 1
                jobs[i] += 1
            arrivals.sort()
            for arrived, i in arrivals:
                last = i == arrivals[-1][1]  # the server waits until the stage is over
                books.rows.append((i, jobs[i] - 1, k, now, end if last else arrived, last))
                books.idle[i] += 0.0 if last else end - arrived
                books.weights.append(shares[i])
            now, budget = end, 2 * budget
        books.models += sum(told)
        books.step()
    return books, b, m


def assert_same(schedule, books, b, m, *, exact=True):
    """The schedule obeys all laws and is the reference's; weights are kept in single precision."""
    schedule.verify()
    close = np.testing.assert_array_equal if exact else lambda x, y, **kw: np.testing.assert_allclose(x, y, rtol=1e-12, **kw)
    for name, expected in zip(COLUMNS, zip(*books.rows, strict=True), strict=True):
        compare = close if name in ("start", "time") else np.testing.assert_array_equal
        compare(getattr(schedule, name), expected, err_msg=name)
    np.testing.assert_allclose(schedule.weight, books.weights, rtol=2**-23)
    assert schedule.contents.gradients.tolist() == b
    assert schedule.contents.messages.tolist() == m
    assert schedule.contents.models.tolist() == [int(each > 0) for each in b]
    ledger, horizon = schedule.ledger, float(schedule.time[-1])
    np.testing.assert_allclose(ledger.idle_seconds, books.idle, rtol=0, atol=0 if exact else 1e-11 * horizon)
    np.testing.assert_array_equal(ledger.dropped_seconds, books.wasted)
    assert ledger.dropped.tolist() == books.thrown_away
    assert not ledger.cancelled.any()
    assert not len(ledger.pending_worker)
    carried = traffic(schedule)
    messages, models, seconds = zip(*books.carried, strict=True)
    np.testing.assert_array_equal(carried.messages, messages)
    np.testing.assert_array_equal(carried.models, models)
    close(carried.seconds, seconds)


# Against the event loops.


@st.composite
def linked_fleets(draw, kinds=("fixed", "poisson", "exponential")):
    """A fleet, its nominal seconds per gradient where it draws them, and whether all its sums are exact."""
    n = draw(st.integers(1, 6))
    numbers = lambda each: draw(st.lists(each, min_size=n, max_size=n))  # noqa: E731
    kind = draw(st.sampled_from(kinds))
    slow = st.sampled_from([INF, 1e4])
    h = [0.5, *numbers(eighths | slow)[1:]]
    tau = [0.25, *numbers(eighths | slow | st.just(0.0))[1:]]
    if kind == "fixed":
        made, compute = fleet.fixed(h), None
    else:
        finite = [each if each < INF else 1.0 for each in h]
        made, compute = (fleet.poisson(finite) if kind == "poisson" else fleet.exponential(finite)), h
    down = draw(st.sampled_from([None, 0.0, "each"]))
    if down != 0.0:
        made = made.with_links(upload=tau, download=numbers(eighths) if down == "each" else 0.0)
    else:
        made = made.with_links(upload=np.array(tau) * 2, size=0.5)
    if kinds != ("fixed",):
        for worker in draw(st.sets(st.integers(0, n - 1), max_size=2)):
            begin = draw(st.integers(0, 40)) / 8
            piece = draw(st.sampled_from(["outage", "half", "for ever"]))
            end = INF if piece == "for ever" else begin + draw(st.integers(1, 40)) / 8
            changing = power([0.0, end], [0.5, 2.0]) if piece == "half" else outages([(begin, end)])
            made = made.with_power(worker, changing.times, changing.values)
    return made, compute, kind != "exponential"


@settings(max_examples=150, deadline=None)
@given(
    drawn=linked_fleets(),
    updates=st.integers(1, 4),
    omega=ratios,
    s=ratios,
    longer=st.sampled_from([None, 1.5]),
    data=st.data(),
)
def test_shadowheart_is_the_event_loop(drawn, updates, omega, s, longer, data):
    """Rows, weights, counts, books and traffic. Only drawn real seconds are added in another order, hence 1e-12 for them."""
    made, compute, exact = drawn
    h = (made.computing or made).times if compute is None else compute
    most = data.draw(st.integers(1, 5) if np.any(made.upload == 0) else st.none() | st.integers(1, 5))
    t = theory.equilibrium_time(omega, s, h, made.upload) * (longer or 1)
    time, seed = (None if longer is None else t), data.draw(st.integers(0, 3))
    arguments = {"max_messages": most, "compute": compute, "seed": seed}
    try:
        expected = slow_shadowheart(made, updates, omega, s, t, **arguments)
    except NeverError as never:
        worker, k = never.args
        with pytest.raises(ValueError, match=f"worker {worker} never answers in round {k}, which therefore never ends"):
            shadowheart(made, updates, omega, s, time=time, **arguments)
        return
    assert_same(shadowheart(made, updates, omega, s, time=time, **arguments), *expected, exact=exact)


@settings(max_examples=150, deadline=None)
@given(drawn=linked_fleets(kinds=("fixed",)), updates=st.integers(1, 4), omega=ratios, s=ratios, data=st.data())
def test_doubling_budget_is_the_event_loop(drawn, updates, omega, s, data):
    """Stages, rows, thrown-away messages and seconds, to the last bit; the reference decides with fractions if Z >= 1."""
    made = drawn[0].computing.with_links(upload=drawn[0].upload)
    first = data.draw(st.sampled_from([0.125, 0.375, 1.0, 8.0]))
    few = st.integers(10, 20)  # as many as omega, so that Z reaches 1
    most = data.draw(few if np.any(made.upload == 0) else st.none() | few)
    expected = slow_doubling(made, updates, omega, s, first, max_messages=most)
    schedule = doubling_budget(made, updates, omega, s, first=first, max_messages=most)
    assert_same(schedule, *expected)


@settings(max_examples=60, deadline=None)
@given(drawn=linked_fleets(), updates=st.integers(1, 20), seed=st.integers(0, 3))
def test_fastest_worker_is_a_loop_of_one(drawn, updates, seed):
    """The first of the fastest goes on by itself; the others idle; nothing is sent."""
    made, compute, _ = drawn
    n, alone = made.num_workers, made.computing
    h = list(alone.times if compute is None else compute)
    fastest, now, rows = min(range(n), key=lambda i: (h[i], i)), 0.0, []
    for k, seconds in enumerate(alone.durations(fastest, updates, seed=seed).tolist()):
        changing = made.power_of(fastest)
        end = now + seconds if changing is None else changing.finish(now, seconds)
        rows.append((fastest, k, k, now, end, True))
        now = end
        if end == INF:
            with pytest.raises(ValueError, match=f"worker {fastest} never answers after update {k}"):
                fastest_worker(made, updates, compute=compute, seed=seed)
            return
    schedule = fastest_worker(made, updates, compute=compute, seed=seed).verify()
    for name, expected in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        np.testing.assert_array_equal(getattr(schedule, name), expected, err_msg=name)
    np.testing.assert_array_equal(schedule.ledger.idle_seconds, np.where(np.arange(n) == fastest, 0.0, now))
    np.testing.assert_array_equal(schedule.weight, 1)
    carried = traffic(schedule)
    assert not carried.messages.any()
    assert not carried.models.any()
    assert not carried.seconds.any()


@settings(max_examples=100, deadline=None)
@given(h=st.lists(st.integers(1, 5), min_size=2, max_size=6), data=st.data(), updates=st.integers(1, 12))
def test_times_that_rounding_makes_equal_are_ordered_by_worker(h, data, updates):
    """Tenths of seconds: 3 x 0.1 is not 0.3, but may be once a round has begun; schedules obey all laws nevertheless."""
    tau = data.draw(st.lists(st.integers(1, 5), min_size=len(h), max_size=len(h)))
    made = fleet.fixed(np.array(h) / 10).with_links(upload=np.array(tau) / 10)
    first = data.draw(st.sampled_from([0.3, 0.5, 0.1]))
    for schedule in (shadowheart(made, updates, 1.0, 2.0), doubling_budget(made, updates, 1.0, 2.0, first=first)):
        schedule.verify()


def test_two_last_messages_at_the_end_of_a_stage():
    """3 x 0.1 seconds end after 0.3 seconds by rounding; both are at the stage's end, the lower worker first."""
    made = fleet.fixed([0.1, 0.1]).with_links(upload=[0.1, 0.3])
    schedule = doubling_budget(made, 2, 0.0, 0.0, first=0.3).verify()
    assert schedule.worker.tolist() == [0, 1, 0, 1]


def test_a_sum_of_six_sixths_is_one():
    """Six equal workers of one gradient each, s = 6: Z is 1 exactly, but its sum in floats is not; the budget is enough."""
    assert np.sum(np.full(6, 1 / 6)) < 1
    schedule = doubling_budget(fleet.equal(6).with_links(upload=1.0), 1, 0.0, 6.0, first=1.0)
    assert schedule.contents.gradients.tolist() == [1] * 6
    assert schedule.time[-1] == 2


@pytest.mark.parametrize("slow", [(INF, 1.0, 0.0), (1.0, INF, 0.0), (1e6, 1.0, INF), (1.0, 1e6, INF), (INF, INF, INF)])
def test_a_worker_that_takes_no_part_changes_nothing(slow):
    """Infinite or very slow at computing or sending; even the model may never reach it."""
    h, tau, down = ([*each, last] for each, last in zip([(1.0, 2.0), (0.5, 0.25), (3.0, 1.0)], slow, strict=True))
    made = fleet.fixed(h).with_links(upload=tau, download=down)
    without = fleet.fixed(h[:2]).with_links(upload=tau[:2], download=down[:2])
    one, two = (shadowheart(each, 3, 5.0, 2.0).verify() for each in (made, without))
    for name in (*COLUMNS, "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert one.contents.gradients.tolist() == [*two.contents.gradients.tolist(), 0]
    assert one.wire_seconds.tolist() == [*two.wire_seconds.tolist(), 0.0]
    assert one.ledger.idle_seconds[2] == one.time[-1]


# How long a round takes.


@settings(max_examples=100, deadline=None)
@given(pairs=real_pairs, omega=real_ratios, s=real_ratios, down=st.floats(0.0, 5.0), data=st.data())
def test_a_round_takes_at_most_its_bound(pairs, omega, s, down, data):
    """Two equilibrium times, and the model's way; doubled budgets eight, if the first is at most one."""
    h, tau = zip(*pairs, strict=True)
    t = theory.equilibrium_time(omega, s, h, tau)
    made = fleet.fixed(h).with_links(upload=tau, download=down)
    schedule = shadowheart(made, 3, omega, s).verify()
    rounds = np.diff(schedule.time[schedule.apply], prepend=0.0)
    np.testing.assert_array_less(rounds, (2 * t + down) * (1 + 1e-11))
    first = t * data.draw(st.floats(1e-3, 1.0))
    doubled = doubling_budget(fleet.fixed(h).with_links(upload=tau), 3, omega, s, first=first).verify()
    np.testing.assert_array_less(np.diff(doubled.time[doubled.apply], prepend=0.0), 8 * t * (1 + 1e-11))


def test_a_first_budget_that_is_enough_is_the_only_one():
    """Beyond the equilibrium time a round takes twice the first budget and throws nothing away."""
    made = fleet.fixed([1.0, 2.0]).with_links(upload=[0.5, 0.25])
    first = 1.01 * theory.equilibrium_time(5.0, 2.0, [1.0, 2.0], [0.5, 0.25])
    schedule = doubling_budget(made, 3, 5.0, 2.0, first=first)
    np.testing.assert_allclose(schedule.time[schedule.apply], 2 * first * np.arange(1, 4), rtol=1e-14)
    assert not schedule.ledger.dropped.any()


# Special cases of the weights.


def test_weights_without_compression_are_those_of_all_gradients():
    """Omega = 0: a worker's share is its part of all gradients, whether or not messages take time."""
    alone = fleet.fixed([1.0, 2.0, 3.5])
    for made in (alone.with_links(upload=0.25), alone.with_links(upload=0.0), alone):
        schedule = shadowheart(made, 2, 0.0, 30.0, max_messages=4)
        b = schedule.contents.gradients
        assert b.min() > 0
        assert len(set(b)) == 3
        np.testing.assert_allclose(schedule.weight, b[schedule.worker] / b.sum(), rtol=2**-23)


def test_weights_without_noise_are_those_of_all_messages():
    """S = 0: a worker's share is its part of all messages; how many gradients they are about does not matter."""
    schedule = shadowheart(fleet.fixed([1.0, 2.0, 3.5]).with_links(upload=[1.0, 0.5, 0.25]), 2, 20.0, 0.0)
    m = schedule.contents.messages
    assert len(set(m)) == 3
    np.testing.assert_allclose(schedule.weight, m[schedule.worker] / m.sum(), rtol=2**-23)


def test_one_worker_and_equal_workers():
    """One has the whole weight; of n equal ones each has 1 / n."""
    for n in (1, 3, 7):
        schedule = shadowheart(fleet.equal(n).with_links(upload=0.3), 2, 20.0, 5.0)
        np.testing.assert_array_equal(schedule.weight, np.float32(1 / n))
        assert schedule.worker.tolist() == [*range(n)] * 2


# Baselines in the same clock.


def test_clocks_of_the_authors_unit_tests():
    """With d = 100, n = 10, h_i = i and i / d per number: 20 s per step, with 10 numbers 11 s, the fastest alone 1 s."""
    i = np.arange(1, 11)
    made, k = fleet.fixed(i), np.arange(1, 6)
    whole = minibatch(made.with_links(upload=i / 100, size=100), 5)
    few = made.with_links(upload=i / 100, size=10)
    compressed = methods.compressed_minibatch_sgd(few, 5, compressor=compressors.rand_k(10), learning_rate=0.1).schedule
    alone = methods.fastest_worker_sgd(few, 5, learning_rate=0.1).schedule
    for schedule, seconds in ((whole, 20), (compressed, 11), (alone, 1)):
        np.testing.assert_array_equal(schedule.time[schedule.apply], seconds * k)
        assert not schedule.delay.any()


def slow_dropping(c, updates):
    """A counter of arrivals, thrown-away ones included; a gradient is used if it is at most n of them old."""
    n, arrived, rows, ages, dropped = len(c), 0, [], [], [0] * len(c)
    events = [(seconds, worker, 0, 0.0) for worker, seconds in enumerate(c)]
    heapq.heapify(events)
    while len(rows) < updates:
        now, worker, read, began = heapq.heappop(events)
        if read >= arrived - n:
            rows.append((worker, began, now))
            ages.append(arrived - read)
        else:
            dropped[worker] += 1
        arrived += 1
        heapq.heappush(events, (now + c[worker], worker, arrived, now))
    return rows, ages, dropped


@settings(max_examples=60, deadline=None)
@given(c=st.lists(st.tuples(eighths, eighths), min_size=1, max_size=8), updates=st.integers(1, 60))
def test_dropping_sgd_is_the_event_loop(c, updates):
    """Computing and sending one after the other; who delivered starts again at the newest point."""
    h, tau = zip(*c, strict=True)
    schedule = methods.dropping_sgd(fleet.fixed(h).with_links(upload=tau), updates, learning_rate=0.1).schedule.verify()
    rows, _, dropped = slow_dropping([a + b for a, b in c], updates)
    for name, expected in zip(("worker", "start", "time"), zip(*rows, strict=True), strict=True):
        np.testing.assert_array_equal(getattr(schedule, name), expected, err_msg=name)
    assert schedule.ledger.dropped.tolist() == dropped


@pytest.mark.parametrize("n", [1, 2, 5])
def test_equal_workers_never_drop(n):
    """Delays are 0 to n - 1 in the first round, then n - 1; one worker is SGD with the cycle h + d tau."""
    made = fleet.equal(n).with_links(upload=0.5 / 10, size=10)
    schedule = methods.dropping_sgd(made, 4 * n, learning_rate=0.1).schedule
    assert schedule.delay.tolist() == [*range(n)] + [n - 1] * 3 * n
    assert not schedule.ledger.dropped.any()
    np.testing.assert_allclose(schedule.time, np.repeat(1.5 * np.arange(1, 5), n))


def test_dropping_keeps_the_slow_out():
    """Who waits for well more than n arrivals of others never gets through, who waits for well fewer always does."""
    n = 40
    c = np.sqrt(np.arange(1, n + 1))
    schedule = methods.dropping_sgd(fleet.power_law(n, exponent=0.5), 4000, learning_rate=0.1).schedule
    waits = c * np.sum(1 / c) - 1  # arrivals of others within one cycle
    used = np.bincount(schedule.worker[100:], minlength=n)  # the first arrivals are younger
    assert np.all(used[waits > 1.25 * n] == 0)
    assert not schedule.ledger.dropped[waits < 0.8 * n].any()
    assert 0.4 < schedule.ledger.dropped.sum() / (4000 + schedule.ledger.dropped.sum()) < 0.6


@settings(max_examples=40, deadline=None)
@given(c=st.lists(st.tuples(eighths, eighths), min_size=1, max_size=6), batch=st.integers(1, 5), interrupt=st.booleans())
def test_rennala_with_links_uses_only_fresh_gradients(c, batch, interrupt):
    """Every step has exactly B gradients of delay 0, B = 1 too; one worker is minibatch SGD of cycles h + d tau."""
    h, tau = zip(*c, strict=True)
    made = fleet.fixed(h).with_links(upload=np.array(tau) / 8, size=8)
    schedule = rennala(made, 10, batch, interrupt=interrupt).verify()
    assert not schedule.delay.any()
    assert np.bincount(schedule.version).tolist() == [batch] * 10
    if len(c) == 1:
        np.testing.assert_array_equal(schedule.time[schedule.apply], (h[0] + tau[0]) * batch * np.arange(1, 11))


# Refusals.

TWO = fleet.fixed([1.0, 2.0]).with_links(upload=0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shadowheart(TWO, 0, 1.0, 1.0), "`updates` must be at least 1, got 0"),
        (lambda: shadowheart(TWO, 2.5, 1.0, 1.0), "`updates` must be a whole number, got 2.5"),
        (lambda: shadowheart(TWO, 2, -1.0, 1.0), "`omega` must not be negative"),
        (lambda: shadowheart(fleet.fixed([1.0, INF]), 2, 1.0, 1.0), "`upload` must not vanish next to"),
        (lambda: shadowheart(fleet.exponential([1.0, 2.0]), 2, 1.0, 1.0), "give `compute`, nominal seconds per gradient"),
        (lambda: shadowheart(TWO, 2, 1.0, 1.0, compute=[1.0]), "`compute` must hold one number for each of the 2 workers"),
        (lambda: shadowheart(TWO, 2, 1.0, 1.0, compute=[1.0, -1.0]), "`compute` must not be negative, worker 1 has -1.0"),
        (lambda: fastest_worker(TWO, 2, compute=[NAN, 1.0]), "`compute` must not be negative, worker 0 has nan"),
        (lambda: fastest_worker(TWO, 0), "`updates` must be at least 1, got 0"),
        (lambda: fastest_worker(fleet.uniform(1.0, 2.0), 2), "give `compute`, nominal seconds per gradient"),
        (lambda: fastest_worker(fleet.fixed([INF, INF]), 2), "worker 0 never answers after update 0"),
        (lambda: doubling_budget(TWO, 0, 1.0, 1.0, first=1.0), "`updates` must be at least 1, got 0"),
        (lambda: doubling_budget(TWO, 2, 1.0, 1.0, first=0.0), "`first` must be a positive number of seconds, got 0.0"),
        (lambda: doubling_budget(TWO, 2, 1.0, 1.0, first=NAN), "`first` must be a positive number of seconds, got nan"),
        (
            lambda: doubling_budget(fleet.exponential([1.0]), 2, 1.0, 1.0, first=1.0),
            "a doubled budget needs a fleet of fixed times",
        ),
        (
            lambda: doubling_budget(TWO.with_outages({0: [(1.0, 2.0)]}), 2, 1.0, 1.0, first=1.0),
            "a doubled budget needs a fleet of fixed times",
        ),
        (
            lambda: doubling_budget(fleet.equal(2).with_links(upload=1.0, download=1.0), 2, 1.0, 1.0, first=1.0),
            "a doubled budget has no time for models on their way: give a fleet without `download`",
        ),
        (
            lambda: doubling_budget(fleet.fixed([1.0, INF]).with_links(upload=[INF, 1.0]), 2, 1.0, 1.0, first=1.0),
            "no worker ever answers: each has an infinite time per gradient or per message",
        ),
        (
            lambda: doubling_budget(TWO, 2, 9.0, 1.0, first=1.0, max_messages=4),
            "Z never reaches 1: `max_messages` must be larger for omega = 9, got 4",
        ),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    """With one sentence that says what is expected."""
    with pytest.raises(ValueError, match=message):
        call()
