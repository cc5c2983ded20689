"""Schedules: the laws that ``verify`` checks, summaries, files, logs of real clusters, prefixes."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import Schedule
from jasgd.ledger import Ledger
from jasgd.protocols import asynchronous, delays, minibatch

NAN, INF = float("nan"), float("inf")
COLUMNS = ("worker", "job", "read", "start", "time", "weight", "apply")


def good(**options):
    return asynchronous(jasgd.fleet.fixed([1.0, 1.5, 2.5]), 9, **options)


def changed(column, row, value):
    """One entry of the good schedule replaced."""
    values = getattr(good(), column).copy()
    values[row] = value
    return {column: values}


def swapped(i, j):
    """Two rows of the good schedule exchanged."""
    order = np.arange(9)
    order[[i, j]] = order[[j, i]]
    return {name: getattr(good(), name)[order] for name in COLUMNS}


def assert_same_ledger(one, other):
    assert (one is None) == (other is None)
    for field in dataclasses.fields(Ledger) if one is not None else ():
        left, right = np.asarray(getattr(one, field.name)), np.asarray(getattr(other, field.name))
        np.testing.assert_array_equal(left, right, err_msg=field.name)
        assert left.dtype == right.dtype, field.name


# Laws.


def test_the_table_that_the_next_tests_break_is_this_one():
    """Workers of 1, 1.5 and 2.5 seconds deliver in this order, and ``verify`` returns the schedule itself."""
    schedule = good()
    assert schedule.verify() is schedule
    assert schedule.worker.tolist() == [0, 1, 0, 2, 0, 1, 0, 1, 0]
    assert schedule.job.tolist() == [0, 0, 1, 0, 2, 1, 3, 2, 4]
    assert schedule.read.tolist() == [0, 0, 1, 0, 3, 2, 5, 6, 7]
    assert schedule.start.tolist() == [0.0, 0.0, 1.0, 0.0, 2.0, 1.5, 3.0, 3.0, 4.0]
    assert schedule.time.tolist() == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 4.0, 4.5, 5.0]
    assert schedule.version.tolist() == list(range(9))
    assert schedule.delay.tolist() == [0, 1, 1, 3, 1, 3, 1, 1, 1]
    assert schedule.version_time.tolist() == [0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 4.0, 4.5, 5.0]
    assert schedule.duration.tolist() == [1.0, 1.5, 1.0, 2.5, 1.0, 1.5, 1.0, 1.5, 1.0]


VIOLATIONS = {
    "worker too large": (changed("worker", 3, 3), r"`worker` must lie in \[0, 3\); broken in row 3"),
    "worker negative": (changed("worker", 2, -1), r"`worker` must lie in \[0, 3\); broken in row 2"),
    "job negative": (changed("job", 5, -1), "`job` must not be negative; broken in row 5"),
    "read negative": (changed("read", 4, -1), "`read` must be a version that exists.* broken in row 4"),
    "read of the future": (changed("read", 2, 3), "`read` must be a version that exists.* broken in row 2"),
    "weight nan": (changed("weight", 6, NAN), "`weight` must be finite; broken in row 6"),
    "weight infinite": (changed("weight", 0, INF), "`weight` must be finite; broken in row 0"),
    "start nan": (changed("start", 4, NAN), "`start` and `time` must be finite.* broken in row 4"),
    "start negative": (changed("start", 0, -1.0), "`start` and `time` must be finite.* broken in row 0"),
    "start after time": (changed("start", 1, 2.0), "`start` and `time` must be finite.* broken in row 1"),
    "time nan": (changed("time", 7, NAN), "`start` and `time` must be finite.* broken in row 7"),
    "time infinite": (changed("time", 8, INF), "`start` and `time` must be finite.* broken in row 8"),
    "time goes backwards": (changed("time", 3, 1.75), "`time` must not go backwards; broken in row 3"),
    "last row not applied": (changed("apply", 8, False), "the last row must have `apply` set"),
    "start before version": (changed("start", 4, 1.9), "must not start before the version it reads exists; broken in row 4"),
    "ties not by worker": (swapped(4, 5), "rows at the same time must be ordered by worker; broken in row 5"),
    "job twice": (changed("job", 4, 1), r"a \(worker, job\) pair must occur once; broken in row 4"),
    "jobs in flight": ({"jobs_in_flight": 3}, "delays are not conserved: 18 in all, expected 9 updates x 3 jobs"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_verify_names_the_law_and_the_row_that_breaks_it(name):
    """One broken entry of a good schedule is found and located."""
    change, message = VIOLATIONS[name]
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(good(), **change).verify()


def test_verify_finds_overlapping_jobs_of_a_worker():
    """A job that starts while the worker's previous one runs is refused, except where workers may do several at once."""
    schedule = good(dispatch="before")
    start = schedule.start.copy()
    start[4] = 1.75
    with pytest.raises(ValueError, match="must finish one job before it starts the next; broken in row 4"):
        dataclasses.replace(schedule, start=start).verify()
    dataclasses.replace(schedule, start=start, parallel=True).verify()


@pytest.mark.parametrize("field", ["idle_seconds", "dropped_seconds", "cancelled_seconds"])
def test_verify_adds_up_the_seconds_of_every_worker(field):
    """A second too many in the ledger of worker 1 is found."""
    schedule = good()
    ledger = dataclasses.replace(schedule.ledger, **{field: np.array([0.0, 1.0, 0.0])})
    with pytest.raises(ValueError, match=r"the seconds of worker 1 add up to 6\.0, not to the 5\.0 simulated"):
        dataclasses.replace(schedule, ledger=ledger).verify()


@pytest.mark.parametrize("change", [{"lost_delay": 1}, {"pending_read": np.array([9, 7, 4])}])
def test_verify_adds_up_lost_and_pending_delays(change):
    """One delay too many among lost gradients or jobs in flight breaks conservation."""
    schedule = good()
    assert schedule.ledger.pending_read.tolist() == [9, 8, 4]
    with pytest.raises(ValueError, match="delays are not conserved: 19 in all, expected 9 updates x 2 jobs"):
        dataclasses.replace(schedule, ledger=dataclasses.replace(schedule.ledger, **change)).verify()


def test_verify_accepts_what_the_protocols_make():
    """Every protocol's schedule obeys the laws, an empty one too."""
    fleet = jasgd.fleet.exponential([1.0, 2.0, 5.0])
    schedules = [
        asynchronous(fleet, 50),
        asynchronous(fleet, 50, assignment="random", parallel=True),
        asynchronous(fleet, 50, assignment="shuffled", concurrency=2, wait_for=2),
        asynchronous(fleet, 50, max_delay=1),
        minibatch(fleet, 20),
        delays(3, 20, 4),
        delays(3, 20, 4, every_worker=True),
    ]
    for schedule in schedules:
        assert schedule.verify() is schedule
        assert len(schedule.first_updates(0).verify()) == 0


@pytest.mark.parametrize("shape", [(8,), (10,), (9, 1), ()])
def test_columns_of_other_lengths_are_refused(shape):
    """Every column is flat and as long as the first one."""
    with pytest.raises(ValueError, match="column `time` must be flat and as long as `worker`"):
        dataclasses.replace(good(), time=np.zeros(shape))


def test_columns_are_kept_in_their_types():
    """Integers are int32, times float64, weights float32, flags bool, whatever was passed."""
    lists = {name: getattr(good(), name).tolist() for name in COLUMNS}
    schedule = Schedule(**lists, num_workers=3)
    kinds = [getattr(schedule, name).dtype.name for name in COLUMNS]
    assert kinds == ["int32", "int32", "int32", "float64", "float64", "float32", "bool"]
    assert schedule.delay.dtype == np.int32
    assert schedule == good()


# Equality.


def test_equal_tables_are_equal_schedules():
    """Where a schedule comes from does not matter, its rows, fleet size and clock do."""
    one = good()
    assert one == dataclasses.replace(good(), protocol="mine", arguments={"a": 1}, ledger=None, jobs_in_flight=None)
    assert one != dataclasses.replace(one, num_workers=4)
    assert one != dataclasses.replace(one, clock="steps")
    assert one != one.first_updates(8)
    assert one != "schedule"
    for name, value in zip(COLUMNS, (2, 7, 0, 0.5, 5.5, 2.0, False), strict=True):
        assert one != dataclasses.replace(one, **changed(name, 8, value)), name


def test_schedules_cannot_be_hashed():
    """Equality goes by content, so a schedule is no dictionary key."""
    with pytest.raises(TypeError, match="unhashable"):
        hash(good())


# Summaries.


def test_summary_of_two_workers_in_numbers():
    """Speeds one and three, five updates: delays 0 0 0 3 1 in four seconds, all numbers by hand."""
    summary = asynchronous(jasgd.fleet.fixed([1.0, 3.0]), 5).summary(bytes_per_snapshot=100)
    assert (summary.deliveries, summary.updates, summary.workers, summary.delivering) == (5, 5, 2, 2)
    assert (summary.clock, summary.seconds) == ("seconds", 4.0)
    assert (summary.mean_delay, summary.max_delay) == (0.8, 3)
    assert summary.delay_quantiles == pytest.approx((0.0, 0.0, 2.2, 2.92))
    assert summary.updates_per_worker == (1, 2.5, 4)
    assert summary.concurrency == 1.75
    assert (summary.used_seconds, summary.dropped_seconds, summary.cancelled_seconds) == (7.0, 0.0, 0.0)
    assert (summary.idle_seconds, summary.dropped, summary.cancelled) == (0.0, 0, 0)
    assert (summary.critical_path, summary.lanes) == (4, 1.25)
    assert (summary.slots, summary.bytes) == (2, 200)
    text = str(summary)
    assert "5 gradients in 5 updates by 2 of 2 workers, 4 s" in text
    assert "mean 0.8, max 3" in text
    assert "used 7 s, dropped 0 s (0 jobs)" in text
    assert "critical path 4 steps, 1.25 lanes, 2 snapshots" in text


def test_summary_counts_lost_work():
    """Worker 3 is ten times slower than the limit allows: its two finished jobs and twenty seconds are dropped."""
    summary = asynchronous(jasgd.fleet.fixed([1.0, 1.0, 1.0, 10.0]), 75, max_delay=5).summary()
    assert (summary.deliveries, summary.workers, summary.delivering) == (75, 4, 3)
    assert summary.updates_per_worker == (0, 25.0, 25)
    assert (summary.dropped, summary.dropped_seconds, summary.used_seconds) == (2, 20.0, 75.0)
    assert "dropped 20 s (2 jobs)" in str(summary)


def test_summary_of_minibatches_counts_rows_and_steps():
    """Two rounds of workers of one and three seconds: four gradients, one snapshot, two steps, four idle seconds."""
    summary = minibatch(jasgd.fleet.fixed([1.0, 3.0]), 2).summary(bytes_per_snapshot=8)
    assert (summary.deliveries, summary.updates, summary.seconds) == (4, 2, 6.0)
    assert (summary.mean_delay, summary.max_delay) == (0.0, 0)
    assert (summary.used_seconds, summary.idle_seconds) == (8.0, 4.0)
    assert (summary.critical_path, summary.lanes, summary.slots, summary.bytes) == (2, 2.0, 1, 8)


def test_summary_of_given_delays_counts_server_steps():
    """Without speeds there are no seconds, and lost work is not known."""
    summary = delays(2, 6, 2).summary()
    assert (summary.clock, summary.seconds, summary.mean_delay) == ("steps", 6.0, 1.5)
    assert (summary.dropped, summary.cancelled, summary.idle_seconds, summary.bytes) == (None, None, None, None)
    assert (summary.critical_path, summary.slots) == (2, 3)
    assert "6 server steps" in str(summary)
    assert "worker time" not in str(summary)


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(st.integers(0, 9), min_size=1, max_size=40), every_worker=st.booleans())
def test_critical_path_is_the_longest_chain_of_gradients(drawn, every_worker):
    """A gradient waits for all that entered the version it reads; the longest such chain is the critical path."""
    width = 2 if every_worker else 1
    drawn = np.array(drawn * width).reshape(-1, width)
    schedule = delays(2, len(drawn), drawn if every_worker else drawn[:, 0], every_worker=every_worker)
    depth_of_version, depth = [0], 0
    for read, apply in zip(schedule.read, schedule.apply, strict=True):
        depth = max(depth, depth_of_version[read] + 1)
        if apply:
            depth_of_version.append(depth)
    assert schedule.summary().critical_path == depth


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_slots_are_the_most_versions_that_are_still_to_be_read(drawn):
    """Counted anew at every row: versions that exist and that this or a later row reads."""
    schedule = delays(2, len(drawn), np.array(drawn))
    still_read = [len({v for v in schedule.read[row:].tolist() if v <= row}) for row in range(len(schedule))]
    assert schedule.summary().slots == max(still_read)


def test_an_empty_schedule_has_no_summary():
    """The message says so, instead of a mean over nothing."""
    with pytest.raises(ValueError, match="an empty schedule has no summary"):
        good().first_updates(0).summary()


# Prefixes.


@pytest.mark.parametrize("updates", [1, 7, 20, 50])
def test_a_prefix_is_the_shorter_schedule(updates):
    """A longer run cut down to some updates has the rows of a run of that length."""
    fleet = jasgd.fleet.lognormal(np.zeros(4), 1.0)
    assert asynchronous(fleet, 50, seed=3).first_updates(updates) == asynchronous(fleet, updates, seed=3)
    assert minibatch(fleet, 50, seed=3).first_updates(updates) == minibatch(fleet, updates, seed=3)
    assert len(minibatch(fleet, 50, seed=3).first_updates(updates)) == 4 * updates


def test_a_prefix_forgets_the_ledger():
    """What was lost until then is not known, so it is not claimed."""
    prefix = good().first_updates(4).verify()
    assert (prefix.ledger, prefix.jobs_in_flight, prefix.updates) == (None, None, 4)
    assert (prefix.num_workers, prefix.protocol) == (3, "asynchronous")
    assert prefix.summary().dropped is None


@pytest.mark.parametrize("updates", [-1, 10])
def test_a_prefix_longer_than_the_schedule_is_refused(updates):
    """The message says how long it may be."""
    with pytest.raises(ValueError, match=f"`updates` must be a whole number between 0 and 9, got {updates}"):
        good().first_updates(updates)


@pytest.mark.parametrize(
    ("time", "updates"), [(-1.0, 0), (0.0, 0), (0.999, 0), (1.0, 1), (2.4, 3), (3.0, 6), (4.75, 8), (5.0, 9), (INF, 9)]
)
def test_until_keeps_all_updates_up_to_the_time(time, updates):
    """An update at exactly the given time counts."""
    assert good().until(time) == good().first_updates(updates)


def test_until_keeps_whole_server_steps():
    """A minibatch round that is not complete at the time is left out altogether."""
    schedule = minibatch(jasgd.fleet.fixed([1.0, 3.0]), 4)
    assert len(schedule.until(5.9)) == 2
    assert len(schedule.until(6.0)) == 4


# Files.

FILES = {
    "asynchronous": lambda: asynchronous(jasgd.fleet.exponential([1.0, 2.0]), 20, max_delay=1, seed=3),
    "parallel": lambda: asynchronous(jasgd.fleet.equal(3), 20, assignment="random", parallel=True),
    "minibatch": lambda: minibatch(jasgd.fleet.fixed([1.0, 3.0]), 5),
    "delays": lambda: delays(2, 9, 3),
    "log": lambda: Schedule.from_events(worker=[0, 1, 0], start=[0, 0, 1], finish=[1, 1.5, 2]),
    "empty": lambda: good().first_updates(0),
}


@pytest.mark.parametrize("name", FILES)
def test_a_saved_schedule_is_read_back_complete(tmp_path, name):
    """Table, description and ledger are the same after a round trip, types included."""
    schedule, path = FILES[name](), tmp_path / "schedule.npz"
    schedule.save(path)
    loaded = Schedule.load(path)
    assert loaded == schedule
    for field in ("num_workers", "clock", "protocol", "arguments", "jobs_in_flight", "parallel"):
        assert getattr(loaded, field) == getattr(schedule, field), field
    assert [getattr(loaded, name).dtype for name in COLUMNS] == [getattr(schedule, name).dtype for name in COLUMNS]
    assert_same_ledger(loaded.ledger, schedule.ledger)


def test_a_schedule_of_numpy_numbers_can_be_saved(tmp_path):
    """Numbers of updates, workers or seeds that came out of a NumPy computation do not hinder saving."""
    schedule = asynchronous(jasgd.fleet.equal(3), np.int64(9), concurrency=np.int32(2), seed=np.int64(1))
    schedule.save(tmp_path / "schedule.npz")
    assert Schedule.load(tmp_path / "schedule.npz") == schedule


@pytest.fixture
def stored(tmp_path):
    """A saved schedule, as arrays, and a way to load it after changes."""
    path = tmp_path / "schedule.npz"
    good().save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}

    def load(arrays):
        np.savez_compressed(path, **arrays)
        return Schedule.load(path)

    assert load(arrays) == good()
    return arrays, load


@pytest.mark.parametrize("name", [*COLUMNS, "about"])
def test_a_file_without_a_column_is_refused(stored, name):
    """The message names what is missing."""
    arrays, load = stored
    del arrays[name]
    with pytest.raises(ValueError, match=f"is incomplete: it lacks .*{name}"):
        load(arrays)


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(Ledger) if field.name not in ("lost", "dropped_jobs")]
)
def test_a_file_with_half_a_ledger_is_refused(stored, field):
    """A ledger is whole or not there; the message names what is missing."""
    arrays, load = stored
    del arrays[f"ledger_{field}"]
    with pytest.raises(ValueError, match=f"is incomplete: it lacks .*{field}"):
        load(arrays)


@pytest.mark.parametrize("about", ["{", "[]", "{}", json.dumps({"num_workers": 3, "speed": 1})])
def test_a_file_with_a_broken_description_is_refused(stored, about):
    """A description that is no JSON, or of other fields, gives the sentence about the file."""
    arrays, load = stored
    arrays["about"] = np.array(about)
    with pytest.raises(ValueError, match=r"schedule\.npz"):
        load(arrays)


def test_a_file_of_another_version_is_refused(stored):
    """The message says which version is expected and which came."""
    arrays, load = stored
    arrays["schema"] = np.array("jasgd schedule 0")
    with pytest.raises(
        ValueError, match="is not a schedule of this version: expected 'jasgd schedule 1', got jasgd schedule 0"
    ):
        load(arrays)


def test_a_file_whose_table_breaks_a_law_is_refused(stored):
    """What is read is verified."""
    arrays, load = stored
    arrays["read"] = arrays["read"] + 5
    with pytest.raises(ValueError, match="`read` must be a version that exists"):
        load(arrays)


def write_npy(path):
    with open(path, "wb") as file:
        np.save(file, np.arange(9))


def write_pickle(path):
    with open(path, "wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)


FOREIGN = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("worker,duration\n0,1\n"),
    "array": write_npy,
    "pickle": write_pickle,
    "zip": lambda path: np.savez(path, parameters=np.ones(3)),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused_in_one_sentence(tmp_path, kind):
    """Whatever the file is, the message names it and says that it is no schedule."""
    path = tmp_path / "schedule.npz"
    FOREIGN[kind](path)
    with pytest.raises(ValueError, match=r"schedule\.npz (cannot be read as|is not) a schedule"):
        Schedule.load(path)


def test_a_missing_file_is_a_missing_file(tmp_path):
    """A wrong path keeps Python's own error."""
    with pytest.raises(FileNotFoundError):
        Schedule.load(tmp_path / "nowhere.npz")


def test_a_truncated_file_is_refused(tmp_path):
    """A file of which the end is missing, wherever it was cut, cannot be read as a schedule."""
    path = tmp_path / "schedule.npz"
    good().save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot be read as a schedule: it is damaged"):
            Schedule.load(path)


def test_a_damaged_file_is_refused_or_harmless(tmp_path):
    """One wrong byte anywhere gives the sentence about the file, or, in an unused field, the right schedule."""
    path = tmp_path / "schedule.npz"
    schedule = good()
    schedule.save(path)
    whole = path.read_bytes()
    escaped = {}
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x5A]) + whole[position + 1 :])
        try:
            loaded = Schedule.load(path)
        except ValueError as error:
            if "schedule.npz" not in str(error):
                escaped[position] = repr(error)
        except Exception as error:
            escaped[position] = repr(error)
        else:
            if loaded != schedule or loaded.ledger is None:
                escaped[position] = "another schedule was read without complaint"
    assert not escaped


# Logs of real clusters.

LOG = {"worker": [0, 1, 0], "start": [0.0, 0.0, 1.0], "finish": [1.0, 1.5, 2.0]}


def test_a_log_without_versions_reads_the_last_one_that_existed():
    """A job reads the model as it was when the job started, updates at that very time included."""
    log = Schedule.from_events(worker=[0, 1, 0, 2, 1], start=[0, 0, 1, 1.4, 1.5], finish=[1, 1.5, 2, 2.5, 3])
    assert log.read.tolist() == [0, 0, 1, 1, 2]
    assert log.delay.tolist() == [0, 1, 1, 2, 2]
    assert log.job.tolist() == [0, 0, 1, 0, 1]
    assert (log.num_workers, log.updates, log.ledger, log.protocol) == (3, 5, None, "from_events")
    assert set(log.weight.tolist()) == {1.0}


def test_a_log_with_versions_keeps_them():
    """Given versions are read versions, as with dispatch before apply."""
    log = Schedule.from_events(**LOG, version=[0, 0, 0])
    assert log.read.tolist() == [0, 0, 0]
    assert log.delay.tolist() == [0, 1, 2]


def test_a_log_may_come_in_any_order():
    """Events are sorted by finish time, ties by worker, and their versions go with them."""
    schedule = asynchronous(jasgd.fleet.fixed([1.0, 1.0, 2.0]), 30)
    order = np.random.default_rng(0).permutation(30)
    log = Schedule.from_events(
        worker=schedule.worker[order],
        start=schedule.start[order],
        finish=schedule.time[order],
        version=schedule.read[order],
    )
    assert log == schedule


@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_a_simulation_is_the_simulation(seed):
    """Where no two events coincide, reads follow from the times alone."""
    schedule = asynchronous(jasgd.fleet.exponential([1.0, 2.0, 4.0, 8.0]), 200, seed=seed)
    log = Schedule.from_events(worker=schedule.worker, start=schedule.start, finish=schedule.time, num_workers=4)
    assert log == schedule


def test_a_log_may_count_workers_that_never_delivered():
    """The fleet may be larger than the set of those in the log."""
    assert Schedule.from_events(**LOG, num_workers=5).num_workers == 5


def test_a_log_may_have_jobs_of_no_duration():
    """With a coarse clock a job starts and ends in one tick; it reads what its worker's previous job left."""
    log = Schedule.from_events(worker=[0, 0, 0], start=[0.0, 1.0, 1.0], finish=[1.0, 1.0, 2.0])
    assert log.read.tolist() == [0, 1, 2]
    assert log.delay.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"worker": [0, 1]}, "must be flat, of one length and not empty"),
        ({"worker": [], "start": [], "finish": []}, "must be flat, of one length and not empty"),
        ({"worker": [[0]], "start": [[0.0]], "finish": [[1.0]]}, "must be flat, of one length and not empty"),
        ({"worker": [0.0, 1.0, 0.0]}, "`worker` must hold whole numbers from 0 on"),
        ({"worker": [0, -1, 0]}, "`worker` must hold whole numbers from 0 on"),
        ({"start": [0.0, NAN, 1.0]}, "event 1 must have 0 <= start <= finish, got nan"),
        ({"finish": [1.0, INF, 2.0]}, "event 1 must have 0 <= start <= finish"),
        ({"start": [0.0, 2.0, 1.0]}, "event 1 must have 0 <= start <= finish, got 2.0"),
        ({"start": [0.0, 0.0, 0.5]}, "a worker must finish one job before it starts the next; broken in row 2"),
        ({"num_workers": 1}, r"`worker` must lie in \[0, 1\); broken in row 1"),
        ({"version": [0, 0, 3]}, "`read` must be a version that exists.* broken in row 2"),
        ({"version": [0, 0, -1]}, "`read` must be a version that exists.* broken in row 2"),
        ({"version": [0, 0, 2]}, "must not start before the version it reads exists; broken in row 2"),
        ({"version": [0, 0]}, "`version`"),
        ({"version": [0, 0, 1, 7]}, "`version`"),
        ({"version": [0, 0, 0.7]}, "`version`"),
    ],
)
def test_a_bad_log_is_refused(change, message):
    """The message says which law or which column is broken."""
    with pytest.raises(ValueError, match=message):
        Schedule.from_events(**(LOG | change))
