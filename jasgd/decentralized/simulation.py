"""The driver for executions without a server."""

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

from jasgd import ring
from jasgd._checks import require_type
from jasgd.decentralized import engine
from jasgd.decentralized.execution import Execution
from jasgd.decentralized.plan import Plan, plan, together
from jasgd.history import History
from jasgd.inputs import check_metrics, check_parts, check_records, starting_point
from jasgd.keys import split_key
from jasgd.problems.problem import Problem
from jasgd.program import trace
from jasgd.results import provenance, to_dataset
from jasgd.traced import Traced, require_workers, traced, tree_bytes

if TYPE_CHECKING:
    import xarray

_CHUNK_STEPS = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Replicas:
    """What a simulation without a server found.

    Attributes:
      history: arrays of one length: ``version``, gradients computed by then; ``time``; what ``problem.metrics`` returns at
        the mean of the replicas; ``consensus``, the mean of their squared distances from it; ``uploaded_bytes`` and
        ``wire_seconds`` of the messages that have arrived.
      params: leaves (N, ...), where every node ended.
      rule_state: leaves (N, ...).
      execution: what was simulated.
      diverged: whether a replica became infinite or NaN; the simulation stopped there.
      message: how it ended, as a sentence.
      lanes, steps: gradients computed together, and steps of the compiled loop.
      seconds: of real time, compilation included.
      provenance: configuration, versions, device and revision.
    """

    history: dict[str, np.ndarray]
    params: Any  # any pytree
    rule_state: optax.OptState
    execution: Execution
    diverged: bool
    message: str
    lanes: int
    steps: int
    seconds: float
    provenance: dict[str, str]

    def to_dataset(self) -> "xarray.Dataset":
        """The history as a labelled xarray dataset with units and provenance.

        Example:
          >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.fixed([1.0, 1.5]), 100, latencies=0.2)
          >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
          >>> run = jasgd.decentralized.simulate(problem, optax.sgd(0.1), execution, key=jax.random.key(0), every=50)
          >>> run.to_dataset()["consensus"].sizes["record"]
          3
        """
        return to_dataset(self.history, self.provenance)


def simulate(
    problem: Problem,
    rule: optax.GradientTransformation,
    execution: Execution,
    *,
    key: jax.Array,
    params: optax.Params | None = None,
    every: int | None = None,
    times: Sequence[float] | np.ndarray | None = None,
    lanes: int | None = None,
) -> Replicas:
    """Simulate nodes without a server exactly; every node has its own replica and its own state of the rule.

    Args:
      problem: objective, data of every node, metrics.
      rule: any Optax transformation, that does not ask for ``delay``, ``apply`` or ``stale_params``; ``step`` counts the
        node's own updates.
      execution: who computes and sends what when.
      key: of the starting point and of all samples, as in :func:`jasgd.simulate`.
      params: where all nodes start; by default ``problem.init``.
      every: record at every so many gradients, after all that happens at the same time.
      times: or record at these simulated times.
      lanes: gradients computed together; by default as many as there usually are, and at most 32. The result does not depend
        on it, beyond rounding.

    Returns:
      The replicas and the history of their mean.

    Example:
      >>> execution = jasgd.decentralized.dasgd(jasgd.fleet.fixed([1.0, 1.5]), 100, latencies=0.2)
      >>> problem = jasgd.problems.quadratic(dim=10, noise=0.01)
      >>> run = jasgd.decentralized.simulate(problem, optax.sgd(0.1), execution, key=jax.random.key(0), every=50)
      >>> run.history["version"]
      array([  0,  50, 100])
    """
    began = time.perf_counter()
    check(problem, rule, execution, key, lanes)
    init_key, jobs_key = split_key(key)
    params = starting_point(problem, init_key, params)
    program = program_of(problem, rule, params, jobs_key)
    require_workers(program, int(execution.node.max()))
    metrics, metric_numbers = trace(problem.metrics, params)
    rows, record_times = records_of(execution, every, times)
    marks = sorted(set(rows))
    lanes = min(32, together(execution)) if lanes is None else int(lanes)
    compiled = plan(execution, lanes, marks)
    loop, state = engine.loop_of(program, compiled), engine.init(program, compiled)
    chunks, steps = chunks_of(compiled)
    found: dict[int, dict[str, Any]] = {}
    diverged = False
    for begin, end in [(0, 0), *chunks]:
        if end:
            state = engine.run(loop, program.numbers, jobs_key, state, engine.chunk_of(compiled, begin, end, steps))
        for record in np.flatnonzero(compiled.ends == end).tolist():
            slots = compiled.record_slots[record]
            found[marks[record]], finite = jax.device_get(engine.measure(metrics, metric_numbers, state.pool, slots))
            diverged = diverged or not finite
        if diverged:
            break
    kept = [i for i, row in enumerate(rows) if row in found]
    at = np.array([rows[i] for i in kept])
    end_time = np.concatenate([[0.0], execution.time])
    history = History(
        version=execution.gradients[at],
        time=end_time[at] if record_times is None else record_times[kept],
        **{name: np.array([found[row][name] for row in at.tolist()]) for name in found[int(at[0])]},
        uploaded_bytes=up_to(execution.messages, at) * float(tree_bytes(params)),
        wire_seconds=up_to(execution.wire_seconds, at),
    )
    last = int(at[-1])
    message = f"finished after {int(execution.gradients[-1])} gradients."
    if diverged:
        message = f"diverged before simulated time {end_time[last]:.6g}; try a smaller step size."
    return Replicas(
        history=history,
        params=ring.gather(state.pool, slots),
        rule_state=state.rule_state,
        execution=execution,
        diverged=diverged,
        message=message,
        lanes=lanes,
        steps=compiled.steps,
        seconds=time.perf_counter() - began,
        provenance=provenance(
            problem=problem.name,
            execution=execution.protocol,
            execution_arguments=dict(execution.arguments),
            key=jax.random.key_data(key).tolist(),
            lanes=lanes,
            every=every,
            times=None if times is None else np.asarray(times).tolist(),
        ),
    )


def program_of(problem: Problem, rule: optax.GradientTransformation, params: optax.Params, key: jax.Array) -> Traced:
    """The problem and the rule as programs, if they can do without a server."""
    check_metrics(problem, params)
    if "consensus" in jax.eval_shape(problem.metrics, params):
        raise ValueError("`problem.metrics` must not have a `consensus`: that is the distance of the replicas here.")
    program = traced(problem, rule, params, key)
    asked = sorted({"delay", "apply"} & set(program.extra_args)) + ["stale_params"] * program.needs_stale_params
    if asked or program.sends:
        raise ValueError(f"without a server a rule cannot ask for {', '.join(asked) or 'another point to send'}.")
    return program


def check(problem: Any, rule: Any, execution: Any, key: Any, lanes: Any) -> None:
    """Refuse what cannot be simulated, in one sentence."""
    check_parts(problem, rule, key, lanes)
    require_type("execution", execution, Execution, "made by jasgd.decentralized, e.g. by dasgd")
    if not len(execution):
        raise ValueError("the execution is empty: there is nothing to compute.")
    execution.verify()
    if problem.message_bytes is not None:
        raise ValueError(f"messages between replicas are whole, but {problem.name} makes shorter ones.")
    if problem.read_model is not None:
        raise ValueError(f"without a server nobody writes while a node reads, but {problem.name} has a read model.")
    if problem.num_workers is not None and execution.num_nodes > problem.num_workers:
        raise ValueError(
            f"the execution has {execution.num_nodes} nodes but the problem has data for {problem.num_workers}; "
            "make the problem with as many shards as nodes."
        )


def records_of(execution: Execution, every: int | None, times: Any) -> tuple[list[int], np.ndarray | None]:
    """After how many rows to record, first and last included; and at which times, if these were asked for."""
    check_records(every, times)
    if times is not None:
        wanted, end = np.asarray(times, np.float64), float(execution.time[-1])
        if wanted.ndim != 1 or not np.all(np.diff(wanted, prepend=0.0) >= 0) or np.any(wanted > end):
            raise ValueError(f"`times` must increase from 0 to at most {end:.6g}, the end of the execution, got {times!r}.")
        wanted = np.concatenate([[0.0], wanted[(wanted > 0) & (wanted < end)], [end]])
        rows = np.searchsorted(execution.time, wanted, side="right")
        return [0, *rows[1:].tolist()], wanted
    inner = np.arange(every, execution.gradients[-1], every) if every else np.zeros(0, np.int64)
    row = np.searchsorted(execution.gradients, inner, side="left") - 1  # has the gradient that completes the number
    after = np.searchsorted(execution.time, execution.time[row], side="right")
    return sorted({0, *after.tolist(), len(execution)}), None


def chunks_of(compiled: Plan) -> tuple[list[tuple[int, int]], int]:
    """Steps of each call, up to the next record, and not too many; and how many there is room for."""
    marks = sorted({0, compiled.steps, *compiled.ends.tolist()})
    pieces: list[tuple[int, int]] = []
    for begin, end in itertools.pairwise(marks):
        cuts = [*range(begin, end, _CHUNK_STEPS), end]
        pieces += itertools.pairwise(cuts)
    longest = max(end - begin for begin, end in pieces)
    return pieces, 1 << (longest - 1).bit_length()  # so that similar executions share a program


def up_to(column: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sums of a column over so many first rows."""
    return np.concatenate([[0], np.cumsum(column)])[rows]
