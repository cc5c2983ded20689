"""Classification with one shard of the data per worker: logistic regression, and any Flax model."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from jasgd._checks import numbers, require_count, require_not_negative, require_type, said
from jasgd.problems import partition
from jasgd.problems.problem import Problem

# Numbers of the inputs in a slice of the metrics; of them a network keeps a thousand times as many for its gradient.
_AT_ONCE = 2**19


class Dataset(NamedTuple):
    """Examples and their classes.

    Attributes:
      inputs: (M, ...) float32.
      labels: (M,) whole numbers from 0 on.

    Example:
      >>> data = jasgd.problems.Dataset(inputs=np.eye(3, dtype=np.float32), labels=np.array([0, 1, 1]))
      >>> problem = jasgd.problems.logistic_regression(3, data=data, batch=1)
    """

    inputs: np.ndarray
    labels: np.ndarray


def digits() -> Dataset:
    """The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn, shuffled, scaled to [0, 1].

    Example:
      >>> jasgd.problems.digits().inputs.shape
      (1797, 64)
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError('the digits come with scikit-learn: pip install "jasgd[experiments]".') from None
    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return Dataset((inputs[order] / 16).astype(np.float32), labels[order].astype(np.int32))


def classification(
    model: nn.Module,
    shards: int | Sequence[ArrayLike],
    *,
    data: Dataset | None = None,
    batch: int = 32,
    l2: float = 0.0,
    name: str | None = None,
) -> Problem:
    """Softmax cross-entropy of a Flax model; a job draws ``batch`` examples of the worker's shard, with replacement.

    Args:
      model: a Flax linen module that maps inputs to logits.
      shards: for each worker the indices of its examples (see :mod:`jasgd.problems.partition`); a number ``n``: the
        data dealt out evenly at random to ``n`` workers.
      data: by default the digits.
      batch: examples per job.
      l2: adds ``l2 / 2`` times the squared norm of the parameters.
      name: for results.

    Example:
      >>> import flax.linen as nn
      >>> problem = jasgd.problems.classification(nn.Dense(10), 100, batch=8)
    """
    data = digits() if data is None else _checked(data)
    if isinstance(shards, int | np.integer):
        shards = partition.iid(data.labels, int(shards))
    rows, start, size = _flatten(shards, len(data.labels))
    require_count("batch", batch)
    require_not_negative("l2", l2)
    require_type("model", model, nn.Module, "a Flax linen module such as flax.linen.Dense(10)")
    classes = int(data.labels.max()) + 1
    logits = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x)[0], data.inputs[:1]).shape
    if logits != (1, classes):
        raise ValueError(
            f"the model must map one example of shape {data.inputs.shape[1:]} to logits of shape (1, {classes}), as the "
            f"data have {classes} classes; it gives {logits}."
        )
    # In the order of the shards, so that a worker's examples lie side by side.
    inputs, labels = jnp.asarray(data.inputs[rows]), jnp.asarray(data.labels[rows], jnp.int32)
    targets = jax.nn.one_hot(labels, classes, dtype=inputs.dtype)
    starts, sizes = jnp.asarray(start, jnp.int32), jnp.asarray(size, jnp.int32)

    def sample(key: jax.Array, worker: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen = starts[worker] + jax.random.randint(key, (batch,), 0, sizes[worker])
        return inputs[chosen], targets[chosen]

    def loss(params: optax.Params, examples: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, target = examples
        logits = model.apply(params, x)
        entropy = jnp.mean(jax.nn.logsumexp(logits, axis=-1) - jnp.sum(target * logits, axis=-1))
        return entropy + 0.5 * l2 * optax.tree.norm(params, squared=True) if l2 else entropy

    def metrics(params: optax.Params) -> dict[str, jax.Array]:
        def measured(x: jax.Array, target: jax.Array, label: jax.Array) -> tuple[jax.Array, optax.Updates, jax.Array]:
            value, gradient = jax.value_and_grad(loss)(params, (x, target))
            hits = jnp.argmax(model.apply(params, x), axis=-1) == label
            return value, gradient, jnp.mean(hits, dtype=jnp.float32)

        size = max(1, _AT_ONCE // max(1, data.inputs[0].size))
        value, gradient, accuracy = _mean_over_slices(measured, (inputs, targets, labels), size)
        return {"loss": value, "grad_norm": optax.tree.norm(gradient), "accuracy": accuracy}

    return Problem(
        init=lambda key: model.init(key, inputs[:1]),
        loss=loss,
        sample=sample,
        metrics=metrics,
        num_workers=len(size),
        name=name or f"classification({type(model).__name__}, workers={len(size)}, batch={batch})",
        facts={"examples": len(rows), "classes": classes},
    )


def logistic_regression(
    shards: int | Sequence[ArrayLike], *, data: Dataset | None = None, batch: int = 32, l2: float = 0.0
) -> Problem:
    """Multinomial logistic regression, by default on the digits; images are flattened.

    Example:
      >>> problem = jasgd.problems.logistic_regression(100)
      >>> problem.num_workers
      100
    """
    data = digits() if data is None else _checked(data)
    return classification(
        nn.Dense(int(np.max(data[1])) + 1),
        shards,
        data=Dataset(data.inputs.reshape(len(data.inputs), -1), data.labels),
        batch=batch,
        l2=l2,
        name=f"logistic_regression(batch={batch}, l2={l2})",
    )


class _MLP(nn.Module):
    sizes: tuple[int, ...]
    activation: Callable[[Any], Any] = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for size in self.sizes[:-1]:
            x = self.activation(nn.Dense(size)(x))
        return nn.Dense(self.sizes[-1])(x)


def mlp(
    shards: int | Sequence[ArrayLike],
    *,
    hidden: Sequence[int] = (64,),
    data: Dataset | None = None,
    batch: int = 32,
    l2: float = 0.0,
) -> Problem:
    """A perceptron with hidden layers of rectified units, by default 64-64-10 on the digits.

    Example:
      >>> problem = jasgd.problems.mlp(100, hidden=(32, 32))
    """
    data = digits() if data is None else _checked(data)
    for size in hidden if isinstance(hidden, Sequence) else [hidden]:
        require_count("hidden", size)
    if not isinstance(hidden, Sequence):
        raise ValueError(f"`hidden` must hold the size of every layer, such as ({hidden},), got {hidden}.")
    sizes = (*hidden, int(np.max(data[1])) + 1)
    return classification(_MLP(sizes), shards, data=data, batch=batch, l2=l2, name=f"mlp{sizes}(batch={batch}, l2={l2})")


def _checked(data: Any) -> Dataset:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise ValueError(f"`data` must be a pair (inputs, labels) such as jasgd.problems.digits(), got {said(data)}.")
    inputs, labels = numbers("inputs", data[0], np.float32), np.asarray(data[1])
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise ValueError(f"inputs and labels must be as many, (M, ...) and (M,), got {inputs.shape} and {labels.shape}.")
    if not len(labels):
        raise ValueError("the data must hold at least one example; they are empty.")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(f"labels must be whole numbers from 0 on, e.g. of dtype int32, got {said(labels)}.")
    if not np.isfinite(inputs).all():
        raise ValueError(f"example {int(np.argwhere(~np.isfinite(inputs))[0][0])} of the data is not finite; leave it out.")
    return Dataset(inputs, labels)


def _mean_over_slices(measured: Callable[..., Any], examples: tuple[jax.Array, ...], size: int) -> Any:
    """What ``measured`` finds, a mean over examples: of all at once, or of at most ``size`` at a time."""
    count = len(examples[0])
    if count <= size:
        return measured(*examples)

    def part(start: int | jax.Array, length: int) -> Any:
        found = measured(*(jax.lax.dynamic_slice_in_dim(array, start, length) for array in examples))
        return jax.tree.map(lambda value: length / count * value, found)

    slices, rest = divmod(count, size)
    first = part(slices * size, rest) if rest else jax.tree.map(jnp.zeros_like, jax.eval_shape(lambda: part(0, size)))
    return jax.lax.fori_loop(0, slices, lambda i, total: jax.tree.map(jnp.add, total, part(i * size, size)), first)


def _flatten(shards: Sequence[ArrayLike], examples: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All shards in one array, where each starts, and how long it is."""
    if not isinstance(shards, Sequence | np.ndarray):
        raise ValueError(f"`shards` must be how many workers there are, or the examples of each, got {said(shards)}.")
    parts = [np.asarray(shard) for shard in shards]
    if not parts:
        raise ValueError("`shards` must hold one array of indices per worker; it is empty.")
    for worker, part in enumerate(parts):
        if part.ndim != 1 or not len(part) or not np.issubdtype(part.dtype, np.integer):
            raise ValueError(f"the shard of worker {worker} must be a flat, non-empty array of indices, got {part!r}.")
        if part.min() < 0 or part.max() >= examples:
            raise ValueError(f"the shard of worker {worker} refers to examples outside 0 to {examples - 1}.")
    size = np.array([len(part) for part in parts])
    return np.concatenate(parts), np.cumsum(size) - size, size
