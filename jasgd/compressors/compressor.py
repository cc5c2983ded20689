"""What a compressor is, and the key of one message."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jasgd.compressors._tree import dimension, weigh, wide
from jasgd.keys import job_key


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Compressor:
    r"""A random map C of pytrees of d coordinates, seen as one vector of them.

    It is unbiased, :math:`E\,C(x) = x` and :math:`E \|C(x) - x\|^2 \le \omega \|x\|^2`, and declares :math:`\omega`, or
    contractive, :math:`E \|C(x) - x\|^2 \le (1 - \alpha) \|x\|^2`, and declares :math:`\alpha`. The constants hold in
    exact arithmetic: each leaf of a message is rounded to its dtype once, after computing in single precision at least.

    Attributes:
      compress: ``compress(key, tree) -> tree`` as the receiver sees it, with the structure, shapes and dtypes of what was
        sent. The key belongs to this message alone: :func:`message_key`.
      message_bytes: ``message_bytes(dim, dtype=jnp.float32)``, bytes of one message; their mean if that is random.
      omega: ``omega(dim)`` of an unbiased compressor.
      alpha: ``alpha(dim)`` of a contractive one; exactly one of the two is given.
      weights: ``weights(key, dim, messages)``, for a compressor that multiplies each coordinate by a random number that does
        not depend on it: the mean of these, (dim,), over messages with the keys ``jax.random.fold_in(key, j)``.
      name: for results and messages.

    Example:
      >>> half = Compressor(
      ...     compress=lambda key, tree: jax.tree.map(lambda x: x / 2, tree),
      ...     message_bytes=lambda dim, dtype=jnp.float32: dim * jnp.dtype(dtype).itemsize,
      ...     alpha=lambda dim: 0.75,
      ... )
      >>> half.message_bytes(10)
      40
    """

    compress: Callable[[jax.Array, Any], Any]
    message_bytes: Callable[..., float]
    omega: Callable[[int], float] | None = None
    alpha: Callable[[int], float] | None = None
    weights: Callable[[jax.Array, int, ArrayLike], jax.Array] | None = None
    name: str = "compressor"

    def __post_init__(self) -> None:
        if (self.omega is None) == (self.alpha is None):
            raise ValueError(f"{self.name} must declare exactly one of `omega` (unbiased) and `alpha` (contractive).")

    def mean(self, key: jax.Array, tree: Any, messages: ArrayLike) -> Any:
        """The mean of independent messages of one tree; message j has the key ``jax.random.fold_in(key, j)``.

        Args:
          key: of these messages: with ``jasgd.job_key(key, worker, version)`` they are those of :func:`message_key`.
          tree: what they are about.
          messages: how many; it may be traced, and the mean of none is 0.

        Example:
          >>> mean = jasgd.compressors.rand_k(1).mean(jax.random.key(0), jnp.ones(4), 8)
          >>> float(mean.sum())
          4.0
        """
        if self.weights is not None:
            return weigh(tree, self.weights(key, dimension(tree), messages), 1.0)

        def add(message: jax.Array, total: Any) -> Any:
            one = self.compress(jax.random.fold_in(key, message), tree)
            return jax.tree.map(lambda t, c: t + c.astype(t.dtype), total, one)

        zeros = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), wide(jnp.result_type(x))), tree)
        total = jax.lax.fori_loop(0, messages, add, zeros)
        count = jnp.maximum(messages, 1)
        return jax.tree.map(lambda t, x: (t / count).astype(jnp.result_type(x)), total, tree)

    def bytes_of(self, tree: Any) -> float:
        """Bytes of a message about a tree, in the widest dtype of its leaves.

        Example:
          >>> jasgd.compressors.rand_k(2).bytes_of({"w": jnp.ones((3, 3)), "b": jnp.ones(3)})
          8
        """
        return self.message_bytes(dimension(tree), jnp.result_type(*jax.tree.leaves(tree)))


def message_key(key: jax.Array, worker: ArrayLike, version: ArrayLike, message: ArrayLike) -> jax.Array:
    """The key of one message: a function of (key, worker, version, message) and nothing else.

    It is ``jax.random.fold_in(jasgd.job_key(key, worker, version), message)``.

    Args:
      key: of all messages. Not that of the jobs, which would tie what is compressed to what is sampled: split it before.
      worker, version: who sends, and the version of the point that the message is about.
      message: which of the worker's messages about it.

    Example:
      >>> samples_key, messages_key = jax.random.split(jax.random.key(0))
      >>> key = message_key(messages_key, worker=2, version=7, message=0)
    """
    return jax.random.fold_in(job_key(key, worker, version), message)
