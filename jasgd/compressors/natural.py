r"""Natural compression: random rounding to powers of two, of which only sign and exponent are sent.

Horváth, Ho, Horváth, Sahu, Canini, Richtárik, "Natural Compression for Distributed Deep Learning",
https://arxiv.org/abs/1905.10988.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jasgd.compressors._tree import dimension
from jasgd.compressors.compressor import Compressor

CITATION = """\
@inproceedings{horvath2022natural,
  title={Natural Compression for Distributed Deep Learning},
  author={Horv{\\'a}th, Samuel and Ho, Chen-Yu and Horv{\\'a}th, {\\v L}udov{\\'i}t and Sahu, Atal Narayan and
    Canini, Marco and Richt{\\'a}rik, Peter},
  booktitle={Mathematical and Scientific Machine Learning}, year={2022}, note={arXiv:1905.10988}}
"""


def natural() -> Compressor:
    r"""Each coordinate goes to one of the two powers of two next to it.

    From :math:`2^a \le |x| < 2^{a+1}` up with probability :math:`|x| / 2^a - 1`. :math:`\omega = 1/8` (derived): for
    :math:`|x| = 2^a t` the variance is :math:`(t - 1)(2 - t) 4^a`, at most :math:`x^2 / 8`, at :math:`t = 4/3`. The coin is
    exact in every dtype. Numbers below the smallest normal one go to it or to 0; those above the largest power of two may
    overflow. A coordinate takes the dtype's bits for sign and exponent: 9 in single precision and bfloat16, 6 in half and
    12 in double precision.

    Example:
      >>> compressor = natural()
      >>> compressor.omega(10), compressor.message_bytes(8)
      (0.125, 9)
      >>> compressor.compress(jax.random.key(0), jnp.array([0.0, 1.0, -0.25, 1.5]))
      Array([ 0.  ,  1.  , -0.25,  2.  ], dtype=float32)
    """

    def compress(key: jax.Array, tree: Any) -> Any:
        dimension(tree)
        leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, tree))
        return jax.tree.unflatten(structure, map(_round, jax.random.split(key, len(leaves)), leaves))

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        info = jnp.finfo(dtype)
        return -(-dim * (info.bits - info.nmant) // 8)

    return Compressor(compress=compress, message_bytes=message_bytes, omega=lambda _: 0.125, name="natural()")


def _round(key: jax.Array, x: jax.Array) -> jax.Array:
    info = jnp.finfo(x.dtype)
    whole = jnp.dtype(f"uint{info.bits}").type
    # Without the bits of its mantissa, a number is the power of two below it.
    bits = jax.lax.bitcast_convert_type(jnp.abs(x), whole) >> whole(info.nmant) << whole(info.nmant)
    down = jax.lax.bitcast_convert_type(bits, x.dtype)
    gap = jnp.maximum(down, info.tiny)
    up = jax.random.uniform(key, x.shape, x.dtype) < (jnp.abs(x) - down) / gap
    return jnp.where(jnp.isfinite(x), jnp.sign(x) * jnp.where(up, down + gap, down), x)
