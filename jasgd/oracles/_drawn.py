"""What a job draws besides its sample: coordinates, or directions."""

import jax
import jax.numpy as jnp

from jasgd.compressors._tree import dimension
from jasgd.compressors.rand_k import _distinct
from jasgd.problems._normal import normal
from jasgd.problems.problem import Problem

_DRAWN = 2**32 - 3  # folded into a job's key; messages have 2^32 - 1, reads have 2^32 - 2


def num_coordinates(problem: Problem) -> int:
    """N, the number of coordinates of all leaves."""
    return dimension(jax.eval_shape(problem.init, jax.random.key(0)))


def block(job_key: jax.Array, dim: int, size: int) -> jax.Array:
    """(size,) distinct coordinates below ``dim``, every set of them equally likely."""
    return jnp.arange(dim) if size == dim else _distinct(_key(job_key), dim, size)


def normals(job_key: jax.Array, dim: int, count: int) -> jax.Array:
    """(count, dim) independent normal numbers."""
    return normal(_key(job_key), count * dim).reshape(count, dim)


def _key(job_key: jax.Array) -> jax.Array:
    return jax.random.fold_in(job_key, jnp.uint32(_DRAWN))
