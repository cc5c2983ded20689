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


_TOGETHER = 64  # messages drawn together


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

    def weights(key: jax.Array, dim: int, messages: ArrayLike) -> jax.Array:
        shares = 1.0 / jnp.maximum(1.0 * messages, 1.0)
        return _counts(key, require_coordinates(k, dim), k, messages) * (dim / k * shares)

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        require_coordinates(k, dim)
        return k * jnp.dtype(dtype).itemsize

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        omega=lambda dim: require_coordinates(k, dim) / k - 1,
        weights=weights,
        name=f"rand_k({k})",
    )


def require_coordinates(k: int, dim: int) -> int:
    """The number of coordinates, if K of them can be kept."""
    if k > dim:
        raise ValueError(f"`k` must not exceed the number of coordinates {dim}, got {k}.")
    return dim


def _counts(key: jax.Array, dim: int, k: int, messages: ArrayLike) -> jax.Array:
    """(dim,) how often each coordinate is drawn by messages with the keys ``fold_in(key, 0), fold_in(key, 1), ...``.

    Repeated draws without replacement: with K = 1 the counts are multinomial, with larger K they are not.
    """
    together = min(_TOGETHER, messages) if isinstance(messages, int) else _TOGETHER

    def add(block: jax.Array, counts: jax.Array) -> jax.Array:
        message = block * together + jnp.arange(together)
        drawn = jax.vmap(lambda j: _distinct(jax.random.fold_in(key, j), dim, k))(message)
        return counts.at[drawn].add(jnp.broadcast_to((message < messages)[:, None], drawn.shape).astype(jnp.int32))

    blocks = (jnp.asarray(messages, jnp.int32) + together - 1) // together
    return jax.lax.fori_loop(0, blocks, add, jnp.zeros(dim, jnp.int32))


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
