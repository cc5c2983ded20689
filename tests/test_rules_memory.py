"""Tables live once and are updated in place: their cost per update does not depend on the number of workers."""

import re

import jax
import jax.numpy as jnp
import pytest

import jasgd
from jasgd import engine, rules
from jasgd.chunks import chunk_arrays
from jasgd.plan import plan

N, D = 50, 700  # sizes that appear nowhere else in the compiled programs
TABLES = {
    "worker_momentum": (rules.worker_momentum(0.1, 0.9, N), 1),
    "dana_slim": (rules.dana_slim(0.1, 0.9, N), 1),
    "dana_zero": (rules.dana_zero(0.1, 0.9, N), 1),
    "dude": (rules.dude(0.1, N), 1),
    "semi_asynchronous_dude": (rules.semi_asynchronous_dude(0.1, N), 1),
    "aced": (rules.aced(0.1, N, 10), 1),
    "saga": (rules.saga(0.1, N), 1),
    "fedvarp": (rules.fedvarp(0.1, N), 1),
    "ca2fl": (rules.ca2fl(0.1, N), 2),
    "ringleader": (rules.ringleader(0.1, N), 2),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_compiled_loop_never_copies_a_table(name):
    """No instruction of the engine's program copies an array with one row per worker."""
    rule, tables = TABLES[name]
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.equal(N), 2 * N)
    program = engine.traced(jasgd.problems.quadratic(D), rule, jnp.zeros(D), jax.random.key(0))
    planned = plan(schedule, 1)
    loop, state = engine.loop_of(program, planned), engine.init(program, planned)
    chunk = chunk_arrays(loop, planned, 0)
    text = engine.step.lower(loop, program.numbers, jax.random.key(0), state, chunk).compile().as_text()
    rows = tables * N if name == "ringleader" else N
    assert f"f32[{rows},{D}]" in text
    copies = re.findall(rf"= f32\[{rows},{D}\]\S* copy\(", text)
    assert not copies
    largest = sum(leaf.size for leaf in jax.tree.leaves(state.rule_state))
    assert largest < (tables * N + 8) * D + 10 * N  # the tables once, and a few copies of the parameters
