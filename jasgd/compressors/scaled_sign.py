r"""Scaled sign: one bit per coordinate. Biased: it belongs to rules with error feedback.

Karimireddy, Rebjock, Stich, Jaggi, "Error Feedback Fixes SignSGD and other Gradient Compression Schemes", ICML 2019,
https://arxiv.org/abs/1901.09847.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jasgd.compressors._tree import dimension, magnitudes, wide
from jasgd.compressors.compressor import Compressor

CITATION = """\
@inproceedings{karimireddy2019error,
  title={Error Feedback Fixes {SignSGD} and other Gradient Compression Schemes},
  author={Karimireddy, Sai Praneeth and Rebjock, Quentin and Stich, Sebastian U. and Jaggi, Martin},
  booktitle={International Conference on Machine Learning}, year={2019}, note={arXiv:1901.09847}}
"""


def scaled_sign() -> Compressor:
    r""":math:`C(x) = \frac{\|x\|_1}d \, \mathrm{sign}(x)` with the sum of moduli of the whole tree. No randomness.

    :math:`\alpha = 1 / d` (derived): :math:`\|C(x) - x\|^2 = \|x\|^2 - \|x\|_1^2 / d` if no coordinate is 0, less if some
    are, and :math:`\|x\|_1 \ge \|x\|`. For dense x the contraction :math:`\|x\|_1^2 / (d \|x\|^2)` is much better than
    that. A message is the scale, in single precision at least, and one bit per coordinate; a coordinate that is exactly 0
    stays 0, and this third sign is not charged.

    Example:
      >>> compressor = scaled_sign()
      >>> compressor.compress(jax.random.key(0), jnp.array([1.0, -3.0, 0.0, 2.0]))
      Array([ 1.5, -1.5,  0. ,  1.5], dtype=float32)
      >>> compressor.alpha(4), compressor.message_bytes(800)
      (0.25, 104)
    """

    def compress(key: jax.Array, tree: Any) -> Any:
        del key
        dim = dimension(tree)
        if not dim:
            return jax.tree.map(jnp.asarray, tree)
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
        moduli, largest = magnitudes(leaves)
        scale = largest * (sum(jnp.sum(modulus) for modulus in moduli) / dim)
        return jax.tree.unflatten(structure, [(jnp.sign(leaf) * scale).astype(leaf.dtype) for leaf in leaves])

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        return wide(dtype).itemsize + -(-dim // 8)

    return Compressor(compress=compress, message_bytes=message_bytes, alpha=lambda dim: 1 / dim, name="scaled_sign()")
