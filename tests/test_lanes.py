"""The number of lanes is measured."""

import jax
import optax

import jasgd
from jasgd import engine, lanes
from jasgd.flat import flattened

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


def test_an_accelerator_measures_both_forms_of_a_long_simulation(monkeypatch):
    """All versions of a step at once, or one after the other; a short one takes the first form without a measurement."""
    problem = jasgd.problems.quadratic(5)
    program = engine.traced(problem, optax.sgd(0.1), problem.init(KEY), KEY)
    vectors, measured = flattened(program).program, []

    def measure(form, width):
        measured.append((form is vectors, width))
        return 1.0 if measured == [(True, 64)] else abs(width - 16) + (form is vectors)

    monkeypatch.setattr(lanes, "_measure", measure)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    short, long = (jasgd.protocols.asynchronous(jasgd.fleet.equal(70), updates) for updates in (1_000, 100_100))
    assert lanes.choose_form([vectors, program], short, room=1000) == (vectors, 64)
    assert measured == []
    assert lanes.choose_form([vectors, program], long, room=1000) == (program, 16)
    assert measured == [(True, 64), *((form, width) for form in (True, False) for width in (1, 4, 16, 64))]
    measured[:] = []
    monkeypatch.setattr(lanes, "_measure", lambda form, width: 1e-6)
    assert lanes.choose_form([vectors, program], long, room=1000) == (vectors, 64)
