"""No compression."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from jasgd.compressors._tree import dimension
from jasgd.compressors.compressor import Compressor


def identity() -> Compressor:
    r"""The message as it is: :math:`\omega = 0`.

    Example:
      >>> jasgd.compressors.identity().message_bytes(1000, jnp.float16)
      2000
    """

    def compress(key: jax.Array, tree: Any) -> Any:
        del key
        dimension(tree)
        return jax.tree.map(jnp.asarray, tree)

    def message_bytes(dim: int, dtype: DTypeLike = jnp.float32) -> int:
        return dim * jnp.dtype(dtype).itemsize

    return Compressor(
        compress=compress,
        message_bytes=message_bytes,
        omega=lambda _: 0.0,
        weights=lambda _, dim, __: jnp.ones(dim),
        name="identity()",
    )
