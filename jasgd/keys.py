"""Where all randomness comes from: one key, split once, and from it one key per job."""

from typing import Any

import jax
from jax.typing import ArrayLike

from jasgd._checks import said


def require_key(key: Any) -> None:
    """One new-style key."""
    is_key = isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not is_key or key.shape:
        several = "; for several runs give jasgd.sweep one key and `seeds`" if is_key else ""
        raise TypeError(f"`key` must be a single key made by jax.random.key(seed), got {said(key)}{several}.")


def split_key(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The keys of the starting point and of all jobs: how :func:`jasgd.simulate` uses its one key.

    Example:
      >>> init_key, jobs_key = jasgd.split_key(jax.random.key(0))
      >>> problem = jasgd.problems.quadratic(10, noise=0.1)
      >>> params = problem.init(init_key)
      >>> batch = problem.sample(jasgd.job_key(jobs_key, worker=2, job=7), 2)
    """
    require_key(key)
    init_key, jobs_key = jax.random.split(key)
    return init_key, jobs_key


def job_key(key: jax.Array, worker: ArrayLike, job: ArrayLike) -> jax.Array:
    """The key of one job: a function of (key, worker, job) and nothing else.

    Args:
      key: of all jobs, the second of :func:`jasgd.split_key`.
      worker, job: the worker, and which of its jobs.

    Example:
      >>> _, jobs_key = jasgd.split_key(jax.random.key(0))
      >>> key = jasgd.job_key(jobs_key, worker=2, job=7)
    """
    return jax.random.fold_in(jax.random.fold_in(key, worker), job)
