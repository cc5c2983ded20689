"""TopK: the K coordinates of largest modulus. Biased: it belongs to rules with error feedback.

Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018, https://arxiv.org/abs/1809.07599.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jasgd._checks import require_count
from jasgd.compressors._tree import dimension, weigh, wide
from jasgd.compressors.compressor import Compressor
from jasgd.compressors.rand_k import CITATION as CITATION
from jasgd.compressors.rand_k import require_coordinates


def top_k(k: int) -> Compressor:
    r"""The K coordinates of the whole tree that are largest in modulus, unchanged; the others are 0. No randomness.

    :math:`\alpha = K / d` (derived): the :math:`d - K` smallest squares are at most their share :math:`1 - K / d` of
    :math:`\|x\|^2`, with equality if all moduli are the same. Of equal moduli the first in the order of the leaves are kept.
    A message is K numbers and their K indices of :math:`\lceil \log_2 d \rceil` bits.

    Args:
      k: K, how many coordinates are sent.

    Example:
      >>> compressor = top_k(2)
      >>> compressor.compress(jax.random.key(0), jnp.array([1.0, -3.0, 0.5, 2.0]))
      Array([ 0., -3.,  0.,  2.], dtype=float32)
      >>> compressor.alpha(4), compressor.message_bytes(4)
      (0.5, 9)
    """
    require_count("k", k)

    def compress(key: jax.Array, tree: Any) -> Any:
        del key
        dim = require_coordinates(k, dimension(tree))
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
        moduli = jnp.concatenate([jnp.abs(leaf.astype(wide(leaf.dtype))).ravel() for leaf in leaves])
        return weigh(tree, jnp.zeros(dim, bool).at[jax.lax.top_k(moduli, k)[1]].set(True), 1.0)

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        index_bits = (require_coordinates(k, dim) - 1).bit_length()
        return k * jnp.dtype(dtype).itemsize + -(-k * index_bits // 8)

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        alpha=lambda dim: k / require_coordinates(k, dim),
        name=f"top_k({k})",
    )
