"""The protocols once more, as the papers write them: one event at a time, plain lists, no cleverness.

They share with the fast code a fleet's durations and the order of random draws. The j-th job that a worker starts takes its
j-th duration, whether or not it is finished; of jobs that end at the same time the one of the lower worker comes first.
"""

import dataclasses
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from jasgd import fleet as fleets

COLUMNS = ("worker", "job", "read", "start", "time", "weight", "apply")


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of one worker, and the version that it computes at."""

    worker: int
    number: int
    read: int
    start: float
    finish: float


class Workshop:
    """The workers, and the jobs that they have under way."""

    def __init__(self, fleet, seed):
        self.fleet, self.seed = fleet, seed
        self.started = [0] * fleet.num_workers
        self.under_way = []
        self.durations = [[] for _ in self.started]

    def start(self, worker, read, now):
        """Send a worker the model of version ``read``; it starts at once."""
        number = self.started[worker]
        self.started[worker] += 1
        if number >= len(self.durations[worker]):
            self.durations[worker] = self.fleet.durations(worker, 2 * number + 32, seed=self.seed).tolist()
        duration, power = self.durations[worker][number], self.fleet.power_of(worker)
        finish = now + duration if power is None else power.finish(now, duration)
        self.under_way.append(Job(worker, number, read, now, finish))

    def next_delivery(self):
        """Wait for the next job to end."""
        job = min(self.under_way, key=lambda job: (job.finish, job.worker, job.number))
        assert job.finish < np.inf, "nobody answers any more"
        self.under_way.remove(job)
        return job

    def is_busy(self, worker):
        """Whether the worker has a job under way."""
        return any(job.worker == worker for job in self.under_way)


class Trace:
    """What the server did with each job."""

    def __init__(self, num_workers):
        self.rows = []
        self.dropped, self.dropped_seconds = [0] * num_workers, [0.0] * num_workers
        self.cancelled, self.cancelled_seconds = [0] * num_workers, [0.0] * num_workers
        self.lost_delay = 0
        self.pending = []
        self.dropped_at, self.cancelled_at = [], []  # (time, worker)
        self.dropped_while = []  # (worker, newest version)
        self.lost_jobs = []  # (kind, worker, number, read, start, end)

    def use(self, job, weight, apply):
        """A gradient is part of a step; ``apply``: the server steps now."""
        self.rows.append((job.worker, job.number, job.read, job.start, job.finish, weight, apply))

    def drop(self, job, delay):
        """A gradient arrived and is ignored."""
        self.dropped[job.worker] += 1
        self.dropped_seconds[job.worker] += job.finish - job.start
        self.dropped_at.append((job.finish, job.worker))
        self.lost_jobs.append(("dropped", job.worker, job.number, job.read, job.start, job.finish))
        self.dropped_while.append((job.worker, job.read + delay))
        self.lost_delay += delay

    def cancel(self, job, now, delay):
        """A job is stopped before it has ended."""
        self.cancelled[job.worker] += 1
        self.cancelled_seconds[job.worker] += now - job.start
        self.cancelled_at.append((now, job.worker))
        self.lost_jobs.append(("cancelled", job.worker, job.number, job.read, job.start, now))
        self.lost_delay += delay

    def ends(self, jobs):
        """The server has made its last step while these jobs were under way."""
        self.pending = sorted((job.worker, job.read, job.start) for job in jobs)
        return self


def ringmaster(fleet, updates, threshold, *, stop=False, seed=0, workers=None):
    """A gradient of delay R or more is ignored; with stops, no running job is let become so old."""
    shop, trace = Workshop(fleet, seed), Trace(fleet.num_workers)
    for worker in range(fleet.num_workers) if workers is None else workers:
        shop.start(worker, read=0, now=0.0)
    k = 0
    while k < updates:
        job = shop.next_delivery()
        delay, now = k - job.read, job.finish
        if delay < threshold:
            trace.use(job, weight=1, apply=True)
            k += 1
        else:
            assert not stop
            trace.drop(job, delay)
        shop.start(job.worker, read=k, now=now)
        if stop:
            for late in sorted(shop.under_way, key=lambda job: job.worker):
                if k - late.read >= threshold:
                    trace.cancel(late, now, delay=k - late.read)
                    shop.under_way.remove(late)
                    shop.start(late.worker, read=k, now=now)
    return trace.ends(shop.under_way)


def naive_optimal(fleet, updates, workers, *, seed=0):
    """Plain asynchronous SGD, in which nothing is too old, on the workers that need the least time."""
    fastest = sorted(range(fleet.num_workers), key=lambda worker: (fleet.times[worker], worker))[:workers]
    return ringmaster(fleet, updates, threshold=np.inf, seed=seed, workers=sorted(fastest))


def rennala(fleet, updates, batch, *, interrupt=True, seed=0):
    """Step by gamma sum_i g_i / sum_i B_i as soon as sum_i B_i >= S."""
    return _rounds(
        fleet,
        updates,
        enough=lambda counts: sum(counts) >= batch,
        weight=lambda counts, worker: 1 / sum(counts),
        interrupt=interrupt,
        seed=seed,
    )


def malenia(fleet, updates, batch=None, *, interrupt=True, seed=0):
    """Step by gamma (1/n) sum_i g_i / B_i as soon as all B_i >= 1 and their harmonic mean is at least S / n."""
    n = fleet.num_workers

    def enough(counts):
        return min(counts) >= 1 and (batch is None or n / sum(Fraction(1, count) for count in counts) >= Fraction(batch) / n)

    return _rounds(
        fleet,
        updates,
        enough=enough,
        weight=lambda counts, worker: 1 / (n * counts[worker]),
        interrupt=interrupt,
        seed=seed,
    )


def _rounds(fleet, updates, *, enough, weight, interrupt, seed):
    n = fleet.num_workers
    shop, trace = Workshop(fleet, seed), Trace(n)
    # Where speeds never change, an interrupted round counts its seconds from its own beginning.
    from_zero = interrupt and _never_changes(fleet)
    began = 0.0
    for worker in range(n):
        shop.start(worker, read=0, now=0.0)
    for k in range(updates):
        counts, used = [0] * n, []
        while not enough(counts):
            job = shop.next_delivery()
            if job.read == k:
                counts[job.worker] += 1
                used.append(job)
            else:
                trace.drop(job, delay=k - job.read)
            if not enough(counts):
                shop.start(job.worker, read=k, now=job.finish)
        origin, now, closer = (began if from_zero else 0.0), job.finish, job.worker
        used = [_shifted(job, origin) for job in used]
        if from_zero:  # adding the beginning may round two times to one
            used.sort(key=lambda job: (job.finish, job.worker))
        for job in used:
            trace.use(job, weight(counts, job.worker), apply=job is used[-1])
        began = origin + now
        restart = 0.0 if from_zero else now
        if interrupt:
            for job in shop.under_way:
                trace.cancel(_shifted(job, origin), began, delay=1)
            shop.under_way.clear()
            for worker in range(n):
                shop.start(worker, read=k + 1, now=restart)
        else:
            shop.start(closer, read=k + 1, now=restart)
    return trace.ends(_shifted(job, began if from_zero else 0.0) for job in shop.under_way)


def m_synchronous(fleet, updates, m, *, interrupt=True, seed=0):
    """The mean of one gradient of each of the first m workers; who has delivered waits."""
    n = fleet.num_workers
    shop, trace = Workshop(fleet, seed), Trace(n)
    from_zero = interrupt and _never_changes(fleet)
    began = 0.0
    for worker in range(n):
        shop.start(worker, read=0, now=0.0)
    for k in range(updates):
        used = []
        while len(used) < m:
            job = shop.next_delivery()
            if job.read == k:
                used.append(job)
            else:
                trace.drop(job, delay=k - job.read)
                shop.start(job.worker, read=k, now=job.finish)
        origin, now, waiting = (began if from_zero else 0.0), job.finish, [job.worker for job in used]
        used = [_shifted(job, origin) for job in used]
        if from_zero:
            used.sort(key=lambda job: (job.finish, job.worker))
        for job in used:
            trace.use(job, weight=1 / m, apply=job is used[-1])
        began = origin + now
        if interrupt:
            for job in shop.under_way:
                trace.cancel(_shifted(job, origin), began, delay=1)
                waiting.append(job.worker)
            shop.under_way.clear()
        for worker in waiting:
            shop.start(worker, read=k + 1, now=0.0 if from_zero else now)
    return trace.ends(_shifted(job, began if from_zero else 0.0) for job in shop.under_way)


def _never_changes(fleet):
    return fleet.times is not None and not any(fleet.power_of(worker) for worker in range(fleet.num_workers))


def _shifted(job, origin):
    return dataclasses.replace(job, start=origin + job.start, finish=origin + job.finish)


def ringleader(fleet, updates, *, restart="server point", seed=0):
    """Rounds of n updates. ``trace.tables`` holds, for every update, the versions that each worker's entry was made of."""
    n = fleet.num_workers
    shop, trace = Workshop(fleet, seed), Trace(n)
    trace.tables = []
    k, sent = 0, [0] * n
    table, next_table = [[] for _ in range(n)], [[] for _ in range(n)]
    for worker in range(n):
        shop.start(worker, read=0, now=0.0)

    def update_with(job):
        """Step with the table, and send the new model to the worker, which is marked."""
        nonlocal k
        trace.use(job, weight=1, apply=True)
        trace.tables.append([list(entry) for entry in table])
        k += 1
        sent[job.worker] = k
        shop.start(job.worker, read=k, now=job.finish)
        marked.add(job.worker)

    def store(job):
        """No step; the worker goes on."""
        trace.use(job, weight=1, apply=False)
        if restart == "server point":
            sent[job.worker] = k
        shop.start(job.worker, read=sent[job.worker], now=job.finish)

    while True:
        marked = set()
        assert not all(table), "phase 1 never starts full"
        while not all(table):  # phase 1
            job = shop.next_delivery()
            table[job.worker].append(job.read)
            if not all(table):
                store(job)
        update_with(job)
        while len(marked) < n and k < updates:  # phase 2
            job = shop.next_delivery()
            if job.worker not in marked:
                table[job.worker].append(job.read)
                update_with(job)
            else:
                next_table[job.worker].append(job.read)
                store(job)
        if k == updates:
            return trace.ends(shop.under_way)
        table, next_table = next_table, [[] for _ in range(n)]


def buffered(fleet, updates, buffer, *, assignment="random", concurrency=None, parallel=False, max_delay=None, seed=0):
    """FedBuff: a step for every ``buffer`` gradients; each that arrives makes the server send its model to one client."""
    n = fleet.num_workers
    shop, trace = Workshop(fleet, seed), Trace(n)
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    in_flight = n if concurrency is None else concurrency
    queues, order = [[] for _ in range(n)], []
    everybody = assignment == "own" or in_flight == n
    for client in range(in_flight) if everybody else sorted(rng.choice(n, in_flight, replace=False).tolist()):
        shop.start(client, read=0, now=0.0)
    version, gathered, now = 0, 0, 0.0
    while version < updates:
        job = shop.next_delivery()
        now = job.finish
        if max_delay is not None and version - job.read > max_delay:
            trace.drop(job, delay=version - job.read)
        else:
            gathered += 1
            trace.use(job, weight=1 / buffer, apply=gathered == buffer)
            if gathered == buffer:
                version, gathered = version + 1, 0
        if queues[job.worker]:
            shop.start(job.worker, read=queues[job.worker].pop(0), now=now)
        if assignment == "own":
            client = job.worker
        elif assignment == "random":
            client = int(rng.integers(n, size=1)[0])
        elif assignment == "idle":
            client = int(rng.choice([i for i in range(n) if not shop.is_busy(i)], size=1, replace=False)[0])
        else:
            order = order or rng.permutation(n).tolist()
            client = order.pop(0)
        if shop.is_busy(client) and not parallel:
            queues[client].append(version)
        else:
            shop.start(client, read=version, now=now)
    queued = [Job(client, -1, read, now, np.inf) for client in range(n) for read in queues[client]]
    return trace.ends(shop.under_way + queued)


def semi_asynchronous(fleet, updates, wait_for, *, first_round="apart", seed=0):
    """A step when c workers have delivered; these get the new model together. The first step may be one of all workers."""
    n = fleet.num_workers
    shop, trace = Workshop(fleet, seed), Trace(n)
    for worker in range(n):
        shop.start(worker, read=0, now=0.0)
    for version in range(updates):
        needed = n if version == 0 and first_round == "together" else wait_for
        group = [shop.next_delivery() for _ in range(needed)]
        for job in group:
            trace.use(job, weight=1 / needed, apply=job is group[-1])
        for job in group:
            shop.start(job.worker, read=version + 1, now=group[-1].finish)
    return trace.ends(shop.under_way)


def assert_same(schedule, trace):
    """The schedule obeys all laws and is the reference's trace, bit for bit; sums of seconds to rounding."""
    schedule.verify()
    for name, expected in zip(COLUMNS, zip(*trace.rows, strict=True), strict=True):
        column = getattr(schedule, name)
        np.testing.assert_array_equal(column, np.array(expected, column.dtype), err_msg=name)
    ledger = schedule.ledger
    for name in ("dropped", "cancelled"):
        assert getattr(ledger, name).tolist() == getattr(trace, name), name
        np.testing.assert_allclose(
            getattr(ledger, f"{name}_seconds"), getattr(trace, f"{name}_seconds"), rtol=1e-9, atol=1e-9, err_msg=name
        )
    assert ledger.lost_delay == trace.lost_delay
    pending = zip(ledger.pending_worker, ledger.pending_read, ledger.pending_start, strict=True)
    assert sorted((int(i), int(read), float(start)) for i, read, start in pending) == trace.pending


@st.composite
def drawn_fleets(draw, least=2, most=7, fixed=False, power=True):
    """Small whole times make ties, tenths make ties that rounding breaks, Poisson times make jobs of no duration."""
    n = draw(st.integers(least, most))
    means = np.array(draw(st.lists(st.integers(1, 5), min_size=n, max_size=n)), float)
    kinds = ["whole", "tenths"] + ([] if fixed else ["exponential", "poisson"])
    kind = draw(st.sampled_from(kinds))
    made = {
        "whole": lambda: fleets.fixed(means),
        "tenths": lambda: fleets.fixed(means / 10),
        "exponential": lambda: fleets.exponential(means),
        "poisson": lambda: fleets.poisson(means),
    }[kind]()
    if draw(st.booleans()):
        links = [draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)) for _ in range(2)]
        made = made.with_links(upload=links[0], download=links[1], size=draw(st.sampled_from([1.0, 0.5])))
    if power and draw(st.booleans()):
        outages = {}
        for worker in draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=2)):
            begin = draw(st.integers(0, 9))
            outages[worker] = [(begin, begin + draw(st.integers(1, 12)))]
        made = made.with_outages(outages)
    return made
