"""The heap loop in NumPy: gradients by hand, all parameters in one float32 vector in the order of ``ravel_pytree``."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import jasgd
from experiments.benchmarks.cases import Case, Digits, Quadratic
from experiments.benchmarks.heap import heap_loop


class Oracle(NamedTuple):
    """A problem in NumPy: ``sample(rng, worker) -> batch`` and ``gradient(x, batch) -> g``, a new array."""

    sample: Callable[[np.random.Generator, int], Any]
    gradient: Callable[[np.ndarray, Any], np.ndarray]


def numpy_heap(case: Case, problem: jasgd.Problem, deliveries: int, *, params: optax.Params) -> Callable[[], np.ndarray]:
    """Plain SGD with a heap; returns a function that runs it once."""
    oracle = oracle_of(case, problem)
    start, rate, times = np.asarray(ravel_pytree(params)[0]), np.float32(case.learning_rate), case.fleet().times

    def run() -> np.ndarray:
        rng = np.random.default_rng(0)

        def update(point: np.ndarray, snapshot: np.ndarray, worker: int) -> np.ndarray:
            g = oracle.gradient(snapshot, oracle.sample(rng, worker))
            g *= rate
            return np.subtract(point, g, out=g)

        return heap_loop(times, deliveries, start, update)

    return run


def oracle_of(case: Case, problem: jasgd.Problem) -> Oracle:
    """The gradients of a case, written by hand."""
    match case.model:
        case Quadratic():
            return _quadratic(case.model, problem)
        case Digits():
            return _digits(case.model, case.workers)
        case _:
            raise ValueError(f"there is no NumPy loop for {case.name}: nobody writes convolutions by hand.")


def _quadratic(model: Quadratic, problem: jasgd.Problem) -> Oracle:
    sigma, dim = np.float32(model.noise), model.dim
    if model.dense:
        # The gradient is affine, so its values at the unit vectors are the matrix.
        noiseless = jax.vmap(problem.gradient, in_axes=(0, None))
        matrix = np.asarray(noiseless(jnp.eye(dim), jnp.zeros(())))

    def exact(x: np.ndarray) -> np.ndarray:
        if model.dense:
            return matrix @ x
        quarter = 0.25 * x
        g = quarter + quarter
        g[1:] -= quarter[:-1]
        g[:-1] -= quarter[1:]
        g[0] += 0.25
        return g

    def sample(rng: np.random.Generator, worker: int) -> Any:
        del worker
        if not model.noise:
            return None
        if model.noise_kind == "scalar":
            return sigma * rng.standard_normal(dtype=np.float32)
        z = rng.standard_normal(dim, dtype=np.float32)
        z *= sigma
        return z

    def gradient(x: np.ndarray, z: Any) -> np.ndarray:
        g = exact(x)
        if z is not None:
            g += z
        return g

    return Oracle(sample, gradient)


def _digits(model: Digits, workers: int) -> Oracle:
    data = jasgd.problems.digits()
    shards = jasgd.problems.partition.iid(data.labels, workers)
    rows, sizes = np.concatenate(shards), [len(shard) for shard in shards]
    starts = np.cumsum([0, *sizes]).tolist()
    inputs, targets = data.inputs[rows], np.eye(10, dtype=np.float32)[data.labels[rows]]
    widths = [inputs.shape[1], *model.hidden, 10]
    layers, at = [], 0  # of each layer the places of its bias and its matrix
    for fan_in, fan_out in itertools.pairwise(widths):
        middle, end = at + fan_out, at + fan_out + fan_in * fan_out
        layers.append((slice(at, middle), slice(middle, end), (fan_in, fan_out)))
        at = end
    last = len(layers) - 1

    def sample(rng: np.random.Generator, worker: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = starts[worker] + rng.integers(0, sizes[worker], model.batch)
        return inputs[chosen], targets[chosen]

    def gradient(x: np.ndarray, batch: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        h, target = batch
        entering = []
        for index, (bias, kernel, shape) in enumerate(layers):
            entering.append(h)
            h = h @ x[kernel].reshape(shape)
            h += x[bias]
            if index < last:
                np.maximum(h, 0.0, out=h)
        h -= h.max(axis=1, keepdims=True)
        np.exp(h, out=h)
        h /= h.sum(axis=1, keepdims=True)
        h -= target
        h *= np.float32(1 / len(h))
        g = np.empty_like(x)
        for index in range(last, -1, -1):
            bias, kernel, shape = layers[index]
            np.matmul(entering[index].T, h, out=g[kernel].reshape(shape))
            h.sum(axis=0, out=g[bias])
            if index:
                h = h @ x[kernel].reshape(shape).T
                h *= entering[index] > 0
        return g

    return Oracle(sample, gradient)
