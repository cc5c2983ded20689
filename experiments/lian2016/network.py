"""A network whose weights are fitted from its outputs alone; only the sizes are the paper's."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

import jasgd

Params = list[dict[str, jax.Array]]


def black_box(layers: Sequence[int], samples: int, batch: int, noise: float, seed: int = 0) -> jasgd.Problem:
    """Fit a fully connected network with tanh layers to the noisy outputs of one with random weights.

    Args:
      layers: inputs, hidden units, outputs.
      samples: inputs and outputs that are known.
      batch: of them in one evaluation, drawn with replacement.
      noise: standard deviation of the noise of the outputs.
      seed: of the data and of the network that made them; the start is drawn from the key of the run.
    """
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(samples, layers[0])).astype(np.float32)

    def outputs(params: Params, x: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["weights"] + layer["bias"][None])
        return x @ params[-1]["weights"] + params[-1]["bias"][None]

    def drawn(normal: Callable[[int, int], jax.Array]) -> Params:
        return [{"weights": normal(a, b) / np.sqrt(a), "bias": jnp.zeros(b)} for a, b in itertools.pairwise(layers)]

    truth = drawn(lambda a, b: jnp.asarray(rng.normal(size=(a, b)), jnp.float32))
    targets = np.asarray(outputs(truth, jnp.asarray(inputs))) + noise * rng.normal(size=(samples, layers[-1]))
    x, y = jnp.asarray(inputs), jnp.asarray(targets, jnp.float32)

    def init(key: jax.Array) -> Params:
        keys = iter(jax.random.split(key, len(layers) - 1))
        return drawn(lambda a, b: jax.random.normal(next(keys), (a, b)))

    def loss(params: Params, rows: jax.Array) -> jax.Array:
        return jnp.mean((outputs(params, x[rows]) - y[rows]) ** 2)

    def metrics(params: Params) -> dict[str, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, jnp.arange(samples))
        return {"loss": value, "grad_norm": jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))}

    return jasgd.Problem(
        init=init,
        loss=loss,
        sample=lambda key, _: jax.random.randint(key, (batch,), 0, samples),
        metrics=metrics,
        name=f"black box {'/'.join(map(str, layers))}",
    )
