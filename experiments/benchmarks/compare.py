"""One case: check that engine and scan agree, pick everybody's best form, time all of them in turns."""

import dataclasses
import importlib.util
from collections.abc import Iterator

import jax
import optax

import jasgd
from experiments.benchmarks import engine, loops
from experiments.benchmarks.bounds import Bounds
from experiments.benchmarks.cases import Case, Digits, Images, Quadratic
from experiments.benchmarks.device import Device
from experiments.benchmarks.idle import idle_share
from experiments.benchmarks.measure import Competitor, Spread, fastest, paired, ratio, relative_difference, tolerance
from experiments.benchmarks.numpy_heap import numpy_heap

LIMIT_WIDTHS = (1, 8, 32, 128)
WIDER_ON_ACCELERATORS = (512, 2048)
CHECKED_DELIVERIES, CHECKED_OF_A_MODEL = 2000, 128
# The heap loops are slow; their rate does not depend on how long they run.
HEAP_SHARE = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What was measured.

    Attributes:
      case: what.
      lanes, planning_seconds: of the engine.
      difference: between the last points of engine and scan, relative.
      details: of each competitor, e.g. the best width.
      rates: deliveries per second.
      ratios: the engine's rate over another's, by the other's name.
      bounds: what a gradient takes at least.
      idle: share of a long run in which the device waits for the host.
      notes: what is missing, and why.
    """

    case: Case
    lanes: int
    planning_seconds: float
    difference: float
    details: dict[str, str]
    rates: dict[str, Spread]
    ratios: dict[str, Spread]
    bounds: Bounds
    idle: Spread
    notes: list[str]


def compare(case: Case, device: Device, *, repeats: int, lanes: int | None = None) -> Result:
    """Measure a case; ``lanes`` fixes the engine's width, which is else the fastest of some."""
    init_key, key = jax.random.split(jax.random.key(0))
    problem, schedule = case.problem(), case.schedule()
    params = problem.init(init_key)
    planned = {"params": params, "key": key}
    notes: list[str] = []
    prepared = {
        width: engine.prepare(problem, case.optimizer(), schedule, lanes=width, **planned)
        for width in ([lanes] if lanes else engine.widths(schedule))
    }
    ours = fastest(
        [
            Competitor(name="engine", run=one.run, deliveries=len(schedule), detail=str(width))
            for width, one in prepared.items()
        ]
    )
    chosen = prepared[int(ours.detail)]
    prepared.clear()  # the others' plans lie on the device
    difference = check(case, problem, schedule, lanes=chosen.lanes, **planned)
    others = list(_others(case, problem, schedule, notes, lanes=chosen.lanes, **planned))
    rates = paired([ours, *others], repeats=repeats)
    return Result(
        case=case,
        lanes=chosen.lanes,
        planning_seconds=chosen.planning_seconds,
        difference=difference,
        details={other.name: other.detail for other in others if other.detail},
        rates={name: Spread.of(values) for name, values in rates.items()},
        ratios={other.name: ratio(rates, "engine", other.name) for other in others},
        bounds=Bounds.of(chosen, device),
        idle=idle_share(problem, case.optimizer(), schedule, lanes=chosen.lanes, repeats=repeats, **planned),
        notes=notes,
    )


def check(
    case: Case, problem: jasgd.Problem, schedule: jasgd.Schedule, *, lanes: int, params: optax.Params, key: jax.Array
) -> float:
    """The relative difference between engine and scan after the first deliveries; an error if it is more than rounding.

    Both multiply in full precision here: with less, accelerators round one product and many at once differently.
    """
    rounds = case.largest_delay is not None
    deliveries = CHECKED_DELIVERIES if isinstance(case.model, Quadratic | Digits | Images) else CHECKED_OF_A_MODEL
    head = schedule.first_updates(min(schedule.updates, deliveries // (case.workers if rounds else 1)))
    scan = loops.jax_rounds if rounds else loops.jax_scan
    with jax.default_matmul_precision("highest"):
        theirs = scan(problem, case.optimizer(), head, params=params, key=key, job_keys=True)()
        ours = engine.prepare(problem, case.optimizer(), head, lanes=lanes, params=params, key=key).run()
    difference = relative_difference(ours, theirs)
    if not difference <= tolerance(theirs):
        raise AssertionError(
            f"engine and scan end at different points in {case.name}: relative difference {difference:.2e}."
        )
    return difference


def _others(
    case: Case,
    problem: jasgd.Problem,
    schedule: jasgd.Schedule,
    notes: list[str],
    *,
    lanes: int,
    params: optax.Params,
    key: jax.Array,
) -> Iterator[Competitor]:
    """Everybody but the engine, each in its best form."""
    deliveries, heap_deliveries = len(schedule), max(1, len(schedule) // HEAP_SHARE)

    def limit(name: str, width: int) -> Competitor:
        steps = max(1, deliveries // width)
        run = loops.lanes_limit(problem, width, steps, params=params, key=key)
        return Competitor(name=name, run=run, deliveries=steps * width, detail=f"W={width}")

    widths = LIMIT_WIDTHS if jax.default_backend() == "cpu" else LIMIT_WIDTHS + WIDER_ON_ACCELERATORS
    yield fastest([limit("limit", width) for width in widths if width <= case.widest])
    yield limit("as wide", lanes)  # a fleet of skewed speeds cannot fill more lanes
    forms = {"tree": (problem, params)}
    if not isinstance(case.model, Quadratic):
        forms["flat"] = loops.flattened(problem, params)
    scan = loops.jax_scan if case.largest_delay is None else loops.jax_rounds
    yield fastest(
        [
            Competitor(
                name="scan",
                run=scan(form, case.optimizer(), schedule, params=x, key=key),
                deliveries=deliveries,
                detail=detail,
            )
            for detail, (form, x) in forms.items()
        ]
    )
    if case.largest_delay is not None:
        events = dataclasses.replace(case, largest_delay=None).schedule()
        candidates = [
            Competitor(
                name="events",
                run=engine.prepare(problem, case.optimizer(), events, lanes=width, params=params, key=key).run,
                deliveries=len(events),
                detail=f"W={width}",
            )
            for width in engine.widths(events)
        ]
        yield fastest(candidates)
    if case.largest_delay is not None or case.rule != "sgd":
        notes.append("no heap loops: they simulate plain SGD of workers with speeds.")
        return
    if not isinstance(case.model, Quadratic | Digits | Images):
        notes.append("no heap loops: nobody writes this model by hand, in two libraries.")
        return
    if isinstance(case.model, Images):
        notes.append("no NumPy loop: nobody writes convolutions by hand.")
    else:
        run = numpy_heap(case, problem, heap_deliveries, params=params)
        yield Competitor(name="numpy", run=run, deliveries=heap_deliveries)
    if importlib.util.find_spec("torch") is None:
        notes.append("no PyTorch loop: torch is not installed.")
        return
    from experiments.benchmarks.torch_heap import torch_heap

    run = torch_heap(case, problem, heap_deliveries, params=params)
    yield Competitor(name="torch", run=run, deliveries=heap_deliveries)
