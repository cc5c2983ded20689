"""The six nodes of the first two figures, and DASGD replayed in NumPy to see the points at which gradients are computed."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jasgd
from jasgd.decentralized import Execution, dasgd

SECONDS = (1.0, 1.3, 2.1, 4.0, 0.7, 3.3)  # per gradient
NODES, DIM = len(SECONDS), 10
NOISE = 0.3  # standard deviation per coordinate
KEY = jax.random.key(0)


def problem(noise: float = NOISE) -> jasgd.Problem:
    """The tridiagonal quadratic with noise."""
    return jasgd.problems.quadratic(dim=DIM, noise=noise)


def gap() -> float:
    """f(x_0) - f*."""
    made = problem()
    return float(made.metrics(made.init(KEY))["gap"])


def execution(
    gradients: int, *, scale: float = 1.0, broadcast_every: int = 1, draw: int = 0, drain: bool = False
) -> Execution:
    """Six nodes whose latencies are drawn once, from U(0.1, 2) seconds, and multiplied by ``scale``."""
    latencies = scale * np.random.default_rng(draw).uniform(0.1, 2.0, (NODES, NODES))
    fleet = jasgd.fleet.fixed(SECONDS)
    return dasgd(fleet, gradients, latencies=latencies, broadcast_every=broadcast_every, drain=drain)


def samples(jobs: int, seeds: Sequence[int], noise: float = NOISE) -> np.ndarray:
    """(nodes, jobs, seeds, DIM) the noise of every gradient, as the library draws it."""
    made = problem(noise)
    keys = jnp.stack([jasgd.split_key(jax.random.fold_in(KEY, seed))[1] for seed in seeds])

    def one(worker: jax.Array, job: jax.Array, key: jax.Array) -> jax.Array:
        return made.sample(jasgd.job_key(key, worker, job), worker)

    every = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return np.asarray(jax.jit(every)(jnp.arange(NODES), jnp.arange(jobs), keys), np.float64)


def replay(run: Execution, noise: np.ndarray, steps: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    r"""Where DASGD computes its gradients: all steps and seeds at once, in double precision.

    Args:
      run: what is replayed.
      noise: (nodes, jobs, seeds, DIM).
      steps: step sizes.

    Returns:
      (gradients, steps, seeds) :math:`\|\nabla f(z_k)\|^2`, numbered by start, and the replicas in the end, (nodes, steps,
      seeds, DIM).
    """
    matrix = (2 * np.eye(DIM) - np.eye(DIM, k=1) - np.eye(DIM, k=-1)) / 4
    linear, start, eta = -np.eye(DIM)[0] / 4, np.sqrt(DIM) * np.eye(DIM)[0], np.asarray(steps)[:, None, None]
    replica = np.broadcast_to(start, (NODES, len(steps), noise.shape[2], DIM)).copy()
    computed = np.empty((len(run), *replica.shape[1:]), np.float32)  # of rows without a gradient: nothing
    squared = np.full((len(run), *replica.shape[1:-1]), np.inf)
    with np.errstate(all="ignore"):  # steps that are too large diverge
        for k, (node, job) in enumerate(zip(run.node.tolist(), run.job.tolist(), strict=True)):
            if job >= 0:  # nothing is applied while a gradient is being computed: it is taken at the present replica
                exact = replica[node] @ matrix - linear
                squared[k] = np.einsum("...d,...d", exact, exact)
                computed[k] = exact + noise[node, job]
            applied = -1 - run.push[run.push_first[k] : run.push_first[k + 1]]
            replica[node] -= eta * computed[applied].sum(axis=0, dtype=np.float64)
    return squared[jasgd.decentralized.staleness(run).rows], replica
