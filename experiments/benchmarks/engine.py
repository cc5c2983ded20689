"""The package's engine on a schedule, without metrics: only the compiled loop is inside the measured run."""

import dataclasses
import time
from typing import Any

import jax
import optax

import jasgd
from experiments.benchmarks.loops import Run
from jasgd import engine
from jasgd.chunks import chunk_arrays
from jasgd.flat import Flat, flattened, launches_cost
from jasgd.lanes import gradients_per_round
from jasgd.plan import Plan, plan
from jasgd.summary import critical_path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A planned simulation.

    Attributes:
      run: runs it once and returns the last point.
      lanes: W.
      planning_seconds: what it took to make the plan and its arrays.
      program, plan, loop, chunks, key: what is run; chunks lie on the device.
    """

    run: Run
    lanes: int
    planning_seconds: float
    program: engine.Traced
    plan: Plan
    loop: engine.Loop
    chunks: list[dict[str, Any]]
    key: jax.Array


def traced(
    problem: jasgd.Problem, rule: optax.GradientTransformation, params: optax.Params, key: jax.Array
) -> tuple[engine.Traced, Flat | None]:
    """What ``jasgd.simulate`` computes on this device: over vectors, and these, where it pays for every operation."""
    program = engine.traced(problem, rule, params, key)
    vectors = flattened(program) if launches_cost() else None
    return (program, None) if vectors is None else (vectors.program, vectors)


def prepare(
    problem: jasgd.Problem,
    rule: optax.GradientTransformation,
    schedule: jasgd.Schedule,
    *,
    lanes: int,
    params: optax.Params,
    key: jax.Array,
) -> Prepared:
    """Plan a schedule for ``lanes`` gradients at a time; compilation happens in the first run."""
    program, vectors = traced(problem, rule, params, key)
    began = time.perf_counter()
    planned = plan(schedule, lanes)
    loop = engine.loop_of(program, planned)
    arrays = [chunk_arrays(loop, planned, chunk) for chunk in range(planned.chunks)]
    planning_seconds = time.perf_counter() - began
    chunks = jax.device_put(arrays)

    def run() -> optax.Params:
        state = engine.init(program, planned)
        for chunk in chunks:
            state = engine.step(loop, program.numbers, key, state, chunk)
        return jax.block_until_ready(state.params if vectors is None else vectors.params(state.params))

    return Prepared(
        run=run,
        lanes=lanes,
        planning_seconds=planning_seconds,
        program=program,
        plan=planned,
        loop=loop,
        chunks=chunks,
        key=key,
    )


def widths(schedule: jasgd.Schedule) -> list[int]:
    """Numbers of lanes that are worth a try: more than deliveries / critical path cannot be filled."""
    whole_round = gradients_per_round(schedule)
    if whole_round > 1:
        return [whole_round]
    most = len(schedule) // critical_path(schedule)
    return [width for width in (1, 4, 16, 64, 256, 1024) if width <= most]
