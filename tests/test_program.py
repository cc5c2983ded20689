"""Functions compared by structure."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jasgd.program import trace


def test_programs_that_differ_in_numbers_are_equal():
    """Step sizes, decays and clipping thresholds are arguments; results are those of the function."""
    params = {"w": jnp.arange(3.0), "b": jnp.ones(2)}

    def traced(step, clip):
        rule = optax.chain(optax.clip_by_global_norm(clip), optax.adam(step))
        state = rule.init(params)
        program, numbers = trace(rule.update, params, state, params, lift_numbers=True)
        result = jax.jit(lambda n: program(n, params, state, params)[0])(numbers)
        expected = jax.jit(rule.update)(params, state, params)[0]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), result, expected)
        return program

    one, two = traced(0.1, 0.5), traced(0.2, 0.25)
    assert one == two
    assert hash(one) == hash(two)


def test_programs_that_differ_in_structure_are_not_equal():
    """Another rule, another shape, another number that is not lifted."""
    x = jnp.ones(3)
    programs = [
        trace(lambda v: v * 0.5, x)[0],
        trace(lambda v: v * 0.25, x)[0],
        trace(lambda v: v + 0.5, x)[0],
        trace(lambda v: v * 0.5, jnp.ones(4))[0],
        trace(lambda v: {"v": v * 0.5}, x)[0],
    ]
    for i, one in enumerate(programs):
        for other in programs[i + 1 :]:
            assert one != other


def test_arrays_become_arguments():
    """A closed-over array is taken out, so that equal shapes give equal programs with other results."""
    a, b = np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)
    (one, with_a), (two, with_b) = (trace(lambda v, m=m: v @ m, jnp.ones(3)) for m in (a, b))
    assert one == two
    assert (float(one(with_a, jnp.ones(3))), float(one(with_b, jnp.ones(3)))) == (3.0, 3.0)
    np.testing.assert_array_equal(with_a[0], a)
    v = jnp.array([1.0, 2.0, 3.0])
    assert (float(one(with_a, v)), float(one(with_b, v))) == (8.0, 6.0)


def test_arrays_inside_jitted_functions_are_never_mixed_up():
    """What a jitted function closes over stays inside, and counts by identity."""
    a, b = np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)
    inner_a, inner_b = (jax.jit(lambda v, m=m: v @ m) for m in (a, b))
    v = jnp.array([1.0, 2.0, 3.0])
    (one, n1), (two, n2) = trace(inner_a, v), trace(inner_b, v)
    assert one != two
    assert (float(one(n1, v)), float(two(n2, v))) == (8.0, 6.0)


def test_unused_arguments_are_known():
    """Whether a function looks at an argument, leaf by leaf, also when it only returns it."""
    program, _ = trace(lambda x, y, z: (x["a"] + 1, z), {"a": 1.0, "b": 2.0}, 3.0, 4.0)
    assert program.used == (True, False, False, True)


def test_callbacks_are_never_mixed_up():
    """Two programs that call back different Python functions are different."""

    def calling(factor):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return trace(lambda v: jax.pure_callback(lambda x: np.float32(factor * x), shape, v), jnp.float32(1.0))[0]

    assert calling(2) != calling(3)


def test_nearly_equal_numbers_are_not_equal():
    """Numbers that stay in a program are compared by value, not by how they print."""
    x = jnp.ones(2)
    assert trace(lambda v: v * np.float32(0.1), x)[0] == trace(lambda v: v * np.float32(0.1), x)[0]
    assert trace(lambda v: v * np.float32(0.1), x)[0] != trace(lambda v: v * np.nextafter(np.float32(0.1), 1), x)[0]


def test_jitted_functions_are_looked_into():
    """An argument that a jitted function ignores is not used."""
    program, _ = trace(jax.jit(lambda x, y: x + 1), 1.0, 2.0)
    assert program.used == (True, False)
