"""The host makes the next chunk while the device computes this one."""

import jax
import numpy as np
import optax
import pytest

import jasgd
from jasgd import ahead, engine
from jasgd.plan import plan

KEY = jax.random.key(0)


@pytest.fixture
def events(monkeypatch):
    """What happens in which order, without any device: chunks are made, and computed."""
    found = []
    monkeypatch.setattr(ahead, "chunk_arrays", lambda loop, plan, chunk: found.append(f"make {chunk}") or np.int32(chunk))
    monkeypatch.setattr(engine, "step", lambda loop, numbers, key, state, chunk: found.append(f"compute {chunk}"))
    return found


@pytest.mark.parametrize("begin", [0, 1])
def test_a_chunk_is_made_before_anybody_waits_for_the_one_before(events, begin):
    """All but the first are made when the one before has been asked for; none is made twice, and none too many."""
    problem = jasgd.problems.quadratic(dim=3)
    program = engine.traced(problem, optax.sgd(0.1), problem.init(KEY), KEY)
    compiled = plan(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 12), 2, chunk_steps=2)
    for chunk, _ in ahead.computed(engine.loop_of(program, compiled), compiled, program.numbers, KEY, None, begin=begin):
        events.append(f"wait {chunk}")
    everything = ["make 0", "compute 0", "make 1", "wait 0", "compute 1", "make 2", "wait 1", "compute 2", "wait 2"]
    assert events == [event for event in everything if int(event[-1]) >= begin]


def test_a_plan_that_is_done_computes_nothing(events):
    """As after a checkpoint at the very end."""
    compiled = plan(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 4), 1, chunk_steps=2)
    assert list(ahead.computed(None, compiled, None, KEY, None, begin=2)) == []
    assert events == []
