"""What a gradient takes at least: operations to start, bytes to move, arithmetic; and which of these limits the engine."""

import dataclasses

import jax
import numpy as np

from experiments.benchmarks.device import Device
from experiments.benchmarks.engine import Prepared
from experiments.benchmarks.launches import per_step
from jasgd import engine
from jasgd.cost import operations
from jasgd.traced import tree_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """Two numbers first: the bytes and the operations that must happen; and how many operations the program starts for them.

    Attributes:
      launches_per_step: operations that a step of the compiled loop starts (:mod:`experiments.benchmarks.launches`).
      launches, bytes, operations: of one gradient.
      seconds: of one gradient, if nothing but launches, bytes or arithmetic took time.
    """

    launches_per_step: float
    launches: float
    bytes: float
    operations: float
    seconds: dict[str, float]

    @classmethod
    def of(cls, prepared: Prepared, device: Device) -> "Bounds":
        """Those of a planned simulation."""
        gradients_per_step = len(prepared.plan.schedule) / prepared.plan.steps
        per_step = launches_per_step(prepared)
        launches, moved = per_step / gradients_per_step, bytes_per_gradient(prepared)
        arithmetic = operations(prepared.program.gradient)
        return cls(
            launches_per_step=per_step,
            launches=launches,
            bytes=moved,
            operations=arithmetic,
            seconds={
                "launches": launches * device.launch_seconds,
                "bytes": moved / device.bytes_per_second,
                "arithmetic": arithmetic / device.operations_per_second,
            },
        )

    @property
    def limit(self) -> str:
        """What would take longest."""
        return max(self.seconds, key=lambda name: self.seconds[name])


def launches_per_step(prepared: Prepared) -> float:
    """Count them in the program that the device runs."""
    state = jax.eval_shape(lambda: engine.init(prepared.program, prepared.plan))
    lowered = engine.step.lower(prepared.loop, prepared.program.numbers, prepared.key, state, prepared.chunks[0])
    deliveries = len(prepared.plan.schedule) / prepared.plan.steps
    return per_step(lowered.compile().as_text(), block=prepared.loop.block, deliveries=deliveries)


def bytes_per_gradient(prepared: Prepared) -> float:
    """Sizes that are known: what has to be moved if every array of a step is read once and written once.

    A snapshot is read (in rounds at one point, one for all lanes); a version is written if somebody will read it; a gradient
    and a sample are written and read; and once per step the server's point and the rule's state are read and written.
    """
    program, plan, loop = prepared.program, prepared.plan, prepared.loop
    snapshot = tree_bytes(program.params)
    read = 1 / plan.lanes if loop.common_point else 1
    written = float(np.mean(plan.write_slot < plan.slots))
    server = 2 * (snapshot + tree_bytes(program.rule_state)) * plan.steps / len(plan.schedule)
    return (read + written + 2) * snapshot + 2 * program.batch_bytes + server
