"""Normal numbers for small gradients: the bits of ``jax.random.normal``, in one pass.

``jax.random`` runs threefry as a loop on CPUs, which costs more than the gradient of a quadratic. Written out
(Salmon, Moraes, Dror, Shaw 2011, Parallel random numbers: as easy as 1, 2, 3), the compiler makes one pass of it.
"""

import jax
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def normal(key: jax.Array, size: int) -> jax.Array:
    """The same numbers as ``jax.random.normal(key, (size,), jnp.float32)``."""
    threefry = str(jax.random.key_impl(key)) == str(jax.random.key_impl(jax.random.key(0, impl="threefry2x32")))
    if not (threefry and jax.config.jax_threefry_partitionable):  # type: ignore[attr-defined]
        return jax.random.normal(key, (size,), jnp.float32)
    bits = _threefry_bits(jax.random.key_data(key), size)
    # 23 random bits make a float in [1, 2); moved to the open interval (-1, 1), then through the inverse error function.
    unit = jax.lax.bitcast_convert_type((bits >> np.uint32(9)) | np.uint32(0x3F800000), jnp.float32) - np.float32(1)
    low = np.nextafter(np.float32(-1), np.float32(0))
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(jnp.maximum(low, unit * (np.float32(1) - low) + low))


def _threefry_bits(key: jax.Array, size: int) -> jax.Array:
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = jnp.broadcast_to(keys[0], (size,)), jax.lax.iota(jnp.uint32, size) + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation)))
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x ^ y
