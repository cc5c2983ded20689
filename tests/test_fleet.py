"""Fleets: laws of the durations, their independence of everything but (seed, worker, job), power over time, traces."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import fleet
from jasgd.power import outages, power

INF, NAN = float("inf"), float("nan")


def ramp(n):
    return 1.0 + np.arange(n)


FIXED = {
    "fixed": lambda n: fleet.fixed(ramp(n)),
    "equal": lambda n: fleet.equal(n, time=0.5),
    "power_law": lambda n: fleet.power_law(n, exponent=0.5),
    "two_speed": lambda n: fleet.two_speed(n, slow=0, slowdown=6.0),
}
RANDOM = {
    "exponential": lambda n: fleet.exponential(ramp(n)),
    "lognormal": lambda n: fleet.lognormal(np.log(ramp(n)), 1.0),
    "pareto": lambda n: fleet.pareto(ramp(n), 2.0),
    "gamma": lambda n: fleet.gamma(ramp(n), 0.25),
    "uniform": lambda n: fleet.uniform(ramp(n), 20.0),
    "poisson": lambda n: fleet.poisson(20.0 * ramp(n)),
    "truncated_normal": lambda n: fleet.truncated_normal(ramp(n), 1.0, minimum=0.5),
    "jittered": lambda n: fleet.jittered(ramp(n), np.sqrt(ramp(n))),
    "stragglers": lambda n: fleet.stragglers(ramp(n), slowdown=6.0, probability=0.5),
    "drawn": lambda n: fleet.drawn(n, lambda rng, worker, jobs: 1.0 + worker + rng.random(len(jobs))),
}
BUILDERS = FIXED | RANDOM
every_builder = pytest.mark.parametrize("name", BUILDERS)
every_random_builder = pytest.mark.parametrize("name", RANDOM)


# Durations depend on (seed, worker, job) alone.


@every_builder
def test_durations_do_not_depend_on_how_many_are_asked_for(name):
    """The first jobs take the same time, whether five durations are drawn or seven hundred."""
    workers = BUILDERS[name](3)
    for worker in range(3):
        many = workers.durations(worker, 700, seed=4)
        for count in (0, 1, 5, 16, 17, 333):
            np.testing.assert_array_equal(workers.durations(worker, count, seed=4), many[:count])


@every_builder
def test_clocks_give_the_same_durations_as_durations(name):
    """Clocks draw in blocks of growing size, and still the j-th job takes the j-th duration."""
    workers = BUILDERS[name](3)
    for worker, clock in enumerate(workers.clocks(seed=4)):
        np.testing.assert_array_equal([clock(0.0) for _ in range(700)], workers.durations(worker, 700, seed=4))


@every_builder
def test_durations_do_not_depend_on_the_other_workers(name):
    """A worker's durations are the same in a fleet of three as in a fleet of eleven, whatever was drawn before."""
    few, many = BUILDERS[name](3), BUILDERS[name](11)
    many.durations(10, 5, seed=4)
    for worker in (2, 0, 1):
        np.testing.assert_array_equal(few.durations(worker, 40, seed=4), many.durations(worker, 40, seed=4))


def test_clocks_of_workers_do_not_disturb_each_other():
    """The order in which workers ask for their next duration does not matter."""
    workers = fleet.exponential([1.0, 2.0])
    one_by_one, interleaved = workers.clocks(seed=1), workers.clocks(seed=1)
    expected = [[clock(0.0) for _ in range(40)] for clock in one_by_one]
    pairs = [(interleaved[0](0.0), interleaved[1](0.0)) for _ in range(40)]
    assert [list(column) for column in zip(*pairs, strict=True)] == expected


@every_random_builder
def test_seeds_and_workers_have_their_own_streams(name):
    """Another seed, or another worker with the same parameters, draws other durations."""
    workers = RANDOM[name](2)
    assert not np.array_equal(workers.durations(0, 50, seed=0), workers.durations(0, 50, seed=1))
    twins = fleet.Fleet(num_workers=2, draw=lambda rng, worker, jobs: workers.draw(rng, 0, jobs))
    assert not np.array_equal(twins.durations(0, 50), twins.durations(1, 50))


# Laws.


def test_fixed_fleets_hold_exactly_these_times():
    """Fixed, equal, power-law and two-speed fleets have the times of their formulas."""
    np.testing.assert_array_equal(fleet.fixed([1.0, 1.7, 2.3]).times, [1.0, 1.7, 2.3])
    np.testing.assert_array_equal(fleet.equal(3, time=0.5).times, [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(fleet.power_law(4, exponent=2.0).times, [1.0, 4.0, 9.0, 16.0])
    np.testing.assert_array_equal(fleet.power_law(3, exponent=0.0).times, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(fleet.two_speed(4, slow=3, slowdown=8.0, time=0.25).times, [0.25, 2.0, 2.0, 2.0])


@every_builder
def test_fixed_fleets_know_their_times_and_random_ones_have_none(name):
    """``times`` is what every job takes, and None where jobs differ."""
    workers = BUILDERS[name](3)
    assert (workers.times is None) == (name in RANDOM)
    if workers.times is not None:
        assert all(set(workers.durations(i, 30, seed=7)) == {workers.times[i]} for i in range(3))


# name: fleet, mean and standard deviation (None if infinite), a point and the probability not to exceed it; of worker 1.
LAWS = {
    "exponential": (fleet.exponential([9.0, 2.0]), 2.0, 2.0, 2.0, 1 - math.exp(-1)),
    "lognormal": (fleet.lognormal([9.0, 0.5], [1.0, 0.25]), math.exp(0.53125), None, math.exp(0.5), 0.5),
    "pareto": (fleet.pareto([9.0, 1.2], 2.0), None, None, 6.0, 1 - 3**-1.2),
    "pareto with offset": (fleet.pareto([9.0, 1.2], offset=0.001), None, None, 2.001, 1 - 3**-1.2),
    "gamma": (fleet.gamma([9.0, 4.0], 0.25), 1.0, 0.5, 1.0, 1 - math.exp(-4) * (1 + 4 + 8 + 32 / 3)),
    "uniform": (fleet.uniform([0.0, 1.0], [9.0, 3.0]), 2.0, 1 / math.sqrt(3), 1.5, 0.25),
    "poisson": (fleet.poisson([9.0, 3.0], offset=0.5), 3.5, math.sqrt(3), 0.5, math.exp(-3)),
    "truncated_normal": (
        fleet.truncated_normal([9.0, 1.0], 2.0, minimum=0.5),
        None,
        None,
        1.0,
        (0.5 - NormalDist().cdf(-0.25)) / NormalDist().cdf(0.25),
    ),
    "jittered": (
        fleet.jittered([9.0, 3.0], [1.0, 2.0]),
        3 + 2 * math.sqrt(2 / math.pi),
        2 * math.sqrt(1 - 2 / math.pi),
        3 + 2 * NormalDist().inv_cdf(0.75),
        0.5,
    ),
    "stragglers": (fleet.stragglers([9.0, 2.0], 10.0, 0.1), 3.8, 5.4, 2.0, 0.9),
}


@pytest.mark.parametrize("name", LAWS)
def test_durations_follow_their_law(name):
    """Mean and distribution function agree with 20,000 draws of a fixed seed to five standard errors."""
    workers, mean, deviation, point, probability = LAWS[name]
    values = workers.durations(1, 20_000)
    error = math.sqrt(probability * (1 - probability) / len(values))
    assert abs(np.mean(values <= point) - probability) < 5 * error
    if deviation is not None:
        assert abs(values.mean() - mean) < 5 * deviation / math.sqrt(len(values))


def test_supports_begin_where_they_should():
    """Offsets, minima and least times bound the durations from below."""
    assert fleet.pareto([1.2], 2.0).durations(0, 500).min() >= 2.0
    assert 0.001 <= fleet.pareto([1.2], offset=0.001).durations(0, 500).min() < 0.1
    assert fleet.truncated_normal([1.0], 2.0, minimum=0.5).durations(0, 500).min() > 0.5
    assert fleet.jittered([3.0], 2.0).durations(0, 500).min() >= 3.0
    assert set(fleet.stragglers([2.0], 10.0, 0.5).durations(0, 500)) == {2.0, 20.0}
    counts = fleet.poisson([3.0]).durations(0, 500)
    np.testing.assert_array_equal(counts, np.floor(counts))


def test_one_parameter_stands_for_all_workers():
    """Where one parameter has a value per worker, a number for another one is everybody's."""
    workers = fleet.gamma([1.0, 2.0, 3.0], 0.25)
    assert workers.num_workers == 3
    np.testing.assert_array_equal(workers.durations(2, 9), fleet.gamma([9.0, 9.0, 3.0], [1.0, 1.0, 0.25]).durations(2, 9))


def test_drawn_hears_which_jobs_are_asked_for():
    """A draw function gets the worker and the numbers of consecutive jobs, each once and in order."""
    asked = [[], []]

    def draw(rng, worker, jobs):
        asked[worker] += jobs.tolist()
        return 1.0 + jobs

    clocks = fleet.drawn(2, draw).clocks()
    assert [clocks[1](0.0) for _ in range(40)] == [1.0 + j for j in range(40)]
    assert asked[1] == list(range(len(asked[1])))
    assert asked[0] == []


# Refusals.

TIMES = {"zero": 0.0, "negative": -1.0, "nan": NAN, "missing": None}


@pytest.mark.parametrize("bad", TIMES)
@pytest.mark.parametrize(
    "build",
    [
        fleet.fixed,
        fleet.exponential,
        fleet.poisson,
        lambda t: fleet.gamma(t, 1.0),
        lambda t: fleet.pareto(t),
        lambda t: fleet.stragglers(t, 2.0, 0.5),
    ],
    ids=["fixed", "exponential", "poisson", "gamma", "pareto", "stragglers"],
)
def test_zero_negative_nan_and_missing_times_are_refused(build, bad):
    """The message names the worker whose time is no positive number."""
    with pytest.raises(ValueError, match="worker 2"):
        build([1.0, 2.0, TIMES[bad], 3.0])


@pytest.mark.parametrize(
    "build",
    [
        lambda: fleet.lognormal([0.0, 0.0, NAN], 1.0),
        lambda: fleet.lognormal(0.0, [1.0, 1.0, -1.0]),
        lambda: fleet.pareto([1.0, 1.0, 1.0], [1.0, 1.0, -1.0]),
        lambda: fleet.pareto([1.0, 1.0, 1.0], offset=[0.0, 0.0, -1.0]),
        lambda: fleet.gamma([1.0, 1.0, 1.0], [1.0, 1.0, -1.0]),
        lambda: fleet.gamma([1.0, 1.0, 1.0], [1.0, 1.0, 0.0]),
        lambda: fleet.uniform([0.0, 0.0, -1.0], 1.0),
        lambda: fleet.uniform([0.0, 0.0, 2.0], 1.0),
        lambda: fleet.uniform([0.0, 0.0, NAN], 1.0),
        lambda: fleet.poisson([1.0, 1.0, 1.0], offset=[0.0, 0.0, -1.0]),
        lambda: fleet.truncated_normal([1.0, 1.0, 1.0], 1.0, minimum=[0.0, 0.0, 1.0]),
        lambda: fleet.truncated_normal([1.0, 1.0, 1.0], [1.0, 1.0, -1.0]),
        lambda: fleet.jittered([1.0, 1.0, -1.0], 1.0),
        lambda: fleet.jittered([1.0, 1.0, NAN], 1.0),
        lambda: fleet.jittered([1.0, 1.0, 1.0], [1.0, 1.0, -1.0]),
        lambda: fleet.stragglers([1.0, 1.0, 1.0], [2.0, 2.0, -2.0], 0.5),
        lambda: fleet.stragglers([1.0, 1.0, 1.0], 2.0, [0.5, 0.5, 1.5]),
    ],
    ids=[
        "lognormal mu nan",
        "lognormal sigma negative",
        "pareto scale negative",
        "pareto offset negative",
        "gamma scale negative",
        "gamma scale zero",
        "uniform low negative",
        "uniform low above high",
        "uniform low nan",
        "poisson offset negative",
        "truncated_normal mean at minimum",
        "truncated_normal scale negative",
        "jittered time negative",
        "jittered time nan",
        "jittered scale negative",
        "stragglers slowdown negative",
        "stragglers probability above 1",
    ],
)
def test_bad_parameters_are_refused_where_the_fleet_is_made(build):
    """A parameter outside of its law's range is refused at once, with the worker's number."""
    with pytest.raises(ValueError, match="worker 2"):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: fleet.fixed([]),
        lambda: fleet.exponential([]),
        lambda: fleet.lognormal([], 1.0),
        lambda: fleet.jittered([], 1.0),
        lambda: fleet.uniform([], 1.0),
        lambda: fleet.equal(0),
        lambda: fleet.equal(-1),
        lambda: fleet.equal(2.5),
        lambda: fleet.equal(True),
        lambda: fleet.drawn(0, lambda rng, worker, jobs: np.ones(len(jobs))),
    ],
    ids=[
        "fixed",
        "exponential",
        "lognormal",
        "jittered",
        "uniform",
        "equal 0",
        "equal -1",
        "equal 2.5",
        "equal True",
        "drawn 0",
    ],
)
def test_a_fleet_without_workers_is_refused(build):
    """A fleet needs a whole number of workers, at least one."""
    with pytest.raises(ValueError, match="must"):
        build()


@pytest.mark.parametrize("slow", [-1, 5])
def test_two_speed_refuses_more_slow_workers_than_there_are(slow):
    """The number of slow workers lies between none and all."""
    with pytest.raises(ValueError, match=f"`slow` must count some of the 4 workers, got {slow}"):
        fleet.two_speed(4, slow=slow, slowdown=2.0)


def test_times_of_a_table_are_refused():
    """Times must be flat."""
    with pytest.raises(ValueError, match="not flat"):
        fleet.fixed([[1.0, 2.0]])


@pytest.mark.parametrize("bad", [-1.0, NAN])
def test_a_negative_or_nan_draw_is_refused(bad):
    """A draw function that returns no duration is reported with the worker and the value."""
    workers = fleet.drawn(3, lambda rng, worker, jobs: np.where((worker == 1) & (jobs == 20), bad, 1.0))
    workers.durations(0, 30)
    with pytest.raises(ValueError, match=f"a job of worker 1 was given the duration {bad}"):
        workers.durations(1, 30)
    clock = workers.clocks()[1]
    with pytest.raises(ValueError, match=f"a job of worker 1 was given the duration {bad}"):
        [clock(0.0) for _ in range(30)]


def test_a_draw_of_the_wrong_length_is_refused():
    """A draw function must return one duration per job."""
    with pytest.raises(ValueError, match=r"`draw` must return 4 durations for worker 0, got shape \(3,\)"):
        fleet.drawn(1, lambda rng, worker, jobs: np.ones(3)).durations(0, 4)


# Workers that never answer.


def test_infinite_time_means_never_an_answer():
    """A worker with an infinite time has infinite finish times and no row in a schedule."""
    workers = fleet.fixed([1.0, INF, 2.0])
    assert workers.clocks()[1](3.0) == INF
    schedule = jasgd.protocols.asynchronous(workers, 30).verify()
    assert set(schedule.worker) == {0, 2}
    assert schedule.ledger.pending_worker.tolist() == [0, 1, 2]
    assert schedule.ledger.pending_read[1] == 0


def test_an_infinite_slowdown_means_never_an_answer():
    """The slow workers of a two-speed fleet may be those that never answer."""
    workers = fleet.two_speed(3, slow=2, slowdown=INF)
    assert workers.times.tolist() == [1.0, INF, INF]
    assert set(jasgd.protocols.asynchronous(workers, 5).worker) == {0}


def test_an_infinite_mean_is_refused():
    """A random law needs finite parameters; a worker that never answers is one of fixed time infinity."""
    with pytest.raises(ValueError, match="worker 1 has inf"):
        fleet.exponential([1.0, INF])


def test_zero_and_infinite_draws_are_durations():
    """A job of a drawn fleet may be done at once or never."""
    workers = fleet.drawn(1, lambda rng, worker, jobs: np.where(jobs < 2, 0.0, INF))
    np.testing.assert_array_equal(workers.durations(0, 3), [0.0, 0.0, INF])


# Power over time.


def test_a_job_waits_during_an_outage_and_goes_on():
    """Two-second jobs with an outage from 5 to 9 end at 2, 4, 10 and 12."""
    clock = fleet.equal(1, time=2.0).with_outages({0: [(5.0, 9.0)]}).clocks()[0]
    finish = [0.0]
    for _ in range(4):
        finish.append(clock(finish[-1]))
    assert finish == [0.0, 2.0, 4.0, 10.0, 12.0]


def test_a_job_done_as_the_outage_begins_is_done():
    """An outage does not touch a job that ends at its first instant, and delays one that starts there."""
    stopped = outages([(5.0, 9.0)])
    assert stopped.finish(4.0, 1.0) == 5.0
    assert stopped.finish(5.0, 1.0) == 10.0
    assert stopped.finish(9.0, 1.0) == 10.0
    assert stopped.finish(4.0, 0.0) == 4.0


def test_a_job_without_work_is_done_at_once_even_in_an_outage():
    """The power has added up to nothing at the very start, whatever the power is then."""
    stopped = outages([(0.0, 3.0), (5.0, INF)])
    assert [stopped.finish(start, 0.0) for start in (0.0, 1.0, 4.0, 5.0, 9.0)] == [0.0, 1.0, 4.0, 5.0, 9.0]


def test_an_outage_may_begin_at_zero_and_may_last_for_ever():
    """Nothing is computed before an outage from time 0 ends; a job in an endless outage never ends."""
    stopped = outages([(0.0, 3.0), (10.0, INF)])
    assert stopped.finish(0.0, 2.0) == 5.0
    assert stopped.finish(0.0, 7.0) == 10.0
    assert stopped.finish(0.0, 7.5) == INF
    assert stopped.finish(11.0, 0.5) == INF


def test_adjacent_outages_are_one_outage():
    """Outages that touch, in any order, act as the longer one."""
    split, whole = outages([(4.0, 6.0), (1.0, 4.0)]), outages([(1.0, 6.0)])
    assert [split.finish(start, 1.0) for start in (0.0, 0.5, 2.0, 6.0)] == [
        whole.finish(s, 1.0) for s in (0.0, 0.5, 2.0, 6.0)
    ]


def test_power_changes_the_speed_of_a_job_under_way():
    """Twice the power does twice the work per second, a quarter of the power a quarter."""
    changing = power([0.0, 10.0, 12.0], [1.0, 2.0, 0.25])
    assert changing.finish(9.0, 3.0) == 11.0
    assert changing.finish(9.0, 6.0) == 16.0
    assert changing.finish(20.0, 1.0) == 24.0


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=0, max_size=5),
    quarters=st.lists(st.integers(0, 8), min_size=6, max_size=6),
    start=st.integers(0, 60),
    work=st.integers(1, 60),
)
def test_finish_is_the_first_time_at_which_the_power_adds_up_to_the_work(lengths, quarters, start, work):
    """The integral of the power from start to finish is the work, and less than that before the finish."""
    times = np.concatenate([[0.0], np.cumsum(lengths)])
    values = np.array(quarters[: len(times)]) / 4

    def done(until):
        edges = np.append(times, np.inf)
        return float(values @ np.clip(np.minimum(edges[1:], until) - np.maximum(edges[:-1], start), 0.0, None))

    finish = power(times, values).finish(float(start), float(work))
    if finish == INF:
        assert values[-1] == 0.0
        assert done(1e9) < work
    else:
        assert done(finish) == pytest.approx(work, rel=1e-12)
        assert done(finish - 1e-3) < work


def test_power_concerns_one_worker_only():
    """Half the power doubles this worker's times, an outage delays that worker's, and all else stays what it was."""
    plain = fleet.exponential([1.0, 1.0, 1.0])
    changed = plain.with_power(1, [0.0], [0.5]).with_outages({2: [(0.0, 8.0)]})
    assert [changed.power_of(worker) is None for worker in range(3)] == [True, False, False]
    assert [plain.power_of(worker) for worker in range(3)] == [None, None, None]
    for worker in range(3):
        np.testing.assert_array_equal(changed.durations(worker, 20), plain.durations(worker, 20))
    first = np.array([clock(0.0) for clock in plain.clocks()])
    np.testing.assert_array_equal([clock(0.0) for clock in changed.clocks()], first * [1, 2, 1] + [0, 0, 8])


def test_an_outage_in_a_schedule_has_these_numbers():
    """Two workers of speed one, the second stopped from 0.5 to 2.5: its first job ends at 3 with delay 3."""
    stopped = fleet.equal(2).with_outages({1: [(0.5, 2.5)]})
    schedule = jasgd.protocols.asynchronous(stopped, 6).verify()
    assert schedule.time.tolist() == [1.0, 2.0, 3.0, 3.0, 4.0, 4.0]
    assert schedule.worker.tolist() == [0, 0, 0, 1, 0, 1]
    assert schedule.delay.tolist() == [0, 0, 0, 3, 1, 1]


@pytest.mark.parametrize(
    ("times", "values"),
    [
        ([1.0], [1.0]),
        ([0.0, 0.0], [1.0, 1.0]),
        ([0.0, 2.0, 1.0], [1.0, 1.0, 1.0]),
        ([0.0, NAN], [1.0, 1.0]),
        ([0.0], [1.0, 2.0]),
        ([], []),
    ],
)
def test_power_refuses_bad_breakpoints(times, values):
    """Breakpoints start at zero, increase, and have one value each."""
    with pytest.raises(ValueError, match="`times` must be increasing, start at 0 and match `values`"):
        fleet.equal(2).with_power(0, times, values)


@pytest.mark.parametrize("value", [-0.5, NAN, INF])
def test_power_refuses_bad_values(value):
    """Power is finite and not negative."""
    with pytest.raises(ValueError, match="must be finite and not negative"):
        fleet.equal(2).with_power(0, [0.0, 1.0], [1.0, value])


@pytest.mark.parametrize(
    "intervals",
    [[(2.0, 1.0)], [(1.0, 1.0)], [(-1.0, 1.0)], [(0.0, 2.0), (1.0, 3.0)], [(1.0, INF), (2.0, 3.0)], [(NAN, 1.0)]],
)
def test_outages_refuse_intervals_that_are_none_or_overlap(intervals):
    """Outages are disjoint intervals from time zero on."""
    with pytest.raises(ValueError, match="outages must be disjoint intervals"):
        fleet.equal(2).with_outages({1: intervals})


@pytest.mark.parametrize("worker", [-1, 2])
def test_power_refuses_a_worker_that_does_not_exist(worker):
    """The message names the worker and those that exist."""
    with pytest.raises(ValueError, match=f"worker {worker} does not exist; this fleet has workers 0 to 1"):
        fleet.equal(2).with_power(worker, [0.0], [1.0])
    with pytest.raises(ValueError, match=f"worker {worker} does not exist; this fleet has workers 0 to 1"):
        fleet.equal(2).with_outages({worker: [(0.0, 1.0)]})


def test_a_second_power_for_one_worker_is_refused():
    """Two changes of one worker would hide each other, so they must be one."""
    with pytest.raises(ValueError, match="worker 1 has a changing power already"):
        fleet.equal(2).with_power(1, [0.0], [0.5]).with_outages({1: [(0.0, 1.0)]})


# Traces.


def test_a_trace_is_replayed_in_its_order_and_from_the_start_again(tmp_path):
    """Rows of workers may be mixed and there may be more columns; a worker's durations keep their order."""
    path = tmp_path / "trace.csv"
    path.write_text("job,duration,worker\na,2.5,1\nb,1,0\nc,0.25,1\nd,4e-1,1\n")
    workers = fleet.from_trace(path)
    assert workers.num_workers == 2
    assert workers.durations(0, 3).tolist() == [1.0, 1.0, 1.0]
    assert workers.durations(1, 7, seed=3).tolist() == [2.5, 0.25, 0.4, 2.5, 0.25, 0.4, 2.5]
    clock = workers.clocks()[1]
    assert [clock(0.0) for _ in range(100)] == workers.durations(1, 100).tolist()
    assert fleet.from_trace(str(path)).name == "from_trace(trace.csv)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have the columns `worker` and `duration`"),
        ("worker,time\n0,1\n", "must have the columns `worker` and `duration`"),
        ("worker,duration\n", "no duration for worker 0"),
        ("worker,duration\n0,1\n2,1\n", "no duration for worker 1"),
        ("worker,duration\n1,1\n", "no duration for worker 0"),
        ("worker,duration\n0,1\n0,fast\n", "line 3: expected a worker number and seconds"),
        ("worker,duration\n0.5,1\n", "line 2: expected a worker number and seconds"),
        ("worker,duration\n0\n", "line 2: expected a worker number and seconds"),
        ("worker,duration\n0,1\n1,0\n", "line 3: worker 1 has the duration 0.0"),
        ("worker,duration\n0,1\n1,-2\n", "line 3: worker 1 has the duration -2.0"),
        ("worker,duration\n0,nan\n", "line 2: worker 0 has the duration nan"),
        ("worker,duration\n0,inf\n", "line 2: worker 0 has the duration inf"),
        ("worker,duration\n-1,1\n", "line 2: worker -1"),
        ("worker,duration\n0,1\n\n0,-1\n", "line 4: worker 0 has the duration -1.0"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path, text, message):
    """The message names the file and what is wrong where."""
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"trace\.csv") as error:
        fleet.from_trace(path)
    assert message in str(error.value)


# The compute times of the papers.


def folded_normal_ticks(rng, worker, jobs):
    """AsGrad's floor(|N(i, sd i)|) + 1."""
    return np.floor(np.abs(rng.normal(worker + 1, worker + 1, len(jobs)))) + 1


def rarely_slow_poisson(rng, worker, jobs):
    """1 + Poisson(1), or with probability 0.1 1 + Poisson(50), from one uniform number per job."""
    counts = np.arange(400)
    log_factorial = np.cumsum(np.log(np.maximum(counts, 1)))
    law = 0.9 * np.exp(-1 - log_factorial) + 0.1 * np.exp(counts * np.log(50.0) - 50 - log_factorial)
    return 1.0 + np.searchsorted(np.cumsum(law)[:-1], rng.random(len(jobs)))


def classes(seed, probabilities, count):
    """FADAS draws each client's speed class once: the largest of three Dirichlet shares."""
    return np.random.default_rng(seed).dirichlet(probabilities, count).argmax(axis=1)


LOW, HIGH, SEVERE = np.array([1.0, 3.0, 5.0]), np.array([2.0, 5.0, 8.0]), np.array([1.0, 3.0, 50.0])
SPEEDS = classes(0, [3.0, 2.0, 1.0], 50)
I10, I6174, I8 = np.arange(1, 11), np.arange(6174), np.arange(8)
HALVES = np.concatenate([np.arange(2, 3089), np.arange(1, 3088) ** 3.0])
# what: fleet, workers, one of them, the median of its durations, relative tolerance (0: every duration is this number).
SCENARIOS = {
    "Mishchenko notebook, stand-in": (lambda: fleet.lognormal(np.zeros(40), 1.0), 40, 39, 1.0, 0.06),
    "Mishchenko straggler": (lambda: fleet.two_speed(40, slow=1, slowdown=101.0), 40, 39, 101.0, 0),
    "fixed computation model": (lambda: fleet.fixed([0.3, 0.7, 1.1]), 3, 1, 0.7, 0),
    "Koloskova toy": (lambda: fleet.fixed([1.0, 1000.0]), 2, 1, 1000.0, 0),
    "Koloskova Lemma 11": (lambda: fleet.two_speed(1000, slow=100, slowdown=6.0, time=10.0), 1000, 900, 60.0, 0),
    "AsGrad fixed": (lambda: fleet.fixed(I10), 10, 9, 10.0, 0),
    "AsGrad Poisson": (lambda: fleet.poisson(I10), 10, 9, 10.0, 0.0999),
    "AsGrad normal": (lambda: fleet.drawn(10, folded_normal_ticks), 10, 9, 11.0, 0.0999),
    "AsGrad uniform": (lambda: fleet.uniform(1.0, 1.0 + I10), 10, 9, 6.0, 0.06),
    "AsGrad uniform, 142": (lambda: fleet.uniform(1.0, 2.0 + np.arange(142)), 142, 141, 72.0, 0.06),
    "Ringmaster quadratic": (
        lambda: fleet.jittered(1 + np.sqrt(I6174), np.sqrt(I6174 + 1)),
        6174,
        6173,
        1 + math.sqrt(6173) + math.sqrt(6174) * NormalDist().inv_cdf(0.75),
        0.06,
    ),
    "Ringmaster linear": (lambda: fleet.fixed(1.0 + I6174), 6174, 6173, 6174.0, 0),
    "Ringmaster steep linear": (lambda: fleet.fixed(1.0 + 4 * I6174), 6174, 6173, 24693.0, 0),
    "Ringmaster steepest linear": (lambda: fleet.fixed(2.0 + 20 * I6174), 6174, 6173, 123462.0, 0),
    "Ringmaster half linear, half cubic": (lambda: fleet.fixed(HALVES), 6174, 6173, 3087.0**3, 0),
    "Ringmaster language model": (
        lambda: fleet.jittered(1 + np.sqrt(I8 + 1), 0.05 * np.sqrt(I8 + 1)),
        8,
        7,
        1 + math.sqrt(8) * (1 + 0.05 * NormalDist().inv_cdf(0.75)),
        0.01,
    ),
    "Tyurin square root": (lambda: fleet.power_law(100, 0.5), 100, 99, 10.0, 0),
    "Tyurin square": (lambda: fleet.power_law(100, 2.0), 100, 99, 10000.0, 0),
    "Tyurin one fast": (lambda: fleet.fixed([0.01] + [1.0] * 99), 100, 0, 0.01, 0),
    "Tyurin one very fast": (lambda: fleet.fixed([0.001] + [1.0] * 99), 100, 0, 0.001, 0),
    "Clipped ASGD, 4": (lambda: fleet.two_speed(16, slow=8, slowdown=4.0), 16, 8, 4.0, 0),
    "Clipped ASGD, 8": (lambda: fleet.two_speed(16, slow=8, slowdown=8.0), 16, 7, 1.0, 0),
    "FADAS mild": (
        lambda: fleet.uniform(LOW[SPEEDS], HIGH[SPEEDS]),
        50,
        7,
        0.5 * (LOW[SPEEDS[7]] + HIGH[SPEEDS[7]]),
        0.06,
    ),
    "FADAS large": (
        lambda: fleet.uniform(SEVERE[SPEEDS], np.where(SPEEDS == 2, 80.0, HIGH[SPEEDS])),
        50,
        int(np.argmax(SPEEDS == 2)),
        65.0,
        0.06,
    ),
    "FedBuff half normal": (lambda: fleet.jittered(np.full(80, 0.5), 1.0), 80, 79, 0.5 + NormalDist().inv_cdf(0.75), 0.06),
    "FedBuff clipped normal": (
        lambda: fleet.drawn(80, lambda rng, worker, jobs: np.maximum(rng.normal(2.0, 1.0, len(jobs)), 0.5)),
        80,
        79,
        2.0,
        0.06,
    ),
    "FedBuff uniform": (lambda: fleet.uniform(np.full(80, 0.5), 2 * 2.0 - 0.5), 80, 79, 2.0, 0.06),
    "FedBuff exponential": (lambda: fleet.exponential(np.full(1000, 2.0)), 1000, 999, 2 * math.log(2), 0.06),
    "FedBuff per example": (
        lambda: fleet.drawn(80, lambda rng, worker, jobs: (10 + worker) * np.abs(rng.normal(2.0, 0.1, len(jobs)))),
        80,
        79,
        178.0,
        0.01,
    ),
    "Picky Poisson mixture": (lambda: fleet.drawn(75, rarely_slow_poisson), 75, 74, 2.0, 0.06),
    "round robin": (lambda: fleet.equal(40), 40, 39, 1.0, 0),
    "ours, exponential": (lambda: fleet.exponential(np.ones(20)), 20, 19, math.log(2), 0.06),
    "ours, Lomax 1.2": (lambda: fleet.pareto(np.full(40, 1.2), offset=0.001), 40, 39, 2 ** (1 / 1.2) - 0.999, 0.06),
    "ours, Lomax 1.5": (lambda: fleet.pareto(np.full(40, 1.5), offset=0.001), 40, 39, 2 ** (1 / 1.5) - 0.999, 0.06),
    "ours, rare outage": (lambda: fleet.stragglers(np.ones(20), slowdown=400.0, probability=0.002), 20, 19, 1.0, 1e-9),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_compute_time_of_the_papers_can_be_built(name):
    """The scenario has its number of workers, positive finite times, and the median that its law says."""
    build, num_workers, worker, median, tolerance = SCENARIOS[name]
    workers = build()
    assert workers.num_workers == num_workers
    values = workers.durations(worker, 4000)
    assert np.all(np.isfinite(values))
    if tolerance == 0:
        assert set(values) == {median}
    else:
        assert np.median(values) == pytest.approx(median, rel=tolerance)
    for other in (0, num_workers // 2, num_workers - 1):
        first = workers.clocks()[other](0.0) if num_workers <= 100 else workers.durations(other, 1)[0]
        assert 0 <= first < INF


def test_the_rare_outage_is_as_rare_and_as_long_as_said():
    """With probability 0.002 a job takes 400 s instead of 1 s."""
    values = np.concatenate([SCENARIOS["ours, rare outage"][0]().durations(worker, 2000) for worker in range(20)])
    assert set(values) == {1.0, 400.0}
    assert abs(np.mean(values == 400.0) - 0.002) < 5 * math.sqrt(0.002 / len(values))


def test_messages_of_no_size_take_no_time():
    """Even over a link that never delivers anything."""
    linked = fleet.fixed([1.0, 2.0]).with_links(upload=[1.0, np.inf], size=0)
    assert linked.times.tolist() == [1.0, 2.0]
    assert linked.wire_seconds.tolist() == [0.0, 0.0]
