"""A plan computed chunk after chunk, so that the device does not wait for the host.

Dispatch is asynchronous: a call of the compiled loop sends its arrays and returns before they are there and computed. While
the device computes a chunk, the host makes the arrays of the next one. Whoever fetches the records of a chunk only after
the next one has been asked for, as :class:`jasgd.recorder.Recorder` does, leaves the device always something to do, as long
as a chunk is not made more slowly than it is computed.
"""

from collections.abc import Iterator

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
    arrays = chunk_arrays(loop, plan, begin) if begin < plan.chunks else {}
    for chunk in range(begin, plan.chunks):
        state = engine.step(loop, numbers, key, state, arrays)  # which sends them; `device_put` takes the host longer
        if chunk + 1 < plan.chunks:
            arrays = chunk_arrays(loop, plan, chunk + 1)
        yield chunk, state
