"""The driver: from a problem, a rule and a schedule to a result."""

import dataclasses
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax
from jax.typing import DTypeLike

from jasgd import engine, summary, traffic
from jasgd._checks import require_type
from jasgd.ahead import computed
from jasgd.checkpoints import Checkpoints, flat, unflat
from jasgd.fingerprint import fingerprint
from jasgd.flat import flattened, launches_cost
from jasgd.inputs import check_metrics, check_records, check_simulation, seen_through, starting_point
from jasgd.interrupts import held_back
from jasgd.jobs import bytes_per_message, messages_per_job
from jasgd.keys import split_key
from jasgd.lanes import choose_form
from jasgd.layout import Layout
from jasgd.memory import refuse_if_too_large, room_for_lanes
from jasgd.oracles.oracle import Oracle
from jasgd.plan import plan
from jasgd.precision import at_snapshots
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.progress import progress_bar
from jasgd.read_models import window_of
from jasgd.recorder import Recorder
from jasgd.records import record_points, steps_per_chunk
from jasgd.results import provenance, to_dataset
from jasgd.schedule import Schedule
from jasgd.traced import require_workers

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What a simulation found.

    Attributes:
      history: arrays of one length: ``version``, ``time``, what ``problem.metrics`` returns, and what the links have
        carried by then (:mod:`jasgd.traffic`): ``uploaded_bytes``, ``downloaded_bytes`` and ``wire_seconds``, for which they
        were busy, all workers together; with ``times``, by when the newest version was made. The first entry is version 0,
        the last one the end.
      params, rule_state: where it ended; of a diverged run, up to two chunks after the last entry of the history.
      schedule: what was simulated. ``schedule.clock`` says whether ``time`` is in seconds or in server steps.
      diverged: whether parameters became infinite or NaN; the simulation stopped there.
      message: how it ended, as a sentence.
      lanes, steps: gradients computed together, and steps of the compiled loop.
      seconds: of real time, compilation included.
      provenance: configuration, versions, device and revision.
    """

    history: dict[str, np.ndarray]
    params: Any  # any pytree
    rule_state: optax.OptState
    schedule: Schedule
    diverged: bool
    message: str
    lanes: int
    steps: int
    seconds: float
    provenance: dict[str, str]

    def to_dataset(self) -> "xarray.Dataset":
        """The history as a labelled xarray dataset with units and provenance.

        Example:
          >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
          >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), updates=100)
          >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0), every=50)
          >>> run.to_dataset()["loss"].sizes["record"]
          3
        """
        return to_dataset(self.history, self.provenance, clock=self.schedule.clock)


def simulate(
    problem: Problem,
    rule: optax.GradientTransformation,
    schedule: Schedule,
    *,
    key: jax.Array,
    params: optax.Params | None = None,
    every: int | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    lanes: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    save_every: float = 60.0,
    layout: Layout | None = None,
    oracle: Oracle | None = None,
    snapshot_dtype: DTypeLike | None = None,
    progress: bool | str = False,
) -> Run:
    """Simulate asynchronous SGD exactly: every gradient at the version, and in the order, that the schedule says.

    Args:
      problem: objective, data, metrics.
      rule: any Optax transformation. It is offered the extra arguments ``worker``, ``delay``, ``step`` (server version
        before the step), ``duration``, ``time``, ``stale_params`` (the snapshot that the gradient was computed at) and
        ``apply`` (whether the server steps after this gradient). Where a schedule gathers several gradients for a step, a
        rule sees their weighted sum; one that asks for ``apply`` sees each of them as it came, without its weight.
      schedule: who delivers what when.
      key: of the starting point and of all samples. A job's sample depends on (key, worker, job) alone.
      params: where to start; by default ``problem.init``.
      every: record metrics at every so many server versions.
      times: or record them at these simulated times.
      lanes: gradients computed together; by default chosen by the schedule and a short measurement. The result does
        not depend on it, beyond rounding.
      resume: a folder for checkpoints while the simulation runs; if it has some of this very simulation, continue there, bit
        for bit. Ctrl-C and SIGTERM save one at the end of the chunk. They are removed at the end.
      save_every: seconds of real time between checkpoints.
      layout: spread lanes, or parameters and snapshots, over several devices; by default all is on one.
      oracle: what workers compute; by default one stochastic gradient.
      snapshot_dtype: a narrower dtype, such as ``jnp.bfloat16``, of what workers read and send, while the server adds up in
        that of the parameters (:mod:`jasgd.precision`). Snapshots then take half the memory. Metrics are those of rounded
        versions.
      progress: show a progress bar, with a label if it is a string.

    Returns:
      The run, with ``run.history["loss"]`` and so on.

    Example:
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(4, exponent=1.0), updates=100)
      >>> run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=jax.random.key(0), every=50)
      >>> run.history["version"]
      array([  0,  50, 100])
    """
    began = time.perf_counter()
    problem = seen_through(oracle, problem)
    check_simulation(problem, rule, schedule, key, lanes)
    check_records(every, times)
    if layout is not None:
        require_type("layout", layout, Layout, "a jasgd.Layout")
    init_key, jobs_key = split_key(key)
    params = starting_point(problem, init_key, params)
    check_metrics(problem, params)
    program = engine.traced(problem, rule, params, jobs_key, snapshot_dtype=snapshot_dtype)
    require_workers(program, int(schedule.worker.max()))
    if program.needs_stale_params and lanes not in (None, 1):
        raise ValueError(f"this rule asks for `stale_params`, which needs `lanes=1`, got {lanes}.")
    snapshots, dtype = program.snapshots, program.snapshot_dtype
    metrics, metric_numbers = trace(at_snapshots(problem.metrics, params, dtype), snapshots)
    versions, record_times = record_points(schedule, every, times)
    distinct = np.unique(versions)
    checkpoints, saved = None, None
    if resume is not None:
        programs = (program.sample, program.gradient, program.rule, metrics)
        described = (*programs, program.extra_args, repr(program.read_model))
        numbers = (program.numbers.sample, program.numbers.gradient, program.numbers.rule, metric_numbers)
        start = jax.tree.leaves((params, program.rule_state))
        identity = fingerprint(*described, *numbers, start, schedule, jobs_key, distinct)
        checkpoints = Checkpoints(resume, identity, every=save_every)
        saved = checkpoints.newest()
    at_once = saved[0].get("at_once", False) if saved is not None else layout is None and launches_cost()
    vectors = flattened(program) if at_once else None
    if saved is not None:
        if lanes not in (None, saved[0]["lanes"]):
            raise ValueError(f"the checkpoint in {resume} was made with lanes={saved[0]['lanes']}, got lanes={lanes}.")
        lanes, chunk_steps = saved[0]["lanes"], saved[0]["chunk_steps"]
    elif lanes is None:
        forms = [program] if vectors is None else [vectors.program, program]
        chosen, lanes = choose_form(forms, schedule, room=room_for_lanes(program))
        vectors = None if chosen is program else vectors
    if vectors is not None:
        program, metrics = vectors.program, vectors.over_params(metrics, metric_numbers)
    if saved is None:
        chunk_steps = steps_per_chunk(program, schedule, lanes, distinct)
    window = window_of(program.read_model, int(schedule.delay.max()))
    compiled = plan(schedule, lanes, chunk_steps=chunk_steps, record_versions=distinct, window=window)
    refuse_if_too_large(program, compiled, layout)
    loop = engine.loop_of(program, compiled, layout=layout)
    recorder = Recorder(metrics, metric_numbers, compiled)
    state, begin = engine.init(program, compiled, layout=layout), 0
    if saved is None:
        recorder.start(state)
    else:
        state, begin = unflat("state", state, saved[1]), saved[0]["next_chunk"]
        recorder.restore(saved[1])
    # Outermost, so that a checkpoint is written in full before a signal ends the process.
    with (
        held_back(checkpoints is not None) as held,
        progress_bar(len(schedule), progress) as bar,
        checkpoints or nullcontext(),
    ):
        chunks = computed(loop, compiled, program.numbers, jobs_key, state, begin=begin)
        for chunk, state in chunks:
            if not recorder.record(chunk, state):
                break
            bar.update(int(compiled.first[min((chunk + 1) * compiled.chunk_steps, compiled.steps)]) - bar.n)
            if checkpoints is not None and (held.waiting or checkpoints.due()) and recorder.finish():
                how = {"at_once": vectors is not None, "lanes": lanes, "chunk_steps": chunk_steps}
                checkpoints.save({**how, "next_chunk": chunk + 1}, {**flat("state", state), **recorder.arrays()})
            if held.waiting:
                raise KeyboardInterrupt
        else:
            recorder.finish()
        if checkpoints is not None:
            checkpoints.remove()
    history, diverged, message = recorder.result(versions, record_times)
    ended = (state.params, state.rule_state) if vectors is None else vectors.trees(state.params, state.rule_state)
    history |= traffic.columns(
        schedule,
        history["version"],
        messages=messages_per_job(problem),
        message_bytes=bytes_per_message(problem, snapshots, ended[1]),
        model_bytes=engine.tree_bytes(snapshots),
    )
    jax.block_until_ready(ended)
    spent = time.perf_counter() - began
    return Run(
        history=history,
        params=ended[0],
        rule_state=ended[1],
        schedule=schedule,
        diverged=diverged,
        message=message,
        lanes=lanes,
        steps=compiled.steps,
        seconds=spent,
        provenance=provenance(
            problem=problem.name,
            schedule=schedule.protocol,
            schedule_arguments=dict(schedule.arguments),
            schedules=[summary.described(schedule)],
            clock=schedule.clock,
            key=jax.random.key_data(key).tolist(),
            lanes=lanes,
            snapshot_dtype=None if dtype is None else dtype.name,
            every=every,
            times=None if record_times is None else record_times.tolist(),
            seconds=f"{spent:.1f}",
        ),
    )
