r"""An unbiased compressor scaled down until it is contractive, for rules with error feedback."""

from typing import Any

import jax
import jax.numpy as jnp

from jasgd.compressors._tree import dimension, wide
from jasgd.compressors.compressor import Compressor


def scaled_down(compressor: Compressor) -> Compressor:
    r""":math:`C(x) / (1 + \omega)` of an unbiased C; for RandK these are the K coordinates themselves.

    :math:`\alpha = 1 / (1 + \omega)`, for RandK :math:`K / d` (derived): with :math:`E\,C(x) = x` and
    :math:`E \|C(x)\|^2 \le (1 + \omega) \|x\|^2`,

    .. math::
        E \left\| \frac{C(x)}{1 + \omega} - x \right\|^2 = \frac{E \|C(x)\|^2}{(1 + \omega)^2}
        - \frac{2 \|x\|^2}{1 + \omega} + \|x\|^2 \le \left(1 - \frac{1}{1 + \omega}\right) \|x\|^2 .

    It is biased. The receiver divides, so a message costs what it did.

    Args:
      compressor: C, which declares :math:`\omega`.

    Example:
      >>> compressor = jasgd.compressors.scaled_down(jasgd.compressors.rand_k(2))
      >>> compressor.alpha(4), compressor.message_bytes(4)
      (0.5, 8)
      >>> compressor.compress(jax.random.key(0), jnp.ones(4)).sum()
      Array(2., dtype=float32)
    """
    omega = compressor.omega
    if omega is None:
        raise ValueError(f"`compressor` must be unbiased, but {compressor.name} is contractive: use it as it is.")

    def compress(key: jax.Array, tree: Any) -> Any:
        factor = 1 / (1 + omega(dimension(tree)))
        # Before the division, the numbers of a half-precision message may be too large for it.
        message = compressor.compress(key, jax.tree.map(lambda x: jnp.asarray(x, wide(jnp.result_type(x))), tree))
        return jax.tree.map(lambda c, x: (c * factor).astype(jnp.result_type(x)), message, tree)

    return Compressor(
        compress=compress,
        message_bytes=compressor.message_bytes,
        alpha=lambda dim: 1 / (1 + omega(dim)),
        name=f"scaled_down({compressor.name})",
    )
