r"""SMEGA2: one momentum for all workers, refreshed once per N gradients, with an exact look-ahead.

Cohen, Hakimi, Schuster, "SMEGA2: Distributed Asynchronous Deep Neural Network Training With a Single Momentum Buffer",
ICPP 2022. Over a cycle of N gradients the parameters move as momentum SGD with learning rate :math:`\eta N` on the mean.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_momentum, require_not_negative
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@inproceedings{cohen2022smega2,
  title={{SMEGA2}: Distributed Asynchronous Deep Neural Network Training With a Single Momentum Buffer},
  author={Cohen and Hakimi and Schuster}, booktitle={ICPP}, year={2022}}
"""


class Smega2State(NamedTuple):
    """State of :func:`scale_by_smega2`."""

    cycle_momentum: optax.Updates  # m, like the parameters
    cycle_sum: optax.Updates  # s, like the parameters
    sent_offset: optax.Updates  # like the parameters: what is sent, minus the parameters
    cycle_count: jax.Array  # (), int32, k


def scale_by_smega2(
    momentum: ArrayLike, num_workers: int, *, learning_rate: ArrayLike, advanced: bool = True
) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto g + \gamma m`; after every N gradients, of sum s, :math:`m \leftarrow \gamma m + s / N`.

    Workers are sent :math:`w - \eta \gamma [(N + k (\gamma - 1)) m + (k / N) s]`, with k gradients in the current cycle:
    where the parameters will be after N more steps if no gradient came.

    Args:
      momentum: :math:`\gamma` in [0, 1).
      num_workers: N.
      learning_rate: the constant :math:`\eta` by which the result is scaled afterwards; here it only enters what is sent.
      advanced: False sends the simpler estimate :math:`w - \eta \gamma N m`.

    Example:
      >>> rule = jasgd.rules.scale_by_smega2(0.5, num_workers=2, learning_rate=1.0)
      >>> update, state = rule.update(jnp.ones(1), rule.init(jnp.ones(1)))
      >>> float(state.sent_offset[0])
      -0.25
    """
    require_momentum(momentum)
    require_count("num_workers", num_workers)
    require_not_negative("learning_rate", learning_rate)
    n = num_workers

    def init_fn(params: optax.Params) -> Smega2State:
        zeros = optax.tree.zeros_like(params)
        return Smega2State(
            cycle_momentum=zeros,
            cycle_sum=optax.tree.zeros_like(params),
            sent_offset=optax.tree.zeros_like(params),
            cycle_count=jnp.zeros([], jnp.int32),
        )

    def update_fn(updates: Any, state: Smega2State, params: Any = None, **extra_args: Any) -> Any:
        del params, extra_args
        k = (state.cycle_count + 1) % n
        m = state.cycle_momentum
        s = optax.tree.add(state.cycle_sum, updates)
        moved = jax.tree.map(lambda g, a: (g + momentum * a).astype(g.dtype), updates, m)
        m = jax.tree.map(lambda a, b: jnp.where(k == 0, momentum * a + b / n, a).astype(a.dtype), m, s)
        s = jax.tree.map(lambda b: jnp.where(k == 0, jnp.zeros_like(b), b), s)
        on_m = n + k * (momentum - 1) if advanced else jnp.asarray(n)
        on_s = 1.0 * k / n if advanced else jnp.zeros([])  # int32 / int32 is single precision
        offset = jax.tree.map(
            lambda a, b: (-1.0 * learning_rate * momentum * (on_m.astype(a.dtype) * a + on_s.astype(b.dtype) * b)).astype(
                a.dtype
            ),
            m,
            s,
        )
        return moved, Smega2State(cycle_momentum=m, cycle_sum=s, sent_offset=offset, cycle_count=k)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def smega2(
    learning_rate: ArrayLike, momentum: ArrayLike, num_workers: int, *, advanced: bool = True
) -> optax.GradientTransformationExtraArgs:
    """SMEGA2; asks for nothing, and for gradients at :func:`jasgd.rules.sent_params`.

    Example:
      >>> rule = jasgd.rules.smega2(0.01, momentum=0.9, num_workers=16)
    """
    return optax.chain(
        scale_by_smega2(momentum, num_workers, learning_rate=learning_rate, advanced=advanced),
        scale_by_learning_rate(learning_rate),
    )
