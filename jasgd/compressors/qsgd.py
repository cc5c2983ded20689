r"""QSGD: random rounding to equally spaced levels.

Alistarh, Grubic, Li, Tomioka, Vojnovic, "QSGD: Communication-Efficient SGD via Gradient Quantization and Encoding", NeurIPS
2017, https://arxiv.org/abs/1610.02132. Deviation: levels have codes of fixed length, not Elias'. Some experiments under the
name QSGD send :func:`jasgd.compressors.rand_k` messages instead.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jasgd._checks import require_count
from jasgd.compressors._tree import dimension, magnitudes, wide
from jasgd.compressors.compressor import Compressor

CITATION = """\
@inproceedings{alistarh2017qsgd,
  title={{QSGD}: Communication-Efficient {SGD} via Gradient Quantization and Encoding},
  author={Alistarh, Dan and Grubic, Demjan and Li, Jerry and Tomioka, Ryota and Vojnovic, Milan},
  booktitle={Advances in Neural Information Processing Systems}, year={2017}, note={arXiv:1610.02132}}
"""


def qsgd(levels: int) -> Compressor:
    r""":math:`C(x)_j = \|x\| \, \mathrm{sign}(x_j) \, \ell_j / q`, where :math:`\ell_j` is :math:`q |x_j| / \|x\|` rounded.

    Rounded to one of the two whole numbers next to it, at random, so that the mean is right; :math:`\|x\|` is the Euclidean
    norm of the whole tree, and :math:`C(0) = 0`. :math:`\omega = \min(d / q^2, \sqrt d / q)` (the paper's, as recalled;
    derived): a level with fractional part p has variance :math:`p (1 - p) \le \min(1, p)`, and
    :math:`\sum_j |x_j| \le \sqrt d \, \|x\|`. A message is the norm, in single precision at least, and for each coordinate a
    sign and one of :math:`q + 1` levels.

    Args:
      levels: q, the number of levels besides 0.

    Example:
      >>> compressor = qsgd(4)
      >>> compressor.omega(100), compressor.message_bytes(100)
      (2.5, 54)
      >>> compressor.compress(jax.random.key(0), jnp.array([3.0, -4.0, 0.0]) / 5) * 4  # 2.4 and 3.2, rounded
      Array([ 2., -4.,  0.], dtype=float32)
    """
    require_count("levels", levels)

    def compress(key: jax.Array, tree: Any) -> Any:
        if not dimension(tree):
            return jax.tree.map(jnp.asarray, tree)
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
        moduli, largest = magnitudes(leaves)
        norm = jnp.sqrt(sum(jnp.sum(modulus**2) for modulus in moduli))  # in units of the largest modulus
        unit = jnp.where(norm == 0, jnp.ones_like(norm), norm / levels)

        def one(key: jax.Array, leaf: jax.Array, modulus: jax.Array) -> jax.Array:
            level = jnp.floor(modulus / unit)
            level += jax.random.uniform(key, leaf.shape, level.dtype) < modulus / unit - level
            return (jnp.sign(leaf) * level * unit * largest).astype(leaf.dtype)

        return jax.tree.unflatten(structure, map(one, jax.random.split(key, len(leaves)), leaves, moduli))

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        return wide(dtype).itemsize + -(-dim * (1 + levels.bit_length()) // 8)

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        omega=lambda dim: min(dim / levels**2, math.sqrt(dim) / levels),
        name=f"qsgd({levels})",
    )
