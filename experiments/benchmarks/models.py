"""Models whose gradients fill an accelerator: a residual network, and a transformer that predicts characters."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jasgd
from jasgd.checkout import checkout


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResNet20:
    """:func:`jasgd.problems.resnet20` on ten noisy patterns of the shape of CIFAR-10.

    It normalises groups of channels: batch normalisation has running means, a hidden state that no stale gradient has.
    """

    side: int = 32
    batch: int = 16
    examples: int = 2048

    def build(self, workers: int) -> jasgd.Problem:
        """The problem with one shard per worker."""
        shape = (self.side, self.side, 3)
        data = patterns(self.examples, shape)
        return jasgd.problems.classification(jasgd.problems.resnet20(), workers, data=data, batch=self.batch)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer:
    """A causal transformer that predicts the next character of the licence; every worker has a part of the text.

    As in Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, with normalisation before each part, learnt positions and no
    dropout.
    """

    width: int = 128
    layers: int = 2
    heads: int = 4
    length: int = 64
    batch: int = 16

    def build(self, workers: int) -> jasgd.Problem:
        """The problem; loss and gradient norm are those at windows all over the text."""
        letters, text = np.unique(list(licence()), return_inverse=True)
        model = _Decoder(len(letters), self.width, self.layers, self.heads, self.length)
        characters = jnp.asarray(text, jnp.int32)
        window, places = np.arange(self.length + 1), len(text) - self.length
        bounds = np.linspace(0, places, workers + 1).astype(np.int32)
        begin, end = jnp.asarray(bounds[:-1]), jnp.asarray(bounds[1:])
        everywhere = characters[np.arange(0, places, self.length)[:, None] + window]

        def sample(key: jax.Array, worker: jax.Array) -> jax.Array:
            at = jax.random.randint(key, (self.batch, 1), begin[worker], end[worker])
            return characters[at + window[None]]

        def loss(params: optax.Params, characters: jax.Array) -> jax.Array:
            logits = model.apply(params, characters[:, :-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, characters[:, 1:]).mean()

        def metrics(params: optax.Params) -> dict[str, jax.Array]:
            value, gradient = jax.value_and_grad(loss)(params, everywhere)
            return {"loss": value, "grad_norm": optax.tree.norm(gradient)}

        return jasgd.Problem(
            init=lambda key: model.init(key, everywhere[:1, :-1]),
            loss=loss,
            sample=sample,
            metrics=metrics,
            num_workers=workers,
            name=f"transformer(width={self.width}, layers={self.layers}, batch={self.batch})",
        )


def patterns(examples: int, shape: tuple[int, int, int]) -> jasgd.problems.Dataset:
    """Ten patterns with noise: images (M, *shape) and labels (M,)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, examples).astype(np.int32)
    pure = rng.standard_normal((10, *shape), np.float32)
    return jasgd.problems.Dataset(pure[labels] + rng.standard_normal((examples, *shape), np.float32), labels)


def licence() -> str:
    """The text of the project's licence, 11 kB of English; the benchmarks run in a checkout, which has it."""
    root = checkout()
    if root is None:
        raise RuntimeError("the transformer learns the licence of a checkout of jasgd, and there is no checkout here.")
    return (root / "LICENSE").read_text()


class _Decoder(nn.Module):
    """Logits of the next character at every place."""

    letters: int
    width: int
    layers: int
    heads: int
    length: int

    @nn.compact
    def __call__(self, characters: jax.Array) -> jax.Array:
        places = self.param("places", nn.initializers.normal(0.02), (1, self.length, self.width))
        x = nn.Embed(self.letters, self.width)(characters) + places
        mask = nn.make_causal_mask(characters)
        for _ in range(self.layers):
            x += nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(x), mask=mask)
            x += nn.Dense(self.width)(nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return nn.Dense(self.letters)(nn.LayerNorm()(x))
