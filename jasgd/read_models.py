"""Read models: what a worker gets that reads the parameters while others write them.

By default a worker reads one version, which is consistent. Here a read begins at the version that the schedule names, takes
a while, and sees a mixture of the versions made meanwhile: a point that the server never had.

Reference: Lian, Zhang, Hsieh, Huang, Liu, "A Comprehensive Linear Speedup Analysis for Asynchronous Stochastic Parallel
Optimization from Zeroth-Order to First-Order", https://arxiv.org/abs/1606.00498 (the sets J(k) of updates not yet seen:
recalled, not verified).
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from jasgd._checks import require

_READ = 2**32 - 2  # folded into a job's key


@dataclasses.dataclass(frozen=True, kw_only=True)
class Updates:
    r"""A read sees each update that was made since it began with some probability, independently.

    .. math:: \hat x = x_r + \sum_{j=r}^{k-1} s_j (x_{j+1} - x_j), \qquad s_j \in \lbrace 0, 1\rbrace,

    where r is the version that the schedule names and k the one just before the gradient is used. With probability 0 this is
    the consistent read of version r, with 1 the current version.

    Attributes:
      probability: that an update is seen.

    Example:
      >>> oracle = jasgd.oracles.inconsistent(jasgd.oracles.gradient(), jasgd.read_models.Updates())
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        require("probability", self.probability, lambda p: 0 <= p <= 1, "a number from 0 to 1")

    @property
    def window(self) -> int | None:
        """How many versions after the first a read may see; None: all up to the last."""
        return None

    def form(self, key: jax.Array, versions: optax.Params, delay: jax.Array) -> optax.Params:
        r"""The point, from leaves (1 + T, ...) with :math:`x_r, \dots, x_k`, the last one repeated if there are fewer."""
        del delay  # beyond it nothing changes any more
        later = jax.tree.leaves(versions)[0].shape[0] - 1
        draw = jax.vmap(lambda j: jax.random.bernoulli(jax.random.fold_in(key, j), self.probability))
        seen = draw(jnp.arange(later))

        def mixed(x: jax.Array) -> jax.Array:
            s = seen.reshape(-1, *(1,) * (x.ndim - 1))
            return x[0] + jnp.sum(jnp.where(s, x[1:] - x[:-1], 0), axis=0)

        return jax.tree.map(mixed, versions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coordinates:
    r"""A read sees every coordinate as it was at a time of its own.

    .. math:: \hat x_i = (x_{r + b_i})_i, \qquad b_i \text{ uniform on } \lbrace 0, \dots, \min(h, k - r)\rbrace,

    where r is the version that the schedule names and k the one just before the gradient is used.

    Attributes:
      window: h, how many versions a read lasts; 0 is the consistent read, None: until the gradient is used. A job with a
        window need not wait for the version just before its use, so that several can be computed together.

    Example:
      >>> oracle = jasgd.oracles.inconsistent(jasgd.oracles.gradient(), jasgd.read_models.Coordinates())
    """

    window: int | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.window, int) and not isinstance(self.window, bool)
        if self.window is not None and not (whole and self.window >= 0):
            raise ValueError(f"`window` must be a whole number of versions, at least 0, or None, got {self.window!r}.")

    def form(self, key: jax.Array, versions: optax.Params, delay: jax.Array) -> optax.Params:
        r"""The point, from leaves (1 + T, ...) with :math:`x_r, x_{r + 1}, \dots`."""
        latest = delay if self.window is None else jnp.minimum(delay, self.window)
        leaves, tree = jax.tree.flatten(versions)

        def mixed(key: jax.Array, x: jax.Array) -> jax.Array:
            b = jax.random.randint(key, x.shape[1:], 0, latest + 1)
            return jnp.take_along_axis(x, b[None], axis=0, mode="promise_in_bounds")[0]

        return jax.tree.unflatten(tree, map(mixed, jax.random.split(key, len(leaves)), leaves))


ReadModel = Updates | Coordinates


def window_of(read_model: ReadModel | None, longest: int) -> int:
    """How many versions after the first some read may see, if the longest delay is ``longest``.

    Example:
      >>> window_of(jasgd.read_models.Coordinates(window=3), 20), window_of(None, 20)
      (3, 0)
    """
    if read_model is None:
        return 0
    return longest if read_model.window is None else min(read_model.window, longest)


def read_key(job_key: jax.Array) -> jax.Array:
    """The key of what a job's read sees.

    Example:
      >>> key = jasgd.read_models.read_key(jasgd.job_key(jax.random.key(0), worker=2, job=7))
    """
    return jax.random.fold_in(job_key, jnp.uint32(_READ))
