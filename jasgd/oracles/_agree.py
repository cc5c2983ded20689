"""What an oracle uses instead of a problem's gradient must say the same as the gradient."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jasgd.problems.problem import Problem, differentiates

_TRIES = 8


def _computed(values: Callable[[jax.Array], tuple[jax.Array, ...]]) -> list[np.ndarray]:
    """What a function finds with one key: one program, compiled and run at once, also while another one is traced."""
    seed = np.uint32(0)  # an argument, lest XLA try to evaluate the whole program while it compiles
    with jax.disable_jit(False):
        compiled = jax.jit(lambda seed: values(jax.random.key(seed))).lower(seed).compile()
        return [np.asarray(value) for value in compiled(seed)]


def require_slopes(problem: Problem) -> None:
    """Differences of the loss have the slope that the gradient says, as far as a few of them at the start can tell.

    Refused is a loss whose differences settle at another slope than that of the gradient; where rounding or curvature keep
    them from settling, nothing is known.
    """
    if differentiates(problem):
        return

    def differences(key: jax.Array) -> tuple[jax.Array, ...]:
        """What the gradient says, what wide and narrow differences say, and how well these can be known."""
        params = problem.init(jax.random.key(0))
        x, unravel = ravel_pytree(params)
        batch = problem.sample(key, jnp.int32(0))
        h = 1e-2 * jnp.maximum(1, jnp.linalg.norm(x))
        u = jax.random.normal(jax.random.fold_in(key, 0), x.shape, x.dtype)
        u /= jnp.linalg.norm(u)
        values = jax.vmap(lambda t: problem.loss(unravel(x + t * u), batch))(h * jnp.array([0, 1, -1, 0.5, -0.5], x.dtype))
        coarsest = max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(params))
        rounding = 20 * coarsest * jnp.abs(values[0]) / h
        gradient = ravel_pytree(problem.gradient(unravel(x), batch))[0]
        return gradient @ u, (values[1] - values[2]) / (2 * h), (values[3] - values[4]) / h, rounding

    slope, coarse, fine, rounding = _computed(lambda key: jax.vmap(differences)(jax.random.split(key, _TRIES)))
    settled = np.abs(coarse - fine) <= 0.005 * np.abs(fine)
    wrong = settled & (np.abs(fine - slope) > 0.03 * np.maximum(np.abs(fine), np.abs(slope)) + rounding)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"values of the loss of {problem.name} do not have the slope that its gradient says ({fine[first]:.4g} instead "
            f"of {slope[first]:.4g} at the start), so that an oracle of values would estimate something else."
        )


def require_entries(problem: Problem) -> None:
    """The ``partial`` of a problem, if it has one, gives entries of its gradient; a few at the start are compared."""
    if problem.partial is None:
        return
    partial = problem.partial

    def both(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        params, batch = problem.init(key), problem.sample(key, jnp.int32(0))
        g, _ = ravel_pytree(problem.gradient(params, batch))
        largest = jnp.argsort(-jnp.abs(g))[:_TRIES]
        return partial(params, batch, largest), g[largest], jnp.sqrt(jnp.finfo(g.dtype).eps)

    entries, expected, tolerance = _computed(both)
    if np.any(np.abs(entries - expected) > tolerance * np.abs(expected).max()):
        raise ValueError(f"`partial` of {problem.name} does not give the entries of its gradient; replace both together.")
