"""What a gradient needs while it is computed is known before there is too little of it."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jasgd
from jasgd import cost, engine, lanes
from jasgd.memory import refuse_if_too_large, room_for_lanes
from jasgd.plan import plan

KEY = jax.random.key(0)


def program_of(width):
    """A problem of one number, whose gradient goes through a product of two matrices of this size."""

    def loss(x, batch):
        matrix = jnp.sin(x + jnp.arange(float(width * width)).reshape(width, width))
        return jnp.sum(jnp.cos(matrix @ matrix))

    problem = jasgd.Problem(
        init=lambda key: jnp.ones(()),
        loss=loss,
        sample=lambda key, worker: jnp.zeros(()),
        metrics=lambda x: {"loss": x, "grad_norm": x},
    )
    return engine.traced(problem, optax.sgd(0.1), jnp.ones(()), KEY)


@pytest.mark.parametrize("width", [64, 512])
def test_what_lies_between_counts(width):
    """More than one of the matrices, less than twenty, whether it is bounded or planned."""
    matrix = 4 * width**2
    assert matrix < cost.working_bytes(program_of(width).gradient) < 20 * matrix


def test_lanes_are_fewer_where_a_gradient_needs_much(monkeypatch):
    """Parameters and samples are four bytes each in both cases."""
    monkeypatch.setattr("jasgd.memory.free_memory", lambda: 2.0**30)
    small, large = program_of(8), program_of(512)
    assert room_for_lanes(small) > 500 * room_for_lanes(large)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(4096), 4096)
    refuse_if_too_large(small, plan(schedule, 2048))
    with pytest.raises(MemoryError, match=r"2048 lanes .* use fewer lanes"):
        refuse_if_too_large(large, plan(schedule, 2048))


def test_a_width_that_does_not_fit_is_not_chosen(monkeypatch):
    """The measurement goes on without it; other errors are raised."""

    def refused(message):
        def seconds(program, width):
            if width > 4:
                raise jax.errors.JaxRuntimeError(message)
            return 1.0 / width

        return seconds

    program = program_of(8)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(70), 1_000)
    monkeypatch.setattr(lanes, "seconds_per_delivery", lambda program: 1.0)
    monkeypatch.setattr(lanes, "_measured", {})
    monkeypatch.setattr(lanes, "_seconds", refused("RESOURCE_EXHAUSTED: out of memory"))
    assert lanes.choose_lanes(program, schedule, room=1000) == 4
    monkeypatch.setattr(lanes, "_measured", {})
    monkeypatch.setattr(lanes, "_seconds", refused("INTERNAL: something else"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        lanes.choose_lanes(program, schedule, room=1000)
