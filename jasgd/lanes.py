"""How many gradients to compute together: W is measured on the device, not guessed.

More lanes than deliveries / critical path cannot be filled. Below that, it depends on the hardware and the problem: on a CPU
one lane is often best for small models, on a GPU every step costs its launch and lanes are everything.
"""

import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jasgd import chunks, engine, fleet
from jasgd.cost import operations
from jasgd.plan import plan
from jasgd.program import Program
from jasgd.protocols.asynchronous import asynchronous
from jasgd.schedule import Schedule
from jasgd.summary import critical_path

_WORTH_MEASURING = 5.0  # seconds of estimated simulation, below which compiling several widths costs more than it saves
_FEW = 100_000  # deliveries, a guess: fewer an accelerator computes sooner than it compiles something to be measured
_measured: dict["_Case", float] = {}


class _Case(NamedTuple):
    programs: tuple[Program, Program, Program]
    device: str
    lanes: int


def choose_lanes(program: engine.Traced, schedule: Schedule, *, room: int) -> int:
    """A good number of lanes for a schedule on the default device.

    Args:
      program: the traced problem and rule.
      schedule: what is to be computed.
      room: most lanes that memory allows.

    Returns:
      W. Rounds in which all gradients are computed at once get one lane per gradient where that fits; everything else the
      fastest of a few widths, if the simulation is long enough to make the measurement worth it.
    """
    return choose_form([program], schedule, room=room)[1]


def choose_form(programs: Sequence[engine.Traced], schedule: Schedule, *, room: int) -> tuple[engine.Traced, int]:
    """Which of several forms of one program to compute, and the lanes; without a measurement, the first."""
    first = programs[0]
    if first.needs_stale_params or first.read_model is not None:
        return first, 1
    rounds = gradients_per_round(schedule)
    if 1 < rounds <= room:
        return first, rounds
    most = min(max(1, len(schedule) // critical_path(schedule)), room)
    widths = [w for w in (1, 4, 16, 64, 256, 1024) if w <= most]
    if jax.default_backend() == "cpu":
        unmeasured, seconds = 1, seconds_per_delivery(first)
    else:
        unmeasured = min(widths[-1], 256)
        seconds = _measure(first, unmeasured) if len(schedule) > _FEW else 0.0
    if len(schedule) * seconds < _WORTH_MEASURING:
        return first, unmeasured
    return min(itertools.product(programs, widths), key=lambda form: _measure(*form))


def gradients_per_round(schedule: Schedule) -> int:
    """How many gradients every server step uses, if that is always the same number; else 1."""
    rows, updates = len(schedule), schedule.updates
    if not updates or rows % updates or rows == updates:
        return 1
    size = rows // updates
    return size if bool(schedule.apply[size - 1 :: size].all()) else 1


def seconds_per_delivery(program: engine.Traced) -> float:
    """A rough estimate for a CPU from the operations of one gradient."""
    return 3e-6 + operations(program.gradient) / 4e10


def _measure(program: engine.Traced, lanes: int) -> float:
    """Seconds per delivery of the engine itself, on workers of equal speed that fill the lanes; too many take for ever."""
    case = _Case((program.sample, program.gradient, program.rule), str(jax.devices()[0]), lanes)
    if case not in _measured:
        try:
            _measured[case] = _seconds(program, lanes)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            _measured[case] = np.inf
    return _measured[case]


def _seconds(program: engine.Traced, lanes: int) -> float:
    steps = max(16, 512 // lanes)
    compiled = plan(asynchronous(fleet.equal(lanes), steps * lanes), lanes)
    loop = engine.loop_of(program, compiled)
    chunk = jax.device_put(chunks.chunk_arrays(loop, compiled, 0))
    key = jax.random.key(0)
    state, best, spent = engine.init(program, compiled), np.inf, 0.0
    for repeat in range(20):
        start = time.perf_counter()
        state = jax.block_until_ready(engine.step(loop, program.numbers, key, state, chunk))
        if repeat:
            best, spent = min(best, time.perf_counter() - start), spent + time.perf_counter() - start
        if spent > 0.2:
            break
    return best / (steps * lanes)
