"""How much of a long run the device waits for the host."""

import jax
import optax

import jasgd
from experiments.benchmarks.engine import traced
from experiments.benchmarks.measure import Competitor, Spread, paired
from jasgd import engine
from jasgd.ahead import computed
from jasgd.chunks import chunk_arrays
from jasgd.plan import plan
from jasgd.program import trace
from jasgd.recorder import Recorder
from jasgd.records import record_points, steps_per_chunk

_CHUNKS, _RECORDS = 16, 8


def idle_share(
    problem: jasgd.Problem,
    rule: optax.GradientTransformation,
    schedule: jasgd.Schedule,
    *,
    lanes: int,
    params: optax.Params,
    key: jax.Array,
    repeats: int,
) -> Spread:
    """1 - (time of all chunks, lying on the device and asked for back to back) / (time of the loop that ``simulate`` runs).

    Both compute the same chunks and the same records. Chunks are those of ``simulate``, or shorter, so that there are some:
    a long run waits no longer than this. Below zero is noise.
    """
    program, vectors = traced(problem, rule, params, key)
    metrics, numbers = trace(problem.metrics, params)
    if vectors is not None:
        metrics = vectors.over_params(metrics, numbers)
    versions, _ = record_points(schedule, max(1, schedule.updates // _RECORDS), None)
    steps = min(steps_per_chunk(program, schedule, lanes, versions), -(-plan(schedule, lanes).steps // _CHUNKS))
    planned = plan(schedule, lanes, chunk_steps=steps, record_versions=versions)
    loop = engine.loop_of(program, planned)
    on_device = jax.device_put([chunk_arrays(loop, planned, chunk) for chunk in range(planned.chunks)])

    def start() -> tuple[engine.State, Recorder]:
        state, recorder = engine.init(program, planned), Recorder(metrics, numbers, planned)
        recorder.start(state)
        return state, recorder

    def as_simulated() -> None:
        state, recorder = start()
        chunks = computed(loop, planned, program.numbers, key, state)
        for chunk, state in chunks:
            recorder.record(chunk, state)
        recorder.finish()

    def back_to_back() -> None:
        state, recorder = start()
        for chunk, arrays in enumerate(on_device):
            state = engine.step(loop, program.numbers, key, state, arrays)
            recorder.ask(chunk, state)
        recorder.finish()

    both = {"simulated": as_simulated, "back to back": back_to_back}
    rates = paired([Competitor(name=name, run=run, deliveries=len(schedule)) for name, run in both.items()], repeats=repeats)
    return Spread.of([1 - a / b for a, b in zip(rates["simulated"], rates["back to back"], strict=True)])
