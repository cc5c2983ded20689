"""The number of lanes is measured."""

import jax
import optax

import jasgd
from jasgd import engine, lanes

KEY = jax.random.key(0)


def test_long_simulations_take_the_fastest_measured_width(monkeypatch):
    """Every width up to deliveries / critical path is measured once; the fastest wins."""
    problem = jasgd.problems.quadratic(5)
    program = engine.traced(problem, optax.sgd(0.1), problem.init(KEY), KEY)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(70), 1_000)
    measured = {}

    def measure(program, width):
        measured[width] = abs(width - 16)
        return measured[width]

    monkeypatch.setattr(lanes, "_measure", measure)
    monkeypatch.setattr(lanes, "seconds_per_delivery", lambda program: 1.0)
    assert lanes.choose_lanes(program, schedule, room=1000) == 16
    assert sorted(measured) == [1, 4, 16, 64]
    assert lanes.choose_lanes(program, schedule, room=5) == 4


def test_measuring_runs_the_engine_and_remembers():
    """A positive time, and nothing is compiled for the second question."""
    problem = jasgd.problems.quadratic(5)
    program = engine.traced(problem, optax.sgd(0.1), problem.init(KEY), KEY)
    seconds = lanes._measure(program, 4)
    assert 0 < seconds < 1
    compiled = engine.step._cache_size()
    assert lanes._measure(program, 4) == seconds
    assert engine.step._cache_size() == compiled
