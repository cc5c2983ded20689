r"""Rescaled asynchronous SGD: a step in proportion to the time that its gradient took.

Mahran, Maranjyan, Richtarik, "Rescaled Asynchronous SGD: Optimal Distributed Optimization under Data and System
Heterogeneity", https://arxiv.org/abs/2605.13434. A worker that is k times slower delivers k times less often; with
k times its step, all workers have the same aggregate weight, and the limit is the minimiser of the uniform average.

The paper scales by known computation times. Two forms that need none are ours: by the duration of the very job, whose
weights add up to the elapsed time, and by delay + 1, whose weights add up to the elapsed versions. The paper's
normalising constant is not known to us; three are offered.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jasgd._checks import require_count, require_positive
from jasgd.rules._learning_rate import scale_by_learning_rate

CITATION = """\
@article{mahran2026rescaled,
  title={Rescaled Asynchronous {SGD}: Optimal Distributed Optimization under Data and System Heterogeneity},
  author={Mahran and Maranjyan and Richt{\\'a}rik}, journal={arXiv:2605.13434}, year={2026}}
"""

Normaliser = Literal["harmonic", "arithmetic", "max"]


def scale_by_computation_time(
    times: ArrayLike, normaliser: Normaliser = "harmonic"
) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto (\tau_i / \bar\tau) \, g`, where worker :math:`i` needs :math:`\tau_i` seconds per gradient.

    Args:
      times: (N,) seconds per gradient of every worker.
      normaliser: :math:`\bar\tau`, the "harmonic" mean of the times (the average step is the learning rate, as without
        rescaling), their "arithmetic" mean (the mean over workers is), or their "max" (the largest step is).

    Returns:
      A transformation whose ``update`` needs the keyword ``worker``. A worker that has no time gives NaN.

    Example:
      >>> rule = jasgd.rules.scale_by_computation_time([1.0, 8.0])
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), worker=1)
      >>> float(gradient[0])
      4.5
    """
    seconds = np.asarray(times, np.float64)
    if seconds.ndim != 1 or not len(seconds):
        raise ValueError(f"`times` must be one number per worker, got an array of shape {seconds.shape}.")
    wrong = np.flatnonzero(~(np.isfinite(seconds) & (seconds > 0)))
    if len(wrong):
        raise ValueError(f"`times` must be positive and finite, but worker {wrong[0]} has {seconds[wrong[0]]}.")
    means = {"harmonic": 1 / np.mean(1 / seconds), "arithmetic": seconds.mean(), "max": seconds.max()}
    if normaliser not in means:
        raise ValueError(f"`normaliser` must be one of {tuple(means)}, got {normaliser!r}.")
    weights = jnp.asarray(seconds / means[normaliser])

    def update_fn(updates: Any, state: Any, params: Any = None, *, worker: Any, **extra_args: Any) -> Any:
        del params, extra_args
        factor = weights.at[worker].get(mode="fill", fill_value=jnp.nan)
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def rescaled_sgd(
    learning_rate: optax.ScalarOrSchedule, times: ArrayLike, *, normaliser: Normaliser = "harmonic"
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta \tau_i / \bar\tau`; needs the keyword ``worker``.

    Example:
      >>> rule = jasgd.rules.rescaled_sgd(0.1, times=[1.0, 8.0])
    """
    return optax.chain(scale_by_computation_time(times, normaliser), scale_by_learning_rate(learning_rate))


def scale_by_duration(mean_duration: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto (\text{duration} / \bar\tau) \, g`: the seconds of this very job, nothing known in advance.

    The jobs of a worker that never idles tile the time axis, so in any time T every worker has weight
    :math:`T / \bar\tau`, up to its job in flight.

    Args:
      mean_duration: :math:`\bar\tau` in seconds; with the harmonic mean of the computation times the average step is the
        learning rate.

    Returns:
      A transformation whose ``update`` needs the keyword ``duration``.

    Example:
      >>> rule = jasgd.rules.scale_by_duration(2.0)
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), duration=3.0)
      >>> float(gradient[0])
      1.5
    """
    require_positive("mean_duration", mean_duration)

    def update_fn(updates: Any, state: Any, params: Any = None, *, duration: Any, **extra_args: Any) -> Any:
        del params, extra_args
        factor = jnp.asarray(duration) / mean_duration
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def rescaled_sgd_by_duration(
    learning_rate: optax.ScalarOrSchedule, mean_duration: ArrayLike
) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta \, \text{duration} / \bar\tau`; needs the keyword ``duration``.

    Example:
      >>> rule = jasgd.rules.rescaled_sgd_by_duration(0.1, mean_duration=2.0)
    """
    return optax.chain(scale_by_duration(mean_duration), scale_by_learning_rate(learning_rate))


def scale_by_delay_share(num_workers: int) -> optax.GradientTransformationExtraArgs:
    r""":math:`g \mapsto \frac{\tau + 1}{n} \, g`: neither a clock nor speeds, only the delay.

    The jobs of a worker that never idles tile the versions, so after K updates every worker has weight :math:`K / n`, up
    to its job in flight. It is the opposite of damping by delay, which adds to the bias towards fast workers.

    Returns:
      A transformation whose ``update`` needs the keyword ``delay``.

    Example:
      >>> rule = jasgd.rules.scale_by_delay_share(num_workers=4)
      >>> gradient, _ = rule.update(jnp.ones(1), rule.init(jnp.ones(1)), delay=5)
      >>> float(gradient[0])
      1.5
    """
    require_count("num_workers", num_workers)

    def update_fn(updates: Any, state: Any, params: Any = None, *, delay: Any, **extra_args: Any) -> Any:
        del params, extra_args
        factor = (1.0 + jnp.asarray(delay)) / num_workers
        return jax.tree.map(lambda g: factor.astype(g.dtype) * g, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update_fn)


def rescaled_sgd_by_delay(learning_rate: optax.ScalarOrSchedule, num_workers: int) -> optax.GradientTransformationExtraArgs:
    r"""SGD with steps :math:`\eta (\tau + 1) / n`; needs the keyword ``delay``.

    Example:
      >>> rule = jasgd.rules.rescaled_sgd_by_delay(0.1, num_workers=4)
    """
    return optax.chain(scale_by_delay_share(num_workers), scale_by_learning_rate(learning_rate))
