"""MindFlayer, ATA and minibatches with partial participation: against slow loops, in their limits, and in closed form.

The loops are written from the papers' descriptions: one worker, one job, one number at a time.
"""

import itertools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import fleet, theory
from jasgd.protocols import ata, mindflayer, minibatch
from jasgd.protocols.ata import _greedy
from jasgd.schedule import Schedule

INF = float("inf")
KINDS = ["fixed", "equal", "poisson", "exponential", "stragglers"]


@st.composite
def fleets(draw, kinds=KINDS, powers=True):
    """Small whole times make ties, Poisson times jobs of no duration; some workers pause or slow down."""
    n = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(kinds))
    means = np.array(draw(st.lists(st.integers(1, 6), min_size=n, max_size=n)), float)
    made = {
        "fixed": lambda: fleet.fixed(means),
        "equal": lambda: fleet.equal(n),
        "poisson": lambda: fleet.poisson(means / 4),
        "exponential": lambda: fleet.exponential(means),
        "stragglers": lambda: fleet.stragglers(means, 20.0, 0.3),
    }[kind]()
    if powers and draw(st.booleans()):
        worker, begin = draw(st.integers(0, n - 1)), draw(st.integers(0, 9))
        length = draw(st.integers(1, 20))
        if draw(st.booleans()):
            return made.with_outages({worker: [(begin, begin + length)]})
        return made.with_power(worker, [0.0, begin + 1.0], [1.0, 0.5])
    return made


class Jobs:
    """A worker's jobs, one after the other."""

    def __init__(self, made, worker, seed):
        self.durations = made.durations(worker, 3000, seed=seed).tolist()
        self.power = made.power_of(worker)
        self.number = -1

    def finish(self, start):
        """When the next job ends."""
        self.number += 1
        work = self.durations[self.number]
        return start + work if self.power is None else self.power.finish(start, work)


def table(rows, **others):
    """A schedule from (worker, job, read, start, time, weight, apply)."""
    names = ("worker", "job", "read", "start", "time", "weight", "apply")
    return Schedule(**dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True)), **others)


# MindFlayer.


def mindflayer_by_hand(made, updates, trials, allotted, success, seed):
    """The rows, and every worker's seconds by what became of them, rounds without gradients included."""
    n = made.num_workers
    jobs = [Jobs(made, i, seed) for i in range(n)]
    expected = sum(p * b for p, b in zip(success, trials, strict=True))
    cancelled, seconds_cut = [0] * n, [0.0] * n
    rows, ends, now, version = [], [], 0.0, 0
    while version < updates:
        done, through, cuts = [], [now] * n, []
        for i in range(n):
            for _ in range(trials[i]):
                start = through[i]
                finish = jobs[i].finish(start)
                if finish <= start + allotted[i]:
                    done.append((finish, i, jobs[i].number, start))
                    through[i] = finish
                else:
                    through[i] = start + allotted[i]
                    cancelled[i] += 1
                    cuts.append((i, start, through[i]))
        end = max(through)
        done.sort()
        last = done[-1] if done else (INF, -1, -1, INF)
        for i, start, until in cuts:
            if not (i == last[1] and start >= last[0] and done):  # else it lies within the last row
                seconds_cut[i] += until - start
        for finish, i, number, start in done:
            closes = (finish, i, number) == last[:3]
            rows.append((i, number, version, start, end if closes else finish, 1 / expected, closes))
        if done:
            version += 1
            ends.append(end)
        now = end
    return table(rows, num_workers=n), np.array(cancelled), np.array(seconds_cut), ends


@st.composite
def mindflayer_arguments(draw):
    made = draw(fleets())
    n = made.num_workers
    trials = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n).filter(any))
    allotted = [float(a) for a in draw(st.lists(st.sampled_from([1, 2, 3, 6, 7, INF]), min_size=n, max_size=n))]
    # Somebody must be able to finish, also at half power.
    best = int(np.argmax(trials))
    allotted[best] = max(allotted[best], 13.0)
    success = [draw(st.sampled_from([0.25, 0.5, 1.0])) for _ in range(n)]
    return made, draw(st.integers(1, 12)), trials, allotted, success, draw(st.integers(0, 3))


@settings(max_examples=150, deadline=None)
@given(mindflayer_arguments())
def test_mindflayer_is_the_loop_of_the_paper(arguments):
    """Rows, cancelled trials and their seconds agree exactly, with ties, outages, and rounds in which nothing finishes."""
    made, updates, trials, allotted, success, seed = arguments
    schedule = mindflayer(made, updates, trials, allotted, success=success, seed=seed).verify()
    expected, cancelled, seconds, ends = mindflayer_by_hand(made, updates, trials, allotted, success, seed)
    assert schedule == expected
    assert schedule.version_time[1:].tolist() == ends
    assert schedule.ledger.cancelled.tolist() == cancelled.tolist()
    np.testing.assert_allclose(schedule.ledger.cancelled_seconds, seconds, rtol=1e-12, atol=1e-12)
    assert schedule.ledger.lost_delay == 0
    assert np.all(schedule.delay == 0)
    assert np.all(schedule.ledger.idle_seconds >= 0)


def trace(*lists):
    """A fleet whose workers take these seconds, again and again."""
    return fleet.drawn(len(lists), lambda rng, worker, jobs: np.take(np.array(lists[worker], float), jobs, mode="wrap"))


def test_mindflayer_by_hand():
    """Two workers, two trials each, cut after 3 seconds; the second round of three has no gradient."""
    made = trace([1, 5, 9, 9, 3, 1], [2, 2, 9, 9, 1, 4])
    schedule = mindflayer(made, 2, trials=2, allotted=3.0, success=[0.5, 0.75]).verify()
    # Round one: worker 0 finishes at 1, is cut at 4; worker 1 finishes at 2 and 4, and so ends it. Round two: 4 to 10.
    # Round three: worker 0 finishes at 13 (exactly in time) and 14; worker 1 at 11, and is cut at 14.
    assert schedule.worker.tolist() == [0, 1, 1, 1, 0, 0]
    assert schedule.job.tolist() == [0, 0, 1, 4, 4, 5]
    assert schedule.read.tolist() == [0, 0, 0, 1, 1, 1]
    assert schedule.start.tolist() == [0.0, 0.0, 2.0, 10.0, 10.0, 13.0]
    assert schedule.time.tolist() == [1.0, 2.0, 4.0, 11.0, 13.0, 14.0]
    assert schedule.apply.tolist() == [False, False, True, False, False, True]
    np.testing.assert_array_equal(schedule.weight, np.full(6, 0.4, np.float32))
    assert schedule.ledger.cancelled.tolist() == [3, 3]
    assert schedule.ledger.cancelled_seconds.tolist() == [9.0, 9.0]
    assert schedule.ledger.idle_seconds.tolist() == [0.0, 0.0]


def test_the_last_gradient_is_used_when_the_round_ends():
    """A lone worker finishes after one second, and tries in vain for three: the step is at second four."""
    schedule = mindflayer(trace([1, 9]), 3, trials=2, allotted=3.0, success=0.5).verify()
    assert schedule.time.tolist() == [4.0, 8.0, 12.0]
    assert schedule.start.tolist() == [0.0, 4.0, 8.0]
    assert schedule.ledger.cancelled.tolist() == [3]
    assert schedule.ledger.cancelled_seconds.tolist() == [0.0]  # they are in the rows


def test_workers_without_trials_idle():
    """They start no job, whatever is said of them."""
    schedule = mindflayer(fleet.fixed([1.0, INF, 2.0]), 3, [2, 0, 1], [INF, 0.0, INF], success=[1.0, 0.0, 1.0]).verify()
    assert set(schedule.worker.tolist()) == {0, 2}
    assert schedule.ledger.idle_seconds.tolist() == [0.0, 6.0, 0.0]
    np.testing.assert_array_equal(schedule.weight, np.full(9, 1 / 3, np.float32))


@settings(max_examples=60, deadline=None)
@given(made=fleets(), updates=st.integers(1, 8), batch=st.integers(1, 12), seed=st.integers(0, 3), data=st.data())
def test_mindflayer_without_cuts_is_a_fixed_allocation(made, updates, batch, seed, data):
    """Infinite allotted time and B_i = a_i: the rows of ATA with that allocation."""
    n = made.num_workers
    means = data.draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    fixed = ata(made, updates, batch, allocation="fixed", means=means, seed=seed).verify()
    same = mindflayer(made, updates, _greedy(np.array(means, float), batch), INF, seed=seed).verify()
    assert same == fixed
    assert same.ledger.cancelled.sum() == 0
    np.testing.assert_allclose(same.ledger.idle_seconds, fixed.ledger.idle_seconds, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("allotted", [[0.1, 0.2, 0.1], [1.0, 1.0, 1.0], [0.5, INF, 3.0]])
def test_mindflayer_is_unbiased(allotted):
    """Over all rounds, those of size zero included, the weights of a round add up to one on average."""
    means, trials = np.array([1.0, 2.0, 0.5]), np.array([3, 1, 2])
    success = 1 - np.exp(-np.array(allotted) / means)
    schedule = mindflayer(fleet.exponential(means), 4000, trials, allotted, success=success, seed=1)
    done = np.bincount(schedule.worker, minlength=3)
    rounds = (done + schedule.ledger.cancelled) / trials
    assert np.all(rounds == rounds[0])
    assert rounds[0] >= 4000
    total = float(schedule.weight.sum(dtype=np.float64)) / rounds[0]
    expected = np.sum(success * trials)
    deviation = math.sqrt(np.sum(trials * success * (1 - success)) / rounds[0]) / expected
    assert abs(total - 1) < 5 * deviation + 1e-6


def test_seconds_per_gradient_of_the_poster():
    """One device, 1 + lognormal(0, 2.5) seconds: 3.28 seconds per gradient when cut at the median."""
    made = fleet.drawn(1, lambda rng, worker, jobs: 1 + rng.lognormal(0.0, 2.5, len(jobs)))
    schedule = mindflayer(made, 200, trials=200, allotted=2.0, success=0.5)
    cost = theory.mindflayer_lognormal_gradient_time(1.0, 2.5, extra_time=1.0)
    assert cost == pytest.approx(3.28, abs=0.01)
    assert schedule.time[-1] / len(schedule) == pytest.approx(cost, rel=0.03)


def test_rounds_of_the_theorys_trials_are_as_short_as_it_says():
    """With its numbers of trials a round takes less than T seconds."""
    times, allotted = np.array([1.0, 2.0, 3.0, 40.0]), 1.5
    success = 1 - math.exp(-allotted)
    made = fleet.drawn(4, lambda rng, worker, jobs: times[worker] + rng.exponential(1.0, len(jobs)))
    trials = theory.mindflayer_trials(times, 20, extra_time=allotted, success=success)
    schedule = mindflayer(made, 300, trials, times + allotted, success=success).verify()
    assert np.diff(schedule.version_time).max() < theory.mindflayer_time(times, 20, extra_time=allotted, success=success)


def test_mindflayer_runs_in_the_engine():
    """On x^2 / 2 without noise the iterate is the product of 1 - gamma S_k / B, with S_k gradients in round k."""
    made = fleet.exponential([1.0, 2.0])
    schedule = mindflayer(made, 12, [3, 2], 1.0, success=1 - np.exp(-1 / np.array([1.0, 2.0])), seed=2)
    problem = jasgd.Problem(
        init=lambda key: {"x": jnp.ones(1)},
        loss=lambda params, noise: 0.5 * jnp.sum(params["x"] ** 2) + 0 * noise,
        sample=lambda key, worker: jnp.zeros(()),
        metrics=lambda params: {"loss": params["x"][0] ** 2 / 2, "grad_norm": jnp.abs(params["x"][0])},
    )
    run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0))
    sizes = np.bincount(schedule.read)
    assert len(set(sizes.tolist())) > 1
    expected = np.prod(1 - 0.1 * sizes * float(schedule.weight[0]))
    assert float(run.history["grad_norm"][-1]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "chosen", "message"),
    [
        ((0, 1, INF), {}, "`updates` must be at least 1, got 0"),
        ((5, [1, 1], INF), {}, r"`trials` must be a number or one per worker \(3\), got shape \(2,\)"),
        ((5, [1, -1, 1], INF), {}, "`trials` must be whole numbers and not negative, but worker 1 has -1"),
        ((5, 1.5, INF), {}, "`trials` must be whole numbers and not negative, but worker 0 has 1.5"),
        ((5, INF, INF), {}, "`trials` must be whole numbers"),
        ((5, 0, INF), {}, "nobody would compute anything"),
        ((5, 1, [1.0, 0.0, 1.0]), {"success": 0.5}, "`allotted` must be positive, but that of worker 1 is 0.0"),
        ((5, 1, float("nan")), {"success": 0.5}, "`allotted` must be positive"),
        ((5, [0, 1, 1], [1.0, INF, 2.0]), {}, "`success` is needed.* worker 2 is cut after 2.0 seconds"),
        ((5, 1, 1.0), {"success": [0.5, 0.0, 0.5]}, "`success` of .* worker 1 has 0.0"),
        ((5, 1, 1.0), {"success": 1.5}, "`success` of .* worker 0 has 1.5"),
        (
            (5, 1, 0.5),
            {"success": 0.5},
            "no trial ever finishes in its allotted time: worker 0 needs 1.0 seconds and has 0.5",
        ),
    ],
)
def test_bad_arguments_of_mindflayer_are_refused(arguments, chosen, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        mindflayer(fleet.equal(3), *arguments, **chosen)


def test_mindflayer_never_waits_for_ever(monkeypatch):
    """Trials that are never cut must end, and if none finishes for too long it is said."""
    with pytest.raises(ValueError, match="no trial ever finishes in its allotted time: worker 0 needs inf seconds"):
        mindflayer(fleet.fixed([INF]), 5, 1, INF)
    with pytest.raises(ValueError, match="worker 1 never answers after update 0, and its trials are never cut"):
        mindflayer(fleet.fixed([1.0, INF]), 5, 1, INF)
    with pytest.raises(ValueError, match="worker 0 never answers after update 3, and its trials are never cut"):
        mindflayer(fleet.equal(2).with_outages({0: [(3.5, INF)]}), 5, 1, INF)
    monkeypatch.setattr(sys.modules["jasgd.protocols.mindflayer"], "_FRUITLESS", 1000)
    with pytest.raises(ValueError, match="1000 trials in a row were cut after update 0"):
        mindflayer(fleet.uniform(np.full(2, 2.0), 3.0), 5, 1, 1.0, success=0.5)
    with pytest.raises(ValueError, match="1000 trials in a row were cut after update 3"):
        mindflayer(fleet.equal(2).with_outages({i: [(3.5, INF)] for i in range(2)}), 5, 1, 1.0, success=1.0)
    # An outage that ends is waited for, however many trials are in vain.
    late = mindflayer(fleet.equal(1).with_outages({0: [(0.0, 5000.5)]}), 2, 1, 1.0, success=1.0).verify()
    assert late.time.tolist() == [5002.0, 5003.0]
    assert late.ledger.cancelled.tolist() == [5001]


# ATA.


def best_shares(scores, tasks):
    """Task after task, every worker looked at."""
    shares = [0] * len(scores)
    for _ in range(tasks):
        load = [(a + 1) * s for a, s in zip(shares, scores, strict=True)]
        shares[load.index(min(load))] += 1
    return shares


def ata_by_hand(made, updates, batch, allocation, alpha, means, seed):
    """The rows and every worker's idle seconds."""
    n = made.num_workers
    jobs = [Jobs(made, i, seed) for i in range(n)]
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    taken, count = [0.0] * n, [0] * n
    rows, idle, now = [], [0.0] * n, 0.0

    def share(workers, tasks):
        more = rng.choice(workers, tasks % len(workers), replace=False).tolist() if tasks % len(workers) else []
        return [(tasks // len(workers) + (i in more)) if i in workers else 0 for i in range(n)]

    for version in range(updates):
        if allocation == "fixed":
            shares = best_shares(means, batch)
        elif allocation == "uniform":
            shares = share(list(range(n)), batch)
        else:
            new = [i for i in range(n) if not count[i]]
            first = share(new, min(len(new), batch)) if new else [0] * n
            left, scores = batch - sum(first), [INF] * n
            for i in set(range(n)) - set(new):
                mean, log = taken[i] / count[i], math.log(2 * version**2)
                margin = 2 * alpha * (math.sqrt(log / count[i]) + log / count[i])
                scores[i] = max(mean - margin, 0.0) if allocation == "ata" else max(mean * (1 - margin), 0.0)
            zero = list(range(n)) if len(new) == n else [i for i in range(n) if scores[i] == 0]
            second = [0] * n
            if left:
                second = share(zero, left) if zero else best_shares(scores, left)
            shares = [a + b for a, b in zip(first, second, strict=True)]
        assert sum(shares) == batch
        done, through = [], [now] * n
        for i in range(n):
            for _ in range(shares[i]):
                start, through[i] = through[i], jobs[i].finish(through[i])
                done.append((through[i], i, jobs[i].number, start))
            taken[i] += through[i] - now
            count[i] += shares[i]
        done.sort()
        for place, (finish, i, number, start) in enumerate(done):
            rows.append((i, number, version, start, finish, 1 / batch, place == batch - 1))
        end = max(through)
        idle = [seconds + end - own for seconds, own in zip(idle, through, strict=True)]
        now = end
    return table(rows, num_workers=n), np.array(idle)


@settings(max_examples=150, deadline=None)
@given(
    made=fleets(),
    updates=st.integers(1, 25),
    batch=st.integers(1, 12),
    allocation=st.sampled_from(["ata", "empirical", "uniform", "fixed"]),
    alpha=st.sampled_from([0.0, 0.05, 0.2, 1.0]),
    seed=st.integers(0, 3),
    data=st.data(),
)
def test_ata_is_the_loop_of_the_paper(made, updates, batch, allocation, alpha, seed, data):
    """Rows and idle seconds agree, allocations that follow the durations included."""
    n, chosen, means = made.num_workers, {}, None
    if allocation == "fixed":
        chosen["means"] = means = data.draw(st.lists(st.integers(1, 5).map(float), min_size=n, max_size=n))
    elif allocation != "uniform":
        chosen["alpha"] = alpha
    schedule = ata(made, updates, batch, allocation=allocation, seed=seed, **chosen).verify()
    expected, idle = ata_by_hand(made, updates, batch, allocation, alpha, means, seed)
    assert schedule == expected
    np.testing.assert_allclose(schedule.ledger.idle_seconds, idle, rtol=1e-12, atol=1e-12)
    assert np.bincount(schedule.read).tolist() == [batch] * updates


@settings(max_examples=60, deadline=None)
@given(
    made=fleets(powers=False),
    updates=st.integers(1, 20),
    batch=st.integers(1, 12),
    allocation=st.sampled_from(["empirical", "uniform"]),
)
def test_ata_wastes_nothing(made, updates, batch, allocation):
    """Each worker's jobs are used in order and without gaps, nothing is thrown away; their durations are all its work."""
    schedule = ata(made, updates, batch, allocation=allocation).verify()
    ledger = schedule.ledger
    assert ledger.dropped.sum() + ledger.cancelled.sum() + len(ledger.pending_worker) == 0
    for worker in range(made.num_workers):
        mine = schedule.worker == worker
        assert np.sort(schedule.job[mine]).tolist() == list(range(np.count_nonzero(mine)))
        work = made.durations(worker, int(mine.sum())).sum()
        assert schedule.duration[mine].sum() == pytest.approx(work, rel=1e-9, abs=1e-9)
        assert ledger.idle_seconds[worker] == pytest.approx(schedule.time[-1] - work, rel=1e-9, abs=1e-6)


def test_greedy_golden():
    """The example of the paper, and one with a tie, which goes to the lower number."""
    assert _greedy(np.array([1.0, 2.0, 4.0]), 7).tolist() == [4, 2, 1]
    assert _greedy(np.array([3.0, 1.0, 1.0]), 3).tolist() == [0, 2, 1]
    assert _greedy(np.array([2.0, INF]), 3).tolist() == [3, 0]


@settings(max_examples=80, deadline=None)
@given(scores=st.lists(st.integers(1, 9).map(float), min_size=1, max_size=4), batch=st.integers(1, 7))
def test_greedy_is_optimal(scores, batch):
    """No allocation of B tasks has a smaller maximum of a_i s_i."""
    everything = (a for a in itertools.product(range(batch + 1), repeat=len(scores)) if sum(a) == batch)
    best = min(max(np.multiply(a, scores)) for a in everything)
    assert max(_greedy(np.array(scores), batch) * scores) == best


@settings(max_examples=100, deadline=None)
@given(scores=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=40), batch=st.integers(1, 60))
def test_greedy_looks_at_enough_workers(scores, batch):
    """The heap of the best workers finds what a look at all of them finds."""
    assert _greedy(np.array(scores), batch).tolist() == best_shares(scores, batch)


@settings(max_examples=40, deadline=None)
@given(times=st.lists(st.integers(1, 9).map(float), min_size=1, max_size=4), batch=st.integers(1, 6))
def test_fixed_allocation_is_the_fastest_of_all(times, batch):
    """For known times rounds last max a_i tau_i, and no other allocation has shorter ones."""
    made = fleet.fixed(times)
    schedule = ata(made, 3, batch, allocation="fixed")
    shares = np.bincount(schedule.worker[:batch], minlength=len(times))
    assert shares.sum() == batch
    np.testing.assert_array_equal(np.diff(schedule.version_time), np.full(3, max(shares * times)))
    for other in itertools.product(range(batch + 1), repeat=len(times)):
        if sum(other) == batch:
            assert schedule.time[-1] <= mindflayer(made, 3, other, INF).time[-1]


def test_first_rounds_try_every_worker_once():
    """Seven workers, three tasks: no worker has a second task before all have had one."""
    schedule = ata(fleet.exponential(np.arange(1.0, 8.0)), 4, 3, alpha=5.0, seed=3).verify()
    assert sorted(schedule.worker[:6].tolist() + schedule.worker[schedule.read == 2].tolist())[-1] <= 6
    assert len(set(schedule.worker[:6].tolist())) == 6
    assert set(schedule.worker[:9].tolist()) == set(range(7))


def test_ata_without_margin_learns_fixed_speeds_at_once():
    """Alpha 0: after one look at every worker the allocation is the optimal one."""
    made = fleet.fixed([1.0, 2.0, 4.0])
    schedule = ata(made, 4, 7, alpha=0.0)
    assert np.bincount(schedule.worker[:7]).tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])
    for version in (1, 2, 3):
        assert np.bincount(schedule.worker[schedule.read == version]).tolist() == [4, 2, 1]


def test_learning_pays():
    """Scores that learn are far faster than equal shares, and little slower than the optimum for known means."""
    means = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    made = fleet.drawn(6, lambda rng, worker, jobs: means[worker] / 2 * (1 + rng.exponential(1.0, len(jobs))))
    times = {
        "fixed": ata(made, 3000, 12, allocation="fixed", means=means).time[-1],
        "ata": ata(made, 3000, 12, alpha=0.5).time[-1],
        "empirical": ata(made, 3000, 12, allocation="empirical", alpha=0.5).time[-1],
        "uniform": ata(made, 3000, 12, allocation="uniform").time[-1],
    }
    assert times["fixed"] < times["ata"] < 1.2 * times["fixed"]
    assert times["fixed"] < times["empirical"] < 1.5 * times["fixed"]
    assert times["uniform"] > 5 * times["fixed"]


def test_alpha_by_default_is_that_of_the_public_experiments():
    """2 alpha is 8 e times the largest mean, or 8 e for the empirical form."""
    assert ata(fleet.fixed([1.0, 3.0]), 2, 2).arguments["alpha"] == pytest.approx(12 * math.e)
    assert ata(fleet.exponential([1.0, 3.0]), 2, 2, means=[1.0, 5.0]).arguments["alpha"] == pytest.approx(20 * math.e)
    assert ata(fleet.exponential([1.0, 3.0]), 2, 2, allocation="empirical").arguments["alpha"] == pytest.approx(4 * math.e)


@pytest.mark.parametrize(
    ("made", "arguments", "chosen", "message"),
    [
        (fleet.equal(2), (0, 3), {}, "`updates` must be at least 1, got 0"),
        (fleet.equal(2), (3, 0), {}, "`batch` must be at least 1, got 0"),
        (fleet.equal(2), (3, 3), {"allocation": "greedy"}, "`allocation` must be .* got 'greedy'"),
        (fleet.equal(2), (3, 3), {"alpha": -1.0}, "`alpha` must not be negative"),
        (fleet.equal(2), (3, 3), {"alpha": INF}, "`alpha` must not be negative, nor infinite"),
        (fleet.equal(2), (3, 3), {"alpha": 1.0, "allocation": "uniform"}, "allocation 'uniform' does not use `alpha`"),
        (fleet.equal(2), (3, 3), {"means": [1, 1], "allocation": "uniform"}, "allocation 'uniform' does not use `means`"),
        (fleet.exponential([1.0, 2.0]), (3, 3), {}, "allocation 'ata' needs `alpha`, or `means`"),
        (fleet.exponential([1.0, 2.0]), (3, 3), {"allocation": "fixed"}, "allocation 'fixed' needs `means`"),
        (fleet.equal(2), (3, 3), {"allocation": "fixed", "means": [1.0]}, "`means` must hold a positive number for each"),
        (fleet.equal(2), (3, 3), {"allocation": "fixed", "means": [1.0, 0.0]}, "`means` must hold a positive number"),
        (fleet.fixed([INF, INF]), (3, 3), {"allocation": "fixed"}, "no worker ever answers"),
        (fleet.fixed([1.0, INF]), (3, 3), {}, "worker 1 never answers in round 0"),
        (
            fleet.equal(2).with_outages({0: [(1.5, INF)]}),
            (9, 4),
            {"allocation": "uniform"},
            "worker 0 never answers in round 0",
        ),
    ],
)
def test_bad_arguments_of_ata_are_refused(made, arguments, chosen, message):
    """The message says what is expected and what came; a worker that never answers is named when it is needed."""
    with pytest.raises(ValueError, match=message):
        ata(made, *arguments, **chosen)


def test_a_worker_that_never_answers_does_no_harm_where_it_is_not_needed():
    """The optimal allocation for known times leaves it out."""
    schedule = ata(fleet.fixed([1.0, INF, 2.0]), 5, 3, allocation="fixed").verify()
    assert np.bincount(schedule.worker, minlength=3).tolist() == [10, 0, 5]


# Minibatches with partial participation.


@settings(max_examples=80, deadline=None)
@given(made=fleets(), updates=st.integers(1, 20), seed=st.integers(0, 3), data=st.data())
def test_partial_participation_is_the_loop(made, updates, seed, data):
    """Draw, compute, wait for the slowest of those drawn, step with their mean."""
    n = made.num_workers
    m = data.draw(st.integers(1, n))
    schedule = minibatch(made, updates, participants=m, seed=seed).verify()
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    jobs, rows, idle, now = [Jobs(made, i, seed) for i in range(n)], [], np.zeros(n), 0.0
    for version in range(updates):
        drawn = range(n) if m == n else rng.choice(n, m, replace=False).tolist()
        done = sorted((jobs[i].finish(now), i) for i in drawn)
        for place, (finish, i) in enumerate(done):
            rows.append((i, jobs[i].number, version, now, finish, 1 / m, place == m - 1))
        end = done[-1][0]
        waits = dict.fromkeys(range(n), now) | {i: finish for finish, i in done}
        idle += [end - waits[i] for i in range(n)]
        now = end
    assert schedule == table(rows, num_workers=n)
    np.testing.assert_allclose(schedule.ledger.idle_seconds, idle, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(made=fleets(), updates=st.integers(1, 20), seed=st.integers(0, 3))
def test_all_participants_are_the_plain_minibatch(made, updates, seed):
    """Drawing all of them changes nothing, idle seconds included."""
    plain, drawn = minibatch(made, updates, seed=seed), minibatch(made, updates, participants=made.num_workers, seed=seed)
    assert plain == drawn
    assert plain.ledger.idle_seconds.tolist() == drawn.ledger.idle_seconds.tolist()


def test_participants_are_drawn_uniformly_without_replacement():
    """Three of ten in 3000 rounds: each worker in 900 of them, to five standard errors; pairs as often as they should be."""
    schedule = minibatch(fleet.equal(10), 3000, participants=3, seed=5)
    rounds = np.sort(schedule.worker.reshape(3000, 3))
    assert np.all(np.diff(rounds) > 0)
    assert np.all(np.abs(np.bincount(schedule.worker) - 900) < 5 * math.sqrt(3000 * 0.3 * 0.7))
    together = np.count_nonzero(np.any(rounds == 0, axis=1) & np.any(rounds == 1, axis=1))
    pair = 3 / 10 * 2 / 9
    assert abs(together - 3000 * pair) < 5 * math.sqrt(3000 * pair * (1 - pair))
    other = minibatch(fleet.equal(10), 3000, participants=3, seed=6)
    assert other != schedule


def test_a_round_lasts_as_long_as_its_slowest_participant():
    """Expected length of a round of m of n workers: the maximum of m draws without replacement."""
    times = np.arange(1.0, 9.0)
    schedule = minibatch(fleet.fixed(times), 2000, participants=2)
    mean = sum(max(pair) for pair in itertools.combinations(times, 2)) / math.comb(8, 2)
    lengths = np.diff(schedule.version_time)
    assert abs(lengths.mean() - mean) < 5 * lengths.std() / math.sqrt(2000)


def test_bad_participants_are_refused():
    """Their number lies between 1 and N, and who is drawn must answer."""
    for m in (0, 4):
        with pytest.raises(ValueError, match=f"`participants` must lie between 1 and the 3 workers, got {m}"):
            minibatch(fleet.equal(3), 5, participants=m)
    with pytest.raises(ValueError, match=r"worker 1 never answers in round \d+, which therefore never ends"):
        minibatch(fleet.fixed([1.0, INF, 1.0]), 100, participants=1)
    with pytest.raises(ValueError, match="worker 1 never answers, so no round"):
        minibatch(fleet.fixed([1.0, INF, 1.0]), 100, participants=3)


# All three.


@pytest.mark.parametrize(
    "schedule",
    [
        lambda seed: mindflayer(fleet.exponential([1.0, 2.0]), 20, [3, 0], [1.0, INF], success=0.6, seed=seed),
        lambda seed: ata(fleet.exponential(np.ones(9)), 20, 5, alpha=0.1, seed=seed),
        lambda seed: minibatch(fleet.exponential(np.ones(9)), 20, participants=4, seed=seed),
    ],
    ids=["mindflayer", "ata", "minibatch"],
)
def test_schedules_follow_the_seed_and_can_be_saved(schedule, tmp_path):
    """The same seed gives the same schedule, another one another, and a file gives back what was written."""
    one, same, other = (schedule(seed) for seed in (7, 7, 8))
    assert one == same
    assert one != other
    one.save(tmp_path / "schedule.npz")
    loaded = Schedule.load(tmp_path / "schedule.npz")
    assert loaded == one
    assert loaded.arguments["seed"] == 7


@pytest.mark.parametrize("protocol", [mindflayer, ata])
def test_protocols_know_their_paper(protocol):
    """BibTeX, with as many braces opened as closed."""
    text = jasgd.citation(protocol)
    assert text.startswith("@inproceedings{maranjyan2025")
    assert text.count("{") == text.count("}") > 0
