r"""Convolutional networks for images, without running statistics.

:func:`resnet20` is the network of section 4.2 (n = 3) of He, Zhang, Ren, Sun 2016: Deep residual learning for image
recognition, https://arxiv.org/abs/1512.03385. Deviation, in favour of virtual workers: where the paper has batch
normalisation there is group normalisation in eight groups (Wu, He 2018, https://arxiv.org/abs/1803.08494). Running means
and variances are no gradients: it has no meaning to apply those of a worker late, and few examples make them noise.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def cnn(classes: int = 10) -> nn.Module:
    """A small network: two 3 x 3 convolutions to 16 and 32 channels, each halved by max-pooling, and a dense layer.

    It has 20,490 parameters for images of 28 x 28 x 1 and 25,578 for 32 x 32 x 3.

    Example:
      >>> params = jasgd.problems.cnn().init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
      >>> sum(leaf.size for leaf in jax.tree.leaves(params))
      20490
    """
    return _CNN(classes)


def resnet20(classes: int = 10) -> nn.Module:
    """The ResNet of 20 layers for images of 32 x 32 x 3, with 269,722 parameters.

    Shortcuts to more channels are the paper's option A: every other pixel, and zeros for the new channels. Deviation:
    group normalisation instead of batch normalisation, whose running statistics have no meaning in late gradients.

    Example:
      >>> images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
      >>> params = jax.eval_shape(jasgd.problems.resnet20().init, jax.random.key(0), images)
      >>> sum(leaf.size for leaf in jax.tree.leaves(params))
      269722
    """
    return _ResNet(classes)


class _CNN(nn.Module):
    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for channels in (16, 32):
            x = _halved(nn.relu(_conv(x, channels)))
        return nn.Dense(self.classes)(x.reshape(len(x), -1))


class _ResNet(nn.Module):
    classes: int
    blocks: int = 3  # the paper's n, of each of three sizes; 6n + 2 layers

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(_normalised(x, 16))
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            x = _block(x, channels, stride)
            for _ in range(self.blocks - 1):
                x = _block(x, channels)
        return nn.Dense(self.classes)(x.mean((1, 2)))


def _block(x: jax.Array, channels: int, stride: int = 1) -> jax.Array:
    y = _normalised(nn.relu(_normalised(x, channels, stride)), channels)
    before = (channels - x.shape[-1]) // 2
    return nn.relu(y + jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (before, before))))


def _normalised(x: jax.Array, channels: int, stride: int = 1) -> jax.Array:
    # Weights as in He, Zhang, Ren, Sun 2015, https://arxiv.org/abs/1502.01852: variance 2 / inputs.
    return nn.GroupNorm(8)(_conv(x, channels, stride, use_bias=False, kernel_init=nn.initializers.he_normal()))


def _conv(x: jax.Array, channels: int, stride: int = 1, **arguments: Any) -> jax.Array:
    """A 3 x 3 convolution with zeros around, as one product of matrices: every pixel with its eight neighbours, and weights.

    XLA's own convolution is several times slower inside a compiled loop on a CPU, where all gradients are computed.
    """
    _, height, width, _ = x.shape
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = jnp.concatenate([x[:, :, j : j + width : stride] for j in range(3)], axis=-1)
    x = jnp.concatenate([x[:, i : i + height : stride] for i in range(3)], axis=-1)
    return nn.Dense(channels, **arguments)(x)


def _halved(x: jax.Array) -> jax.Array:
    """The largest of every 2 x 2 pixels; an odd last row or column is left out."""
    height, width = x.shape[1] // 2, x.shape[2] // 2
    pairs = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2, -1)
    return pairs.max((2, 4))
