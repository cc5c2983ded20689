r"""RandK: K of d coordinates, drawn without replacement.

Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, https://arxiv.org/abs/1809.07599; with the factor
:math:`d / K` that makes it unbiased, as in Tyurin, Pozzi, Ilin, Richtárik 2024, Shadowheart SGD,
https://arxiv.org/abs/2402.04785.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jasgd._checks import require_count
from jasgd.compressors._tree import dimension, weigh
from jasgd.compressors.compressor import Compressor

CITATION = """\
@inproceedings{stich2018sparsified,
  title={Sparsified {SGD} with Memory},
  author={Stich, Sebastian U. and Cordonnier, Jean-Baptiste and Jaggi, Martin},
  booktitle={Advances in Neural Information Processing Systems}, year={2018}, note={arXiv:1809.07599}}
"""


def rand_k(k: int) -> Compressor:
    r"""K distinct coordinates of the whole tree, uniformly drawn, times :math:`d / K`; the others are 0.

    :math:`\omega = d / K - 1`, with equality for every x (derived): a coordinate is kept with probability :math:`K / d`, so
    :math:`E (C(x)_j - x_j)^2 = (d / K - 1) x_j^2`. A message is K numbers: sender and receiver share the seed of the
    indices. Half precision overflows early, at :math:`K / d` times its largest number.

    Args:
      k: K, how many coordinates are sent.

    Example:
      >>> compressor = rand_k(2)
      >>> compressor.omega(10), compressor.message_bytes(10)
      (4.0, 8)
      >>> float(compressor.compress(jax.random.key(0), {"w": jnp.ones(9), "b": 1.0})["w"].max())
      5.0
    """
    require_count("k", k)

    def compress(key: jax.Array, tree: Any) -> Any:
        dim = require_coordinates(k, dimension(tree))
        kept = jnp.zeros(dim, bool).at[_distinct(key, dim, k)].set(True)
        return weigh(tree, kept, dim / k)

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        require_coordinates(k, dim)
        return k * jnp.dtype(dtype).itemsize

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        omega=lambda dim: require_coordinates(k, dim) / k - 1,
        name=f"rand_k({k})",
    )


def many_rand_k(key: jax.Array, tree: Any, k: int, messages: ArrayLike) -> Any:
    r"""The mean of m independent RandK messages of one tree, without making any of them.

    .. math:: \frac1m \sum_{j < m} C_j(x) = \frac d{K m} \, x \odot \text{counts},

    where counts is how often each coordinate was drawn. Message j has the key ``jax.random.fold_in(key, j)``: with the key
    ``jasgd.job_key(key, worker, version)`` these are the messages of :func:`jasgd.compressors.message_key`. With K = 1 all
    are drawn at once, else one after the other: counts of repeated draws without replacement are not multinomial.

    Args:
      key: of these messages.
      tree: what they are about.
      k: K, how many coordinates each holds.
      messages: m. A traced number works as well, one draw after the other, and the mean of none is 0.

    Example:
      >>> mean = many_rand_k(jax.random.key(0), jnp.ones(4), k=1, messages=8)
      >>> float(mean.sum())
      4.0
    """
    require_count("k", k)
    static = not isinstance(messages, jax.Array)
    if static:
        require_count("messages", messages)
    dim = require_coordinates(k, dimension(tree))
    counts = jnp.zeros(dim, jnp.int32)

    def draw(message: jax.Array) -> jax.Array:
        return _distinct(jax.random.fold_in(key, message), dim, k)

    if static and k == 1:
        counts = counts.at[jax.vmap(draw)(jnp.arange(messages)).ravel()].add(1)
    else:
        counts = jax.lax.fori_loop(0, messages, lambda message, counts: counts.at[draw(message)].add(1), counts)
    return weigh(tree, counts, dim / (k * (messages if static else jnp.maximum(1.0 * messages, 1.0))))


def require_coordinates(k: int, dim: int) -> int:
    """The number of coordinates, if K of them can be kept."""
    if k > dim:
        raise ValueError(f"`k` must not exceed the number of coordinates {dim}, got {k}.")
    return dim


def _distinct(key: jax.Array, dim: int, k: int) -> jax.Array:
    """(k,) distinct indices, every set of k equally likely: Floyd's algorithm, no sort of all d coordinates."""
    tops = jnp.arange(dim - k, dim)
    guesses = jax.random.randint(key, (k,), 0, tops + 1)
    if k == 1:
        return guesses

    def pick(taken: jax.Array, numbers: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        top, guess = numbers
        index = jnp.where(taken[guess], top, guess)
        return taken.at[index].set(True), index

    return jax.lax.scan(pick, jnp.zeros(dim, bool), (tops, guesses))[1]
