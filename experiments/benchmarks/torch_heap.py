"""The heap loop in PyTorch: autograd, all parameters in one float32 vector, one thread.

The vector holds, layer after layer, bias and kernel; kernels of convolutions as (out, in, height, width).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch.nn import functional

import jasgd
from experiments.benchmarks.cases import Case, Digits, Images, Quadratic
from experiments.benchmarks.heap import heap_loop


class Oracle(NamedTuple):
    """A problem in PyTorch: ``sample(worker) -> batch`` and ``gradient(x, batch) -> g``."""

    sample: Callable[[int], Any]
    gradient: Callable[[torch.Tensor, Any], torch.Tensor]


def torch_heap(case: Case, problem: jasgd.Problem, deliveries: int, *, params: optax.Params) -> Callable[[], np.ndarray]:
    """Plain SGD with a heap; returns a function that runs it once."""
    torch.set_num_threads(1)
    start, rate, times = vector_of(params), case.learning_rate, case.fleet().times
    oracle = oracle_of(case, problem, params)

    def update(point: torch.Tensor, snapshot: torch.Tensor, worker: int) -> torch.Tensor:
        return torch.sub(point, oracle.gradient(snapshot, oracle.sample(worker)), alpha=rate)

    return lambda: heap_loop(times, deliveries, start, update).numpy()


def vector_of(params: optax.Params) -> torch.Tensor:
    """Parameters, or a gradient, as this loop keeps them."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    return torch.from_numpy(np.concatenate([leaf.transpose(_channels_first(leaf)).ravel() for leaf in leaves]))


def oracle_of(case: Case, problem: jasgd.Problem, params: optax.Params) -> Oracle:
    """The samples of a case, and its gradients by autograd."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(case.model, Quadratic):
        return _quadratic(case.model, problem, generator)
    return _network(case.model, case.workers, params, generator)


def _quadratic(model: Quadratic, problem: jasgd.Problem, generator: torch.Generator) -> Oracle:
    if model.dense:
        noiseless = jax.vmap(problem.gradient, in_axes=(0, None))
        matrix = torch.from_numpy(np.array(noiseless(jnp.eye(model.dim), jnp.zeros(()))))

    def loss(x: torch.Tensor) -> torch.Tensor:
        if model.dense:
            return 0.5 * torch.dot(x, matrix @ x)
        return 0.25 * (torch.dot(x, x) - torch.dot(x[1:], x[:-1]) + x[0])

    def sample(worker: int) -> Any:
        del worker
        size = (model.dim,) if model.noise_kind == "iid" else ()
        return torch.randn(size, generator=generator).mul_(model.noise) if model.noise else None

    def gradient(x: torch.Tensor, z: Any) -> torch.Tensor:
        x = x.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(loss(x), x)
        return g if z is None else g.add_(z)

    return Oracle(sample, gradient)


def _network(model: Digits | Images, workers: int, params: optax.Params, generator: torch.Generator) -> Oracle:
    data = jasgd.problems.digits() if isinstance(model, Digits) else model.data()
    shards = jasgd.problems.partition.iid(data.labels, workers)
    rows, sizes = np.concatenate(shards), [len(shard) for shard in shards]
    starts = np.cumsum([0, *sizes]).tolist()
    images = data.inputs[rows]
    inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(_channels_first(images, of_data=True))))
    labels = torch.from_numpy(data.labels[rows].astype(np.int64))
    shapes = [tuple(np.array(leaf.shape)[list(_channels_first(leaf))]) for leaf in jax.tree.leaves(params)]
    lengths = [int(np.prod(shape)) for shape in shapes]

    def logits(x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        parts = [part.view(shape) for part, shape in zip(x.split(lengths), shapes, strict=True)]
        for index in range(0, len(parts), 2):
            bias, kernel = parts[index : index + 2]
            if index:
                h = torch.relu(h)
            if kernel.ndim == 4:
                h = functional.conv2d(h, kernel, bias, stride=2)
            else:
                if h.ndim == 4:
                    h = h.permute(0, 2, 3, 1).flatten(1)
                h = torch.addmm(bias, h, kernel)
        return h

    def sample(worker: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = starts[worker] + torch.randint(0, sizes[worker], (model.batch,), generator=generator)
        return inputs[chosen], labels[chosen]

    def gradient(x: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(functional.cross_entropy(logits(x, batch[0]), batch[1]), x)[0]

    return Oracle(sample, gradient)


def _channels_first(array: Any, *, of_data: bool = False) -> tuple[int, ...]:
    """Axes in PyTorch's order: kernels (height, width, in, out) and images (image, height, width, channel) are turned."""
    if array.ndim != 4:
        return tuple(range(array.ndim))
    return (0, 3, 1, 2) if of_data else (3, 2, 0, 1)
