"""What is minimised: an objective, the data of each worker, and metrics."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from numpy.typing import ArrayLike

from jasgd._checks import require_count, require_function
from jasgd.read_models import ReadModel

Batch = Any
_FUNCTIONS = {"init": ("key",), "loss": ("params", "batch"), "sample": ("key", "worker"), "metrics": ("params",)}
Metrics = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """An objective whose stochastic gradients the workers compute.

    Attributes:
      init: ``init(key) -> params``, the starting point; any pytree.
      loss: ``loss(params, batch) -> scalar``, differentiated at the worker's snapshot.
      sample: ``sample(key, worker) -> batch``, one worker's data for one job; the key belongs to this job alone.
      metrics: ``metrics(params) -> dict`` of scalars to record, at least ``loss`` and ``grad_norm`` of the objective.
      gradient: ``gradient(params, batch) -> tree like params``; by default, and with None, ``jax.grad(loss)``.
      mean_sample: ``mean_sample(key, worker, count) -> batch``, one batch whose gradient has, at every point, the law of the
        mean of ``count`` independent stochastic gradients; for problems where that costs less than these. The count may be
        traced.
      partial: ``partial(params, batch, coordinates) -> values``, the entries of the gradient with these indices, (Y,) whole
        numbers that count through all leaves as :func:`jax.flatten_util.ravel_pytree` does; for problems where a few
        entries cost less than all.
      num_workers: how many workers have data; None: any number.
      name: for results.
      facts: known constants, e.g. the smoothness or the smallest loss.
      job_gradients, job_messages: gradients that a job computes and messages that it sends, a number or one per worker, as
        an oracle (:mod:`jasgd.oracles`) makes them; None: one.
      message_bytes: ``message_bytes(params)``, bytes of one message; by default those of a gradient.
      read_model: what a worker reads (:mod:`jasgd.read_models`), where an oracle says so; None: one version.

    Example:
      >>> problem = jasgd.Problem(
      ...     init=lambda key: jnp.ones(3),
      ...     loss=lambda params, noise: 0.5 * jnp.sum((params - noise) ** 2),
      ...     sample=lambda key, worker: 0.1 * jax.random.normal(key, (3,)),
      ...     metrics=lambda params: {"loss": 0.5 * jnp.sum(params**2), "grad_norm": jnp.linalg.norm(params)},
      ... )
    """

    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, Batch], jax.Array]
    sample: Callable[[jax.Array, jax.Array], Batch]
    metrics: Callable[[Any], Metrics]
    gradient: Callable[[Any, Batch], Any] = None  # type: ignore[assignment]
    mean_sample: Callable[[jax.Array, jax.Array, jax.Array], Batch] | None = None
    partial: Callable[[Any, Batch, jax.Array], jax.Array] | None = None
    num_workers: int | None = None
    name: str = "problem"
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    job_gradients: ArrayLike | None = None
    job_messages: ArrayLike | None = None
    message_bytes: Callable[[Any], float] | None = None
    read_model: ReadModel | None = None
    # Which gradient came with which loss, so that `dataclasses.replace` cannot tear them apart.
    _together: tuple[Any, Any] | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, arguments in _FUNCTIONS.items():
            require_function(name, getattr(self, name), *arguments)
        if self.num_workers is not None:
            require_count("num_workers", self.num_workers)
        loss, gradient = self._together or (self.loss, self.gradient)
        by_jax = isinstance(self.gradient, _Differentiated)
        if self.gradient is gradient and self.loss is not loss and not by_jax:
            raise ValueError(
                f"`loss` of {self.name} was replaced but not its `gradient`; give both, or gradient=None for jax.grad(loss)."
            )
        if self.gradient is None or (by_jax and self.loss is not loss):
            object.__setattr__(self, "gradient", _Differentiated(self.loss))
        object.__setattr__(self, "_together", (self.loss, self.gradient))


class _Differentiated:
    """The gradient of a loss, by JAX."""

    def __init__(self, loss: Callable[[optax.Params, Batch], Any]) -> None:
        self.loss, self._gradient = loss, jax.grad(_scalar(loss))

    def __call__(self, params: optax.Params, batch: Batch) -> Any:
        return self._gradient(params, batch)


def differentiates(problem: Problem) -> bool:
    """Whether a problem's gradient is that of its own loss by JAX, and not one that somebody wrote.

    Example:
      >>> from jasgd.problems.problem import differentiates
      >>> differentiates(jasgd.problems.mlp(2)), differentiates(jasgd.problems.quadratic(3))
      (True, False)
    """
    return isinstance(problem.gradient, _Differentiated) and problem.gradient.loss is problem.loss


def _scalar(loss: Callable[[optax.Params, Batch], Any]) -> Callable[[optax.Params, Batch], jax.Array]:
    """The loss, which must be one real number."""

    def checked(params: optax.Params, batch: Batch) -> jax.Array:
        value = loss(params, batch)
        if isinstance(value, tuple):
            raise TypeError(
                "`loss` must return the loss alone, got a tuple; what else is to be recorded belongs to `metrics`"
            )
        if value is None or jnp.shape(value) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
            what = "nothing" if value is None else f"{jnp.result_type(value)}{list(jnp.shape(value))}"
            raise TypeError(f"`loss` must return one real number, such as jnp.mean(errors), got {what}")
        return jnp.asarray(value)

    return checked
