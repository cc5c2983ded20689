r"""Bernoulli sparsification: every coordinate is sent or not by a coin of its own.

The case of equal probabilities of Wangni, Wang, Liu, Zhang, "Gradient Sparsification for Communication-Efficient Distributed
Optimization", NeurIPS 2018, https://arxiv.org/abs/1710.09854.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jasgd._checks import require
from jasgd.compressors._tree import dimension, weigh
from jasgd.compressors.compressor import Compressor

CITATION = """\
@inproceedings{wangni2018gradient,
  title={Gradient Sparsification for Communication-Efficient Distributed Optimization},
  author={Wangni, Jianqiao and Wang, Jialei and Liu, Ji and Zhang, Tong},
  booktitle={Advances in Neural Information Processing Systems}, year={2018}, note={arXiv:1710.09854}}
"""


def bernoulli(probability: float) -> Compressor:
    r"""Each coordinate with probability p, independently, divided by p; the others are 0.

    :math:`\omega = 1 / p - 1`, with equality for every x (derived), as for :func:`jasgd.compressors.rand_k` with
    :math:`p = K / d`. A message has :math:`p d` numbers on average; which they are follows from a shared seed.

    Args:
      probability: p in (0, 1].

    Example:
      >>> compressor = bernoulli(0.25)
      >>> compressor.omega(10), compressor.message_bytes(10)
      (3.0, 10.0)
      >>> jnp.unique(compressor.compress(jax.random.key(0), jnp.ones(100)))
      Array([0., 4.], dtype=float32)
    """
    require("probability", probability, lambda p: 0 < p <= 1, "a number in (0, 1]")

    def compress(key: jax.Array, tree: Any) -> Any:
        # Single precision alone would miss small probabilities by up to 1e-7.
        kept = jax.random.bernoulli(key, probability, (dimension(tree),), mode="high")
        return weigh(tree, kept, 1 / probability)

    def weights(key: jax.Array, dim: int, messages: ArrayLike) -> jax.Array:
        def add(message: jax.Array, counts: jax.Array) -> jax.Array:
            return counts + jax.random.bernoulli(jax.random.fold_in(key, message), probability, (dim,), mode="high")

        counts = jax.lax.fori_loop(0, messages, add, jnp.zeros(dim, jnp.int32))
        return counts / (probability * jnp.maximum(1.0 * messages, 1.0))

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> float:
        return probability * dim * jnp.dtype(dtype).itemsize

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        omega=lambda _: 1 / probability - 1,
        weights=weights,
        name=f"bernoulli({probability})",
    )
