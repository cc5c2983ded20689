"""Traces obey the Trace Event Format, as far as it can be checked without a viewer."""

import gzip
import itertools
import json

import numpy as np
import pytest

from jasgd import fleet, pictures, protocols

FLEET = fleet.exponential([1.0, 1.5, 2.0, 4.0])
MAKERS = {
    "asynchronous": lambda: protocols.asynchronous(FLEET, 40),
    "several at once": lambda: protocols.asynchronous(FLEET, 40, assignment="random", parallel=True),
    "dropped": lambda: protocols.ringmaster(FLEET, 40, threshold=3),
    "cancelled": lambda: protocols.rennala(FLEET, 10, batch=4),
    "steps": lambda: protocols.delays(3, 30, protocols.uniform_delays(5)),
    "no duration": lambda: protocols.asynchronous(fleet.poisson([0.3, 0.5, 1.0]), 40),
    "tiny": lambda: protocols.asynchronous(fleet.fixed([1e-7, 1.7e-7]), 40),
}


def written(schedule, path, **asked):
    pictures.trace(schedule, path, **asked)
    return json.loads(path.read_text())


@pytest.fixture(params=MAKERS)
def case(request, tmp_path):
    schedule = MAKERS[request.param]()
    return schedule, written(schedule, tmp_path / "trace.json")["traceEvents"]


def slices(events):
    """Complete events by thread."""
    threads = {}
    for event in events:
        if event["ph"] == "X":
            threads.setdefault((event["pid"], event["tid"]), []).append(event)
    return threads


def test_every_event_has_what_its_phase_requires(case):
    """Metadata a name, slices a duration, counters numbers, flows an id; all of them whole numbers of process and thread."""
    needed = {"M": {"args"}, "X": {"ts", "dur", "cat", "args"}, "C": {"ts", "args"}, "s": {"ts", "cat", "id"}}
    needed |= {"t": needed["s"], "f": needed["s"] | {"bp"}}
    schedule, events = case
    assert {event["ph"] for event in events} == set(needed)
    for event in events:
        assert {"name", "ph", "pid", "tid"} | needed[event["ph"]] <= set(event)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert event["ph"] == "M" or event["ts"] >= 0
        assert event["ph"] != "X" or event["dur"] >= 0
        assert event["ph"] != "C" or all(isinstance(value, int) for value in event["args"].values())
    names = [event["args"]["name"] for event in events if event["name"] == "thread_name"]
    assert names[0] == "versions"
    assert len(set(names)) == len(names) >= 1 + schedule.num_workers


def test_names_come_first_and_time_never_goes_back(case):
    """Viewers need not sort."""
    _, events = case
    named = [event["ph"] == "M" for event in events]
    assert named == sorted(named, reverse=True)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)


def test_slices_of_a_thread_do_not_overlap(case):
    """They may touch, and none ends before it begins."""
    _, events = case
    for mine in slices(events).values():
        for one, other in itertools.pairwise(mine):
            assert one["ts"] + one["dur"] <= other["ts"] + 1e-3  # a nanosecond, which is what is rounded to


def test_a_flow_leads_from_the_version_read_through_the_job_to_the_version_made(case):
    """Its three ends lie in these slices, in this order, once for every delivery."""
    schedule, events = case
    threads, flows = slices(events), {}
    for event in events:
        if event["ph"] in "stf":
            flows.setdefault(event["id"], []).append(event)
    assert len(flows) == len(schedule)
    for ends in flows.values():
        assert "".join(event["ph"] for event in ends) == "stf"
        assert len({(event["name"], event["cat"]) for event in ends}) == 1
        inside = [
            [s for s in threads[event["pid"], event["tid"]] if s["ts"] <= event["ts"] <= s["ts"] + s["dur"]]
            for event in ends
        ]
        read, job, made = inside
        reads = {s["args"]["version"] for s in read}
        mades = {s["args"]["version"] for s in made}
        assert any(s["args"].get("read") in reads and s["args"].get("made") in mades for s in job)


def test_slices_say_what_the_table_says(case):
    """Every row once: worker, job, read, delay, times."""
    schedule, events = case
    used = [event for event in events if event["ph"] == "X" and event["cat"] == "used"]
    found = sorted(tuple(event["args"][name] for name in ("worker", "job", "read", "delay")) for event in used)
    columns = (schedule.worker, schedule.job, schedule.read, schedule.delay)
    assert found == sorted(zip(*(column.tolist() for column in columns), strict=True))
    rows = {(int(i), int(j)): k for k, (i, j) in enumerate(zip(schedule.worker, schedule.job, strict=True))}
    for event in used:
        k = rows[event["args"]["worker"], event["args"]["job"]]
        assert event["ts"] == pytest.approx(1e6 * schedule.start[k], abs=1e-3)
        assert event["ts"] + event["dur"] == pytest.approx(1e6 * schedule.time[k], abs=2e-3)


def test_counters_show_the_version_and_the_jobs_in_flight(case):
    """From 0 to the last version, step by step; jobs from all to none."""
    schedule, events = case
    counters = {name: [e for e in events if e["ph"] == "C" and e["name"] == name] for name in ("version", "jobs in flight")}
    assert [event["args"]["version"] for event in counters["version"]] == list(range(schedule.updates + 1))
    flying = [event["args"]["jobs"] for event in counters["jobs in flight"]]
    assert min(flying) == flying[-1] == 0
    if schedule.jobs_in_flight is not None and "no duration" not in schedule.arguments["fleet"]:
        assert max(flying) == schedule.jobs_in_flight + 1 or schedule.time[0] == 0


def test_a_window_and_fewer_workers_make_a_smaller_trace(tmp_path):
    """Jobs that are partly in it are there as a whole, with the versions that they refer to."""
    schedule = MAKERS["asynchronous"]()
    begin, end = schedule.time[[10, 20]].tolist()
    events = written(schedule, tmp_path / "trace.json", window=(begin, end), workers=[0, 2])["traceEvents"]
    used = [event["args"] for event in events if event["ph"] == "X" and event["cat"] == "used"]
    inside = (schedule.time > begin) & (schedule.start < end) & np.isin(schedule.worker, [0, 2])
    assert len(used) == np.count_nonzero(inside)
    versions = {event["args"]["version"] for event in events if event["ph"] == "X" and event["cat"] == "server"}
    assert {args["read"] for args in used} | {args["made"] for args in used} <= versions


def test_a_path_that_ends_in_gz_is_compressed(tmp_path):
    """The same events, and it says what is shown."""
    schedule = MAKERS["dropped"]()
    plain = written(schedule, tmp_path / "trace.json")
    pictures.trace(schedule, tmp_path / "trace.json.gz")
    assert json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes())) == plain
    assert plain["otherData"]["schedule"].startswith("ringmaster: all 4 workers")
