"""Lanes and slots."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jasgd
from jasgd import plan as plans
from jasgd.plan import plan
from jasgd.summary import critical_path, snapshots

FLEETS = {
    "equal": jasgd.fleet.equal(100),
    "sqrt": jasgd.fleet.power_law(100, 0.5),
    "linear": jasgd.fleet.power_law(100, 1.0),
    "pareto": jasgd.fleet.fixed(1 + np.random.default_rng(0).pareto(1.1, 100)),
}


@pytest.mark.parametrize("lanes", [1, 2, 3, 8, 17, 64, 256])
@pytest.mark.parametrize("name", FLEETS)
def test_steps_reach_the_lower_bound_within_two_percent(name, lanes):
    """Number of steps = max(critical path, ceil(K / W)), though at most 2 W deliveries are applied per step."""
    schedule = jasgd.protocols.asynchronous(FLEETS[name], 20_000)
    bound = max(critical_path(schedule), -(-len(schedule) // lanes))
    result = plan(schedule, lanes)
    assert bound <= result.steps <= 1.02 * bound
    assert np.bincount(result.applied).max() <= 2 * lanes


@pytest.mark.parametrize("lanes", [1, 2, 8, 64])
@pytest.mark.parametrize("name", FLEETS)
def test_slots_never_exceed_workers_plus_one(name, lanes):
    """A slot holds a job's snapshot until it is computed and its gradient until it is used."""
    assert plan(jasgd.protocols.asynchronous(FLEETS[name], 5_000), lanes).slots <= 101


def test_one_lane_needs_exactly_the_snapshots_that_are_alive():
    """With one lane nothing is computed ahead, so slots = largest number of versions still to be read."""
    for fleet in FLEETS.values():
        schedule = jasgd.protocols.asynchronous(fleet, 3_000)
        assert plan(schedule, 1).slots == snapshots(schedule)


def replay_slots(result):
    """Walk through a plan step by step with stamps in place of parameters; what every read finds."""
    schedule = result.schedule
    ring = {0: ("version", 0)}
    version = delivered = 0
    found_reads, found_gradients = {}, {}
    for step in range(result.steps):
        computed = np.flatnonzero(result.step == step)
        assert len(computed) <= result.lanes
        assert sorted(result.lane[computed]) == list(range(len(computed)))
        for k in computed:
            found_reads[int(k)] = ring[int(result.read_slot[k])]
        for k in computed:
            if result.gradient_slot[k] >= 0:
                ring[int(result.gradient_slot[k])] = ("gradient", int(k))
        while delivered < len(schedule) and result.applied[delivered] == step:
            k = delivered
            found_gradients[k] = ("gradient", k) if result.gradient_slot[k] < 0 else ring[int(result.gradient_slot[k])]
            assert k in found_reads
            version += bool(schedule.apply[k])
            if result.write_slot[k] < result.slots:
                ring[int(result.write_slot[k])] = ("version", version)
            delivered += 1
    assert delivered == len(schedule)
    return found_reads, found_gradients


@settings(max_examples=40, deadline=None)
@given(
    times=st.lists(st.sampled_from([1.0, 1.5, 2.0, 3.7, 10.0, 31.0]), min_size=1, max_size=9),
    lanes=st.integers(1, 12),
    assignment=st.sampled_from(["own", "random", "shuffled"]),
    wait_for=st.integers(1, 2),
    chunk_steps=st.integers(1, 20),
    every=st.integers(1, 30),
)
def test_every_read_finds_what_it_means(times, lanes, assignment, wait_for, chunk_steps, every):
    """Walking through the plan with stamped slots: snapshots and waiting gradients are where they are looked for."""
    fleet = jasgd.fleet.fixed(times)
    schedule = jasgd.protocols.asynchronous(fleet, 120, assignment=assignment, wait_for=min(wait_for, len(times)))
    records = np.arange(0, 121, every)
    result = plan(schedule, lanes, chunk_steps=chunk_steps, record_versions=records)
    reads, gradients = replay_slots(result)
    assert reads == {k: ("version", int(v)) for k, v in enumerate(schedule.read)}
    assert gradients == {k: ("gradient", k) for k in range(len(schedule))}


def test_gathered_and_dropped_rows_are_planned():
    """Rounds of gathered gradients, and a schedule in which work was thrown away, keep every read right."""
    rounds = jasgd.protocols.delays(5, 12, jasgd.protocols.uniform_delays(3), every_worker=True)
    dropping = jasgd.protocols.asynchronous(jasgd.fleet.power_law(6, 1.0), 60, max_delay=4)
    assert dropping.ledger.dropped.sum() > 0
    for schedule in (rounds, dropping):
        for lanes in (1, 3, 5):
            reads, _ = replay_slots(plan(schedule, lanes))
            assert reads == {k: ("version", int(v)) for k, v in enumerate(schedule.read)}


def test_rounds_are_one_step_each():
    """All n gradients of a step, each at its own snapshot, are computed in one step of n lanes."""
    schedule = jasgd.protocols.delays(7, 20, jasgd.protocols.uniform_delays(5), every_worker=True)
    result = plan(schedule, 7)
    assert result.whole_rounds
    assert result.steps == 20
    assert not plan(schedule, 6).whole_rounds
    assert result.slots <= 6


@pytest.mark.parametrize("column", ["read_slot", "write_slot", "gradient_slot"])
def test_a_wrong_slot_is_noticed(column):
    """The check of the whole plan refuses a single slot that is off by one."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(10, 1.0), 200)
    result = plan(schedule, 8)
    waiting = np.flatnonzero(result.gradient_slot >= 0)
    written_and_read = np.flatnonzero(np.isin(np.arange(1, 201), schedule.read))
    row = {"read_slot": 150, "write_slot": written_and_read[50], "gradient_slot": waiting[5]}[column]
    wrong = getattr(result, column).copy()
    wrong[row] = (wrong[row] + 1) % result.slots
    plans._validate(result)
    with pytest.raises(RuntimeError, match="a slot does not hold"):
        plans._validate(dataclasses.replace(result, **{column: wrong}))


def test_bad_input_is_refused():
    """No lanes, or nothing to do."""
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 4)
    with pytest.raises(ValueError, match="`lanes` must be at least 1, got 0"):
        plan(schedule, 0)
    with pytest.raises(ValueError, match="empty"):
        plan(schedule.first_updates(0), 1)
