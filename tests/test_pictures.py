"""What pictures of a schedule show is what happened: against the slow event loops, and in what is drawn."""

import dataclasses
import math

import numpy as np
import protocol_references as papers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_references import drawn_fleets
from test_mindflayer_ata import Jobs, mindflayer_arguments

import jasgd
from experiments.schedules import __main__ as schedules
from jasgd import fleet, pictures, protocols
from jasgd.pictures import KINDS, jobs
from jasgd.pictures.jobs import CANCELLED, DROPPED, LOST, NOT_KNOWN, UNDER_WAY, USED
from jasgd.pictures.timeline import STYLES

seeds, steps = st.integers(0, 3), st.integers(1, 12)


def rows_of(found):
    """(kind, worker, job, read, start, end) of each entry."""
    columns = (found.kind, found.worker, found.job, found.read, found.start, found.end)
    return [(KINDS[kind], *rest) for kind, *rest in zip(*(column.tolist() for column in columns), strict=True)]


def assert_lost_jobs_are(schedule, expected):
    """Dropped and cancelled jobs one by one; the read of a worker that is too slow for anything is not known."""
    found = sorted(row for row in rows_of(jobs(schedule)) if row[0] not in ("used", "under way"))
    assert [row[:3] for row in found] == [row[:3] for row in sorted(expected)]
    for mine, theirs in zip(found, sorted(expected), strict=True):
        assert mine[3] in (theirs[3], -1)
        assert mine[4:] == pytest.approx(theirs[4:], rel=1e-12)


# Every job, against the event loop.


@settings(max_examples=80, deadline=None)
@given(made=drawn_fleets(), updates=st.integers(1, 25), threshold=st.integers(1, 9), stop=st.booleans(), seed=seeds)
def test_ringmaster_loses_the_jobs_of_the_event_loop(made, updates, threshold, stop, seed):
    """Dropped without stops, cancelled with them."""
    chosen = {"threshold": threshold, "stop": stop, "seed": seed}
    trace = papers.ringmaster(made, updates, **chosen)
    assert_lost_jobs_are(protocols.ringmaster(made, updates, **chosen), trace.lost_jobs)


@settings(max_examples=80, deadline=None)
@given(made=drawn_fleets(), updates=steps, batch=st.integers(1, 9), interrupt=st.booleans(), seed=seeds)
def test_rennala_loses_the_jobs_of_the_event_loop(made, updates, batch, interrupt, seed):
    """Cancelled when a round closes, or finished in vain."""
    chosen = {"batch": batch, "interrupt": interrupt, "seed": seed}
    assert_lost_jobs_are(protocols.rennala(made, updates, **chosen), papers.rennala(made, updates, **chosen).lost_jobs)


@settings(max_examples=40, deadline=None)
@given(made=drawn_fleets(), updates=st.integers(1, 6), interrupt=st.booleans(), seed=seeds)
def test_malenia_loses_the_jobs_of_the_event_loop(made, updates, interrupt, seed):
    """The same in rounds of another length."""
    chosen = {"interrupt": interrupt, "seed": seed}
    assert_lost_jobs_are(protocols.malenia(made, updates, **chosen), papers.malenia(made, updates, **chosen).lost_jobs)


@settings(max_examples=80, deadline=None)
@given(made=drawn_fleets(), updates=steps, interrupt=st.booleans(), seed=seeds, data=st.data())
def test_m_synchronous_loses_the_jobs_of_the_event_loop(made, updates, interrupt, seed, data):
    """Those that have delivered wait and lose nothing."""
    chosen = {"m": data.draw(st.integers(1, made.num_workers)), "interrupt": interrupt, "seed": seed}
    expected = papers.m_synchronous(made, updates, **chosen).lost_jobs
    assert_lost_jobs_are(protocols.m_synchronous(made, updates, **chosen), expected)


@settings(max_examples=60, deadline=None)
@given(made=drawn_fleets(), updates=steps, most=st.integers(0, 4), parallel=st.booleans(), seed=seeds)
def test_a_server_that_drops_by_age_loses_the_jobs_of_the_event_loop(made, updates, most, parallel, seed):
    """Whoever they were given to, one after the other or several at once."""
    chosen = {"buffer": 2, "assignment": "random", "parallel": parallel, "max_delay": most, "seed": seed}
    assert_lost_jobs_are(protocols.buffered(made, updates, **chosen), papers.buffered(made, updates, **chosen).lost_jobs)


def cut_trials(made, updates, trials, allotted, seed):
    """MindFlayer once more, trial by trial: the cancelled ones that no row hides."""
    workers = [Jobs(made, i, seed) for i in range(made.num_workers)]
    cut, now, version = [], 0.0, 0
    while version < updates:
        tried = []
        through = [now] * len(workers)
        for i, worker in enumerate(workers):
            for _ in range(trials[i]):
                begin, finish = through[i], worker.finish(through[i])
                good = finish <= begin + allotted[i]
                through[i] = finish if good else begin + allotted[i]
                tried.append((good, through[i], i, worker.number, begin))
        last = max((trial for trial in tried if trial[0]), default=(False, math.inf, -1, 0, 0.0))
        for good, end, i, number, begin in tried:
            hidden = last[0] and i == last[2] and number > last[3]
            if not good and not hidden:
                cut.append(("cancelled", i, number, version, begin, end))
        version += last[0]
        now = max(through)
    return cut


@settings(max_examples=80, deadline=None)
@given(mindflayer_arguments())
def test_mindflayer_cuts_the_trials_of_the_paper(arguments):
    """Rounds without a gradient included; trials that a row hides are not drawn over it."""
    made, updates, trials, allotted, success, seed = arguments
    schedule = protocols.mindflayer(made, updates, trials, allotted, success=success, seed=seed)
    assert_lost_jobs_are(schedule, cut_trials(made, updates, trials, allotted, seed))


# Laws that hold for all.

FLEET = fleet.exponential([1.0, 1.5, 2.0, 4.0, 9.0])
MAKERS = {
    "asynchronous": lambda: protocols.asynchronous(FLEET, 60),
    "queues": lambda: protocols.asynchronous(FLEET, 60, assignment="random"),
    "dropping": lambda: protocols.asynchronous(FLEET, 60, max_delay=3, assignment="shuffled"),
    "few at a time": lambda: protocols.asynchronous(FLEET, 60, concurrency=2, assignment="random"),
    "ringmaster": lambda: protocols.ringmaster(FLEET, 60, threshold=3),
    "fixed ringmaster": lambda: protocols.ringmaster(fleet.power_law(9, exponent=1.0), 60, threshold=3),
    "stops": lambda: protocols.ringmaster(FLEET, 60, threshold=3, stop=True),
    "rennala": lambda: protocols.rennala(FLEET, 12, batch=4),
    "rennala that finishes": lambda: protocols.rennala(FLEET, 12, batch=4, interrupt=False),
    "m_synchronous": lambda: protocols.m_synchronous(FLEET, 12, m=2),
    "minibatch": lambda: protocols.minibatch(FLEET, 12, participants=3),
    "ringleader": lambda: protocols.ringleader(FLEET, 12),
    "ata": lambda: protocols.ata(FLEET, 12, batch=6, alpha=1.0),
    "fastest worker": lambda: protocols.fastest_worker(fleet.power_law(3, exponent=1.0), 12),
}


@pytest.mark.parametrize("name", MAKERS)
def test_jobs_and_idle_time_fill_the_execution(name):
    """All rows, as many lost jobs and seconds as the ledger says, nothing twice, and what is left is the idle time."""
    schedule = MAKERS[name]()
    found, ledger, n = jobs(schedule), schedule.ledger, schedule.num_workers
    assert not np.any(found.kind == LOST)
    assert np.count_nonzero(found.kind == USED) == len(schedule)
    for kind, count, seconds in (
        (DROPPED, ledger.dropped, ledger.dropped_seconds),
        (CANCELLED, ledger.cancelled, ledger.cancelled_seconds),
    ):
        mine = found.where(found.kind == kind)
        np.testing.assert_array_equal(np.bincount(mine.worker, minlength=n), count)
        np.testing.assert_allclose(np.bincount(mine.worker, mine.end - mine.start, n), seconds, atol=1e-9)
    horizon = schedule.time[-1]
    busy = np.bincount(found.worker, found.end - found.start, n)
    np.testing.assert_allclose(busy + ledger.idle_seconds, horizon, rtol=1e-9)
    same = np.diff(found.worker) == 0
    assert np.all(found.start[1:][same] >= found.end[:-1][same])
    assert np.all(np.diff(found.job)[same] > 0)
    used = found.where(found.kind == USED)
    assert sorted(used.delay.tolist()) == sorted(schedule.delay.tolist())


@pytest.mark.parametrize("name", [*MAKERS, "mindflayer"])
def test_a_window_shows_what_the_whole_shows_of_it(name):
    """No job more or less, whichever workers are asked for."""
    schedule = mindflayer_schedule() if name == "mindflayer" else MAKERS[name]()
    whole, horizon = jobs(schedule), float(schedule.time[-1])
    for begin, end, workers in [(0.2, 0.4, [0, 2]), (0.0, 0.1, [1]), (0.9, 1.0, list(range(schedule.num_workers)))]:
        begin, end = begin * horizon, end * horizon
        part = jobs(schedule, window=(begin, end), workers=workers)
        expected = whole.where((whole.start < end) & (whole.end > begin) & np.isin(whole.worker, workers))
        assert rows_of(part) == rows_of(expected)


def mindflayer_schedule():
    return protocols.mindflayer(FLEET, 12, trials=3, allotted=1.0, success=0.5)


def test_jobs_under_way_of_a_worker_with_several_have_the_numbers_that_are_left():
    """In the order in which they began; each worker's numbers are 0, 1, 2, ..., each once."""
    schedule = protocols.asynchronous(FLEET, 60, assignment="random", parallel=True)
    found = jobs(schedule)
    assert np.count_nonzero(found.kind == UNDER_WAY) == 4
    for worker in range(5):
        mine = found.where(found.worker == worker)
        by_number = mine.where(np.argsort(mine.job))
        assert by_number.job.tolist() == list(range(len(mine)))
        assert np.all(np.diff(by_number.start) >= 0)


def test_jobs_whose_ends_nobody_knows_are_one_entry_with_their_number():
    """The stages of a doubled budget that were in vain: as many jobs as the ledger has, no longer than the gap."""
    made = fleet.fixed([1.0, 1.0, 50.0]).with_links(upload=1.0)
    schedule = protocols.doubling_budget(made, 3, omega=4.0, noise_ratio=8.0, first=1.0)
    found = jobs(schedule)
    lost = found.where(found.kind == LOST)
    assert np.bincount(lost.worker, lost.count, 3).tolist() == schedule.ledger.dropped.tolist()
    assert lost.count.max() > 1
    same = np.diff(found.worker) == 0
    assert np.all(found.start[1:][same] >= found.end[:-1][same])


@pytest.mark.parametrize("name", ["stops", "ringmaster", "rennala", "asynchronous"])
def test_what_a_prefix_forgets_is_shown_as_not_known(name):
    """Between deliveries everything is as it was; after a worker's last one nothing is claimed."""
    schedule = MAKERS[name]()
    prefix = schedule.until(schedule.time[-1] / 2)
    found, whole = jobs(prefix), set(rows_of(jobs(schedule)))
    unknown = found.kind == NOT_KNOWN
    assert set(rows_of(found.where(~unknown))) <= whole
    assert not np.any(found.kind == LOST)
    last = [max((row[5] for row in rows_of(found) if row[1] == i and row[0] != "not known"), default=0.0) for i in range(5)]
    expected = [(i, time, prefix.time[-1]) for i, time in enumerate(last) if time < prefix.time[-1]]
    assert list(zip(found.worker[unknown], found.start[unknown], found.end[unknown], strict=True)) == expected


def test_dropped_jobs_are_stored_with_a_schedule(tmp_path):
    """What is read back is drawn the same, whole or cut."""
    schedule = MAKERS["dropping"]()
    for written in (schedule, schedule.first_updates(30)):
        written.save(tmp_path / "schedule.npz")
        read = jasgd.Schedule.load(tmp_path / "schedule.npz")
        assert read.dropped_jobs == written.dropped_jobs
        assert rows_of(jobs(read)) == rows_of(jobs(written))
    assert len(schedule.dropped_jobs.worker) == schedule.ledger.dropped.sum() > 0


def test_dropped_jobs_of_workers_that_are_not_there_are_refused():
    """As a damaged file would have them."""
    schedule = MAKERS["dropping"]()
    wrong = dataclasses.replace(schedule.dropped_jobs, worker=schedule.dropped_jobs.worker + 5)
    with pytest.raises(ValueError, match="`dropped_jobs` needs columns of one length and workers from 0 to 4"):
        dataclasses.replace(schedule, dropped_jobs=wrong).verify()


# Timelines.


def drawn(axes, shown_rows):
    """(row, left, right) of the bars of every kind, from the corners of what was drawn."""
    bars = {}
    for kind, collection in zip((USED, *STYLES), axes.collections, strict=True):
        boxes = [path.get_extents() for path in collection.get_paths()]
        bars[kind] = sorted((round((box.y0 + box.y1) / 2), box.x0, box.x1) for box in boxes)
    assert all(0 <= row < shown_rows for boxes in bars.values() for row, *_ in boxes)
    return bars


@pytest.mark.parametrize("stop", [False, True])
def test_the_timeline_draws_the_jobs_of_the_event_loop(stop):
    """Bars from start to end in the worker's row, used, dropped, cancelled and under way apart from each other."""
    made = fleet.fixed([1.0, 1.7, 2.6, 4.0])
    trace = papers.ringmaster(made, 14, threshold=3, stop=stop)
    schedule = protocols.ringmaster(made, 14, threshold=3, stop=stop)
    bars = drawn(pictures.timeline(schedule).axes[0], 4)
    horizon = float(schedule.time[-1])
    expected = {kind: [] for kind in bars}
    expected[USED] = [(worker, start, time) for worker, _, _, start, time, *_ in trace.rows]
    for kind, worker, _, _, start, end in trace.lost_jobs:
        expected[KINDS.index(kind)].append((worker, start, end))
    expected[UNDER_WAY] = [(worker, start, horizon) for worker, _, start in trace.pending if start < horizon]
    assert {kind: len(boxes) for kind, boxes in bars.items()} == {kind: len(boxes) for kind, boxes in expected.items()}
    for kind, boxes in expected.items():  # a thin gap sets hatched bars apart
        for mine, theirs in zip(bars[kind], sorted(boxes), strict=True):
            assert mine[:2] == pytest.approx(theirs[:2])
            assert theirs[2] - 0.003 * horizon - 1e-9 <= mine[2] <= theirs[2] + 1e-9


def arrows(figure):
    return [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyArrowPatch"]


def test_an_arrow_leads_from_the_version_read_to_the_version_made():
    """One per pair, from time to time, in the colour of the delay."""
    schedule = protocols.asynchronous(fleet.fixed([1.0, 1.7, 2.3]), 9)
    figure = pictures.timeline(schedule)
    bars, times = figure.axes[0].collections[0], schedule.version_time
    found = [(patch.get_path().get_extents(), patch.get_edgecolor()) for patch in arrows(figure)]
    expected = sorted(set(zip(schedule.read.tolist(), (schedule.version + 1).tolist(), strict=True)))
    assert len(found) == len(expected)
    for (box, colour), (read, made) in zip(found, expected, strict=True):
        assert (box.x0, box.x1) == pytest.approx((times[read], times[made]), abs=0.03)  # as thick as a line
        assert colour == bars.cmap(bars.norm(made - 1 - read))


def test_a_large_schedule_is_drawn_in_part_and_the_title_says_which():
    """Some workers, the first seconds, no arrows, quickly."""
    schedule = protocols.asynchronous(fleet.power_law(1000, exponent=0.5), 100_000)
    figure = schedule.plot()
    title = figure.axes[0].get_title(loc="left")
    assert title.startswith("asynchronous: 40 of 1000 workers, 0 to 132 of 1626.26 s, 440 of 100000 deliveries\nleft out: ")
    assert "401 arrows" in title
    assert not arrows(figure)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:3] == ["server", "0", "51"]


def test_window_and_workers_are_what_was_asked_for():
    """A number of workers from the first to the last, or these workers; a window that ends where the schedule does."""
    schedule = MAKERS["asynchronous"]()
    axes = schedule.plot(window=(2, 1e9), workers=3).axes[0]
    assert axes.get_xlim() == (2.0, schedule.time[-1])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["server", "0", "2", "4"]
    axes = schedule.plot(workers=[4, 1]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["server", "1", "4"]


def test_a_clock_of_steps_is_labelled_so():
    """Drawn delays have no seconds; the jobs of a worker lie side by side where they overlap."""
    schedule = protocols.delays(3, 30, protocols.uniform_delays(9))
    axes = schedule.plot().axes[0]
    assert axes.get_xlabel() == "time [server steps]"
    bars = drawn(axes, 3)
    assert len(bars[USED]) == 30
    boxes = [path.get_extents() for path in axes.collections[0].get_paths()]
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart = one.x1 <= other.x0 or other.x1 <= one.x0 or one.y1 <= other.y0 or other.y1 <= one.y0
            assert apart


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"window": (3, 2)}, r"`window` must satisfy 0 <= begin < end and begin by .*, got \(3, 2\)"),
        ({"window": (1e6, 2e6)}, "where the schedule ends"),
        ({"window": 3}, r"`window` must be two times, \(begin, end\), got 3"),
        ({"workers": 0}, "`workers` must be a number from 1 to 5"),
        ({"workers": True}, "`workers` must be a number from 1 to 5"),
        ({"workers": [5]}, "`workers` must be numbers of workers from 0 to 4"),
        ({"workers": []}, "`workers` must be numbers of workers"),
    ],
)
def test_a_window_or_workers_that_are_not_there_are_refused(asked, message):
    """The sentence says what there is."""
    with pytest.raises(ValueError, match=message):
        MAKERS["asynchronous"]().plot(**asked)


@pytest.mark.parametrize("draw", [pictures.timeline, pictures.delays, pictures.utilisation, jobs])
def test_an_empty_schedule_has_no_picture(draw):
    """It is said, not drawn."""
    with pytest.raises(ValueError, match="an empty schedule has no"):
        draw(MAKERS["asynchronous"]().first_updates(0))


def test_an_execution_without_time_has_no_picture():
    """All jobs may take no time; it is said, not drawn."""
    instant = fleet.drawn(2, lambda rng, worker, jobs: np.zeros(len(jobs)))
    with pytest.raises(ValueError, match="no time passes"):
        protocols.asynchronous(instant, 5).plot()


def test_too_many_lost_jobs_are_refused_before_they_are_made():
    """A billion cancelled jobs; a window of them is no trouble."""
    schedule = protocols.m_synchronous(fleet.power_law(10_000, exponent=0.5), 100_000, m=1)
    with pytest.raises(ValueError, match="this window holds 999900000 cancelled or dropped jobs; give a shorter `window`"):
        jobs(schedule)
    assert len(jobs(schedule, window=(10.5, 10.6), workers=range(50))) == 50
    title = schedule.plot().axes[0].get_title(loc="left")  # of 40 workers one delivers, and has a job per second as all have
    assert title.startswith("m_synchronous: 40 of 10000 workers, 0 to 11 of 100000 s, 11 of 100000 deliveries")


# Delays and utilisation.


def test_the_heat_map_holds_each_workers_histogram():
    """Rows of shares that add up to one."""
    schedule = MAKERS["asynchronous"]()
    shares = np.nan_to_num(pictures.delays(schedule).axes[0].collections[0].get_array().reshape(5, -1).filled(0))
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    for worker in range(5):
        counts = np.bincount(schedule.delay[schedule.worker == worker], minlength=shares.shape[1])
        np.testing.assert_allclose(shares[worker], counts / counts.sum())


def test_many_workers_have_bands_of_quantiles():
    """The median of each worker; those that never deliver are gaps, and counted."""
    schedule = protocols.ringmaster(fleet.power_law(100, exponent=0.5), 400, threshold=20)
    axes = pictures.delays(schedule).axes[0]
    median = axes.lines[0].get_ydata()
    for worker in range(100):
        mine = np.sort(schedule.delay[schedule.worker == worker])
        assert np.isnan(median[worker]) if not len(mine) else median[worker] == mine[(len(mine) - 1) // 2]
    assert f"{np.isnan(median).sum()} of 100 workers never deliver" in axes.get_title(loc="left")


def test_utilisation_adds_up_to_the_ledger():
    """The integral of every layer is the worker seconds in the books."""
    schedule = MAKERS["rennala"]()
    axes = pictures.utilisation(schedule, bins=37).axes[0]
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    summary, total = schedule.summary(), 5 * schedule.time[-1]
    layers = (("used", summary.used_seconds), ("cancelled", summary.cancelled_seconds), ("idle", summary.idle_seconds))
    assert names == [f"{name}, {100 * seconds / total:.0f} %" for name, seconds in layers]
    used = axes.patches[0].get_data()
    assert np.sum(used.values * np.diff(used.edges)) == pytest.approx(summary.used_seconds)


def test_the_example_is_drawn(tmp_path):
    """The command that its page names; two timelines on axes of somebody else's figure."""
    schedules.main(tmp_path)
    assert 10_000 < (tmp_path / "timeline.png").stat().st_size < 200_000


def test_pictures_need_matplotlib_and_say_so(monkeypatch):
    """One sentence that names the extra."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match='pictures need matplotlib: pip install "jasgd\\[experiments\\]"'):
        MAKERS["asynchronous"]().plot()


def test_workers_that_are_never_idle_are_not_idle_by_less_than_nothing():
    schedule = protocols.ringmaster(fleet.power_law(100, exponent=0.5), 500, threshold=20)
    texts = pictures.utilisation(schedule).axes[0].get_legend().get_texts()
    assert texts[-1].get_text() == "idle, 0 %"
