"""A plan computed chunk after chunk, so that the device does not wait for the host.

Dispatch is asynchronous: a call of the compiled loop returns before it is computed. While the device computes a chunk, the
host makes the arrays of the next one and sends them. Whoever fetches a chunk's results only after the next one has been
asked for, as :class:`jasgd.recorder.Recorder` does, leaves the device always something to do, as long as making a chunk
takes no longer than computing one.
"""

from collections.abc import Iterator
from typing import Any

import jax

from jasgd import engine
from jasgd.chunks import chunk_arrays
from jasgd.plan import Plan


def computed(
    loop: engine.Loop, plan: Plan, numbers: engine.Numbers, key: jax.Array, state: engine.State, *, begin: int = 0
) -> Iterator[tuple[int, engine.State]]:
    """Ask for chunk after chunk; yields each with the state after it. The memory of earlier states is used again.

    Args:
      loop: the loop that computes the plan.
      plan: what is computed.
      numbers: of the programs of the loop.
      key: of the samples.
      state: where it starts.
      begin: the first chunk.

    Example:
      >>> problem, key = jasgd.problems.quadratic(dim=3), jax.random.key(0)
      >>> program = jasgd.engine.traced(problem, optax.sgd(0.1), problem.init(key), key)
      >>> compiled = jasgd.plan.plan(jasgd.protocols.asynchronous(jasgd.fleet.equal(2), 8), 2, chunk_steps=2)
      >>> loop, state = jasgd.engine.loop_of(program, compiled), jasgd.engine.init(program, compiled)
      >>> [chunk for chunk, _ in computed(loop, compiled, program.numbers, key, state)]
      [0, 1]
    """

    def sent(chunk: int) -> Any:
        arrays = chunk_arrays(loop, plan, chunk)
        return arrays if loop.layout is not None else jax.device_put(arrays)  # a layout says where they go

    following = sent(begin) if begin < plan.chunks else None
    for chunk in range(begin, plan.chunks):
        state = engine.step(loop, numbers, key, state, following)
        following = sent(chunk + 1) if chunk + 1 < plan.chunks else None
        yield chunk, state
