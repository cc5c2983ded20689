"""Compressors: unbiased or contractive as declared, exact counts, dtypes kept, and many messages at once."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jasgd
from jasgd import compressors
from jasgd.compressors import (
    Compressor,
    bernoulli,
    identity,
    natural,
    qsgd,
    rand_k,
    scaled_down,
    scaled_sign,
    top_k,
)

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
UNBIASED = [identity(), rand_k(1), rand_k(3), bernoulli(0.3), qsgd(3), natural()]
CONTRACTIVE = [top_k(3), scaled_sign()]
SCALED_DOWN = [scaled_down(rand_k(3)), scaled_down(qsgd(3))]  # contractive on average only: see test_ef21.py
# Eight coordinates, of them one scalar; a leaf without any.
TREE = {
    "w": jnp.array([[1.5, -0.3, 0.0], [2.75, 0.01, -4.0]]),
    "b": {"scalar": jnp.array(0.7), "none": jnp.zeros((2, 0)), "one": jnp.array([[-1.1]])},
}
DIM = 8

every = pytest.mark.parametrize("compressor", UNBIASED + CONTRACTIVE + SCALED_DOWN, ids=lambda c: c.name)
every_unbiased = pytest.mark.parametrize("compressor", UNBIASED, ids=lambda c: c.name)


def flat(tree):
    """All coordinates as one float64 vector."""
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(tree)])


def flat_rows(tree):
    """The same for leaves with a leading axis of draws."""
    return np.concatenate([np.asarray(x, np.float64).reshape(len(x), -1) for x in jax.tree.leaves(tree)], axis=1)


def squared_error(compressor, tree):
    return np.sum((flat(compressor.compress(KEY, tree)) - flat(tree)) ** 2)


# Unbiased, with the declared variance.


@every_unbiased
def test_mean_and_variance_of_many_messages(compressor):
    """Each coordinate's mean is right within 5 standard errors; the variance at most omega, for sparsifiers equal to it."""
    draws = 20_000
    found = flat_rows(jax.jit(jax.vmap(compressor.compress, (0, None)))(jax.random.split(KEY, draws), TREE))
    x = flat(TREE)
    np.testing.assert_array_less(np.abs(found.mean(0) - x), 5 * found.std(0) / math.sqrt(draws) + 1e-6)
    ratio = np.sum((found - x) ** 2, axis=1) / np.sum(x**2)
    standard_error = ratio.std() / math.sqrt(draws)
    assert ratio.mean() <= compressor.omega(DIM) + 5 * standard_error + 1e-6
    if compressor.name.startswith(("rand_k", "bernoulli")):
        assert ratio.mean() == pytest.approx(compressor.omega(DIM), abs=5 * standard_error + 1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_every_set_of_coordinates_is_equally_likely(k, monkeypatch):
    """RandK over all its random numbers, each once: every set of K of 5 coordinates comes equally often."""
    guesses = jnp.array(list(itertools.product(*(range(5 - k + i + 1) for i in range(k)))), jnp.int32)

    def compress(guess):
        monkeypatch.setattr(jax.random, "randint", lambda *args: guess)
        return rand_k(k).compress(KEY, jnp.ones(5))

    sets, counts = np.unique(np.asarray(jax.vmap(compress)(guesses)), axis=0, return_counts=True)
    assert len(sets) == math.comb(5, k)
    assert set(counts) == {len(guesses) // math.comb(5, k)}
    assert set(sets.ravel()) == ({0, np.float32(5 / k)} if k < 5 else {1})


def test_bernoulli_over_all_its_coins(monkeypatch):
    """Mean and variance over all 2^8 outcomes, weighed by their probabilities, are exact."""
    p, x = 0.3, flat(TREE)
    masks = np.array(list(itertools.product([False, True], repeat=DIM)))

    def compress(mask):
        monkeypatch.setattr(jax.random, "bernoulli", lambda *args, **kwargs: mask)
        return bernoulli(p).compress(KEY, TREE)

    found = flat_rows(jax.vmap(compress)(jnp.asarray(masks)))
    weights = np.prod(np.where(masks, p, 1 - p), axis=1)
    np.testing.assert_allclose(weights @ found, x, rtol=1e-6)
    assert weights @ np.sum((found - x) ** 2, axis=1) == pytest.approx((1 / p - 1) * np.sum(x**2), rel=1e-6)


@pytest.mark.parametrize("compressor", [qsgd(1), qsgd(3), natural()], ids=lambda c: c.name)
@pytest.mark.parametrize("tree", [TREE, jnp.full(7, 4 / 3)], ids=["tree", "equal"])
def test_rounding_over_an_even_grid_of_coins(compressor, tree, monkeypatch):
    """With uniform numbers replaced by a grid of 4096 the mean is exact to half a cell, the variance at most omega."""
    grid, x = (jnp.arange(4096) + 0.5) / 4096, flat(tree)

    def compress(coin):
        monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, coin, dtype))
        return compressor.compress(KEY, tree)

    found = flat_rows(jax.jit(jax.vmap(compress))(grid))
    gap = found.max(0) - found.min(0)
    np.testing.assert_array_less(np.abs(found.mean(0) - x), gap * 0.5001 / 4096 + 1e-6)
    variance = np.sum((found - x) ** 2, axis=1).mean() / np.sum(x**2)
    assert variance <= compressor.omega(len(x)) * (1 + 1e-3)
    if compressor.name == "natural()" and len(x) == 7:
        assert variance == pytest.approx(1 / 8, rel=1e-3)


@pytest.mark.compiled_fully
def test_natural_goes_to_the_neighbouring_powers_of_two():
    """Powers of two and zeros stay; 3 becomes 2 or 4; numbers that are not finite stay; below normal ones, 0 or tiny."""
    compress, tiny = jax.jit(natural().compress), np.finfo(np.float32).tiny
    exact = jnp.array([0.0, 1.0, -2.0, 0.125, 2.0**100, -(2.0**-126)])
    np.testing.assert_array_equal(compress(KEY, exact), exact)
    assert set(np.unique(compress(KEY, jnp.full(100, -3.0)))) == {-2.0, -4.0}
    np.testing.assert_array_equal(compress(KEY, jnp.array([jnp.inf, -jnp.inf, jnp.nan])), [np.inf, -np.inf, np.nan])
    assert set(np.unique(np.asarray(compress(KEY, jnp.full(100, np.float32(tiny / 2)))))) <= {0.0, tiny}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_natural_is_unbiased_in_half_precision(dtype):
    """The coin has the precision of the number: the mean of 1 + 1/128 over 200 000 draws, within 5 standard errors."""
    draws = 200_000
    found = np.asarray(natural().compress(KEY, jnp.full(draws, 1 + 1 / 128, dtype)), np.float64)
    assert set(found) == {1.0, 2.0}
    assert found.mean() == pytest.approx(1 + 1 / 128, abs=5 * found.std() / math.sqrt(draws))


@pytest.mark.compiled_fully  # long loops
def test_small_probabilities_are_kept():
    """With p = 1e-9 in 2^25 coordinates at most one is kept; a single-precision coin, at least 2^-23, keeps about four."""
    compress = jax.jit(lambda key: jnp.sum(bernoulli(1e-9).compress(key, jnp.ones(2**22)) > 0))
    assert sum(int(compress(key)) for key in jax.random.split(KEY, 8)) <= 1


# Contractive, with the declared factor.


@pytest.mark.parametrize("compressor", CONTRACTIVE, ids=lambda c: c.name)
@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_contraction(compressor, data):
    """The squared error is at most (1 - alpha) times the squared norm."""
    shape = data.draw(st.sampled_from([(8,), (3, 5)]))
    x = data.draw(hnp.arrays(np.float32, shape, elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)))
    bound = (1 - compressor.alpha(x.size)) * np.sum(x.astype(np.float64) ** 2)
    assert squared_error(compressor, jnp.asarray(x)) <= bound + 1e-5 * np.sum(x.astype(np.float64) ** 2)


@pytest.mark.compiled_fully
def test_the_worst_vectors_attain_the_contraction():
    """Equal moduli for TopK, one coordinate for the scaled sign; the scaled sign of equal moduli is exact."""
    equal, one = jnp.array([1.0, -1.0, 1.0, 1.0]), jnp.array([0.0, 0.0, -3.0, 0.0])
    assert squared_error(top_k(1), equal) == (1 - top_k(1).alpha(4)) * 4
    # Zeros stay zeros: the other three coordinates have no error.
    assert squared_error(scaled_sign(), one) == (1 - 1 / 4) ** 2 * 9
    assert squared_error(scaled_sign(), one + 1e-6) == pytest.approx((1 - scaled_sign().alpha(4)) * 9, rel=1e-5)
    assert squared_error(scaled_sign(), equal) == 0


@pytest.mark.compiled_fully
def test_top_k_keeps_the_largest_of_the_whole_tree():
    """Three largest moduli over all leaves, bit by bit; of equal ones the first."""
    found = top_k(3).compress(KEY, TREE)
    assert sorted(flat(found)[flat(found) != 0]) == [-4.0, 1.5, 2.75]
    np.testing.assert_array_equal(top_k(2).compress(KEY, jnp.ones(4)), [1.0, 1.0, 0.0, 0.0])


# Shapes, dtypes, zeros.


@pytest.mark.compiled_fully
@pytest.mark.parametrize("k", [1, 3, 7])
def test_rand_k_keeps_exactly_k(k):
    """K of 8 coordinates over all leaves, each times exactly d / K, whatever the key."""
    ones = jax.tree.map(jnp.ones_like, TREE)
    found = flat_rows(jax.jit(jax.vmap(rand_k(k).compress, (0, None)))(jax.random.split(KEY, 50), ones))
    assert set((found != 0).sum(axis=1)) == {k}
    assert set(found[found != 0]) == {float(np.float32(8 / k))}


@every
@pytest.mark.parametrize("dtypes", [["float16"], ["bfloat16"], ["float16", "bfloat16", "float32", "float64"]], ids=len)
def test_dtypes_are_kept_and_zero_stays_zero(compressor, dtypes):
    """Each leaf has its dtype, also next to others; no NaN from a norm of 0."""
    with jax.enable_x64("float64" in dtypes):
        tree = [jnp.zeros((2, 3), dtype) for dtype in dtypes]
        compress = jax.jit(compressor.compress)
        assert not flat(compress(KEY, tree)).any()
        found = compress(KEY, [leaf + 1 for leaf in tree])
        assert [str(leaf.dtype) for leaf in found] == dtypes
        assert np.isfinite(flat(found)).all()
        assert flat(found).any()


@every
def test_a_python_number_is_one_coordinate(compressor):
    assert compressor.compress(KEY, [1.0, 2.0, 3.0])[0].dtype == jnp.float32


@pytest.mark.compiled_fully
def test_double_precision_is_not_lost():
    """The factors of sparsifiers and the levels of QSGD, are double in double leaves."""
    with jax.enable_x64(True):
        many = jax.jit(lambda x: rand_k(3).mean(KEY, x, 7))
        some, levels = (jax.jit(compressor.compress) for compressor in (bernoulli(0.3), qsgd(3)))
        x = jnp.ones(10)
        assert float(many(x).sum()) == pytest.approx(10, rel=1e-14)
        assert float(some(KEY, x).max()) == 1 / 0.3
        assert set(np.round(np.asarray(levels(KEY, x)) / (math.sqrt(10) / 3), 14)) <= {0.0, 1.0}


@pytest.mark.compiled_fully
@pytest.mark.parametrize("compressor", [identity(), rand_k(8), top_k(8), bernoulli(1.0)], ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_all_coordinates_are_the_message_itself(compressor, dtype):
    """With K = d or p = 1 nothing is lost, bit by bit."""
    tree = jax.tree.map(lambda x: x.astype(dtype), TREE)
    np.testing.assert_array_equal(flat(compressor.compress(KEY, tree)), flat(tree))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("compressor", [qsgd(3), scaled_sign()], ids=lambda c: c.name)
def test_norms_neither_overflow_nor_underflow(compressor, scale):
    """Squares of these numbers are 0 or infinite in single precision; the message is that of moderate numbers."""
    scale = np.float32(2.0 ** round(math.log2(scale)))  # a power of two changes no digit
    compress = jax.jit(compressor.compress)
    found = flat(compress(KEY, jax.tree.map(lambda x: x * scale, TREE)))
    np.testing.assert_allclose(found / scale, flat(compress(KEY, TREE)), rtol=1e-6)


def test_half_precision_with_large_factors():
    """A factor d / K above the largest half number does not make NaN of what is not sent, nor of zeros that are."""
    x = jnp.zeros(100_000, jnp.float16).at[:50].set(1e-3)
    assert jnp.isfinite(jax.jit(rand_k(1).compress)(KEY, x)).all()
    assert jnp.isfinite(jax.jit(lambda x: rand_k(1).mean(KEY, x, 5000))(x)).all()


def test_what_is_not_sent_is_zero():
    """Infinite and undefined coordinates reach the receiver only if they are sent."""
    x = jnp.array([jnp.nan, jnp.inf, 1.0, -jnp.inf])
    found = np.asarray(jax.jit(jax.vmap(rand_k(1).compress, (0, None)))(jax.random.split(KEY, 40), x))
    assert {tuple(row) for row in np.where(np.isnan(found), 9.0, found)} == {
        (9.0, 0.0, 0.0, 0.0),
        (0.0, np.inf, 0.0, 0.0),
        (0.0, 0.0, 4.0, 0.0),
        (0.0, 0.0, 0.0, -np.inf),
    }


@pytest.mark.parametrize("compressor", [identity(), bernoulli(0.3), qsgd(3), natural(), scaled_sign()], ids=lambda c: c.name)
def test_messages_without_coordinates(compressor):
    """Nothing compresses to nothing."""
    for tree in ({}, {"a": jnp.zeros((0, 3))}):
        assert jax.tree.map(jnp.shape, compressor.compress(KEY, tree)) == jax.tree.map(jnp.shape, tree)


# Pure functions of the key.


@every
def test_a_function_of_the_key(compressor):
    """Called twice, batched, scanned and traced abstractly it is the same function, up to the last digit."""
    keys = jax.random.split(KEY, 3)
    compress = jax.jit(compressor.compress)
    one = [flat(compress(key, TREE)) for key in keys]
    np.testing.assert_array_equal(one[0], flat(compress(keys[0], TREE)))

    @jax.jit
    def batched_and_scanned(keys, tree):
        scanned = jax.lax.scan(lambda carry, key: (carry, compressor.compress(key, tree)), None, keys)[1]
        return jax.vmap(compressor.compress, (0, None))(keys, tree), scanned

    for found in batched_and_scanned(keys, TREE):
        np.testing.assert_allclose(flat_rows(found), one, rtol=1e-6)
    shapes = jax.eval_shape(compressor.compress, KEY, TREE)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(lambda x: (x.shape, x.dtype), TREE)


def test_every_message_has_its_own_key():
    """Keys differ in worker, version and message, and extend those of jobs."""
    words = {
        tuple(np.asarray(jax.random.key_data(compressors.message_key(KEY, *numbers))).tolist())
        for numbers in itertools.product(range(3), repeat=3)
    }
    assert len(words) == 27
    expected = jax.random.fold_in(jasgd.job_key(KEY, 2, 5), 1)
    assert compressors.message_key(KEY, 2, 5, 1) == expected
    assert jax.jit(compressors.message_key)(KEY, 2, 5, 1) == expected


# Many messages.


@pytest.mark.compiled_fully
@pytest.mark.parametrize("k", [1, 3])
def test_many_messages_are_their_explicit_mean(k):
    """The counts form against the mean of the messages with the keys of worker 2 at version 5."""
    keys = jax.vmap(lambda message: compressors.message_key(KEY, 2, 5, message))(jnp.arange(40))
    explicit = flat_rows(jax.jit(jax.vmap(rand_k(k).compress, (0, None)))(keys, TREE))
    traced = jax.jit(rand_k(k).mean)
    for messages in (1, 7, 40):
        found = traced(jasgd.job_key(KEY, 2, 5), TREE, messages)
        np.testing.assert_allclose(flat(found), explicit[:messages].mean(0), rtol=1e-6)
    static = rand_k(k).mean(jasgd.job_key(KEY, 2, 5), TREE, 40)
    np.testing.assert_array_equal(flat(static), flat(found))


def test_many_messages_are_not_materialised():
    """No array of messages times coordinates is ever made."""
    for k in (1, 3):
        program = str(jax.make_jaxpr(lambda x, k=k: rand_k(k).mean(KEY, x, 1000))(jnp.ones(501)))
        assert "501" in program
        assert "1000,501" not in program
        assert "501,1000" not in program


@pytest.mark.compiled_fully
def test_workers_with_different_numbers_of_messages():
    """Batched over workers, with as many messages as each has; none gives 0."""
    counts = jnp.array([0, 2, 5])
    found = jax.jit(jax.vmap(lambda messages: rand_k(1).mean(KEY, jnp.ones(4), messages)))(counts)
    np.testing.assert_allclose(found.sum(1), [0.0, 4.0, 4.0])
    np.testing.assert_array_equal(found[2], rand_k(1).mean(KEY, jnp.ones(4), 5))


@pytest.mark.parametrize("k", [1, 3])
def test_the_variance_falls_with_the_number_of_messages(k):
    """(d / K - 1) / m of the squared norm, within 5 standard errors: draws of different messages are independent."""
    messages, draws, x = 6, 20_000, flat(TREE)
    mean = jax.jit(jax.vmap(lambda key: rand_k(k).mean(key, TREE, messages)))
    ratio = np.sum((flat_rows(mean(jax.random.split(KEY, draws))) - x) ** 2, axis=1) / np.sum(x**2)
    assert ratio.mean() == pytest.approx((DIM / k - 1) / messages, abs=5 * ratio.std() / math.sqrt(draws))


# Bytes, constants, refusals.


def test_bytes_of_a_message():
    """Values, and what the receiver cannot know: indices of TopK, norms, signs and levels."""
    d, half, double = 1000, jnp.bfloat16, np.float64
    assert identity().message_bytes(d) == 4000
    assert rand_k(10).message_bytes(d) == 40
    assert rand_k(10).message_bytes(d, half) == 20
    assert bernoulli(0.01).message_bytes(d, double) == pytest.approx(80)
    assert top_k(10).message_bytes(d) == 40 + 13  # ten indices of ten bits
    assert top_k(1).message_bytes(1) == 4
    assert qsgd(1).message_bytes(d) == 4 + 250
    assert qsgd(7).message_bytes(d, double) == 8 + 500
    assert [natural().message_bytes(d, dtype) for dtype in (np.float32, half, np.float16, double)] == [1125, 1125, 750, 1500]
    assert scaled_sign().message_bytes(d, half) == 4 + 125


def test_declared_constants():
    """Exactly one of omega and alpha, with the closed forms."""
    assert all((c.omega is None) != (c.alpha is None) for c in UNBIASED + CONTRACTIVE + SCALED_DOWN)
    assert [c.omega(100) for c in (identity(), rand_k(4), rand_k(100), bernoulli(0.25), natural())] == [0, 24, 0, 3, 1 / 8]
    assert [qsgd(q).omega(100) for q in (1, 10, 20)] == [10, 1, 0.25]
    assert [c.alpha(100) for c in (top_k(4), top_k(100), scaled_sign())] == [0.04, 1, 0.01]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3"])
@pytest.mark.parametrize("factory", [rand_k, top_k, qsgd])
def test_counts_are_positive_whole_numbers(factory, number):
    """K and the number of levels."""
    with pytest.raises(ValueError, match="must be a positive whole number, got"):
        factory(number)


@pytest.mark.parametrize("probability", [0.0, -0.1, 1.01, math.nan, True])
def test_probabilities_lie_in_the_unit_interval(probability):
    with pytest.raises(ValueError, match=r"`probability` must be a number in \(0, 1\], got"):
        bernoulli(probability)


@pytest.mark.parametrize("compressor", [rand_k(9), top_k(9)], ids=lambda c: c.name)
def test_no_more_coordinates_than_there_are(compressor):
    """Refused where the message is known: compressing, also under jit, and asking for constants."""
    constant = compressor.omega or compressor.alpha
    for call in (
        lambda: compressor.compress(KEY, TREE),
        lambda: jax.jit(compressor.compress)(KEY, TREE),
        lambda: compressor.message_bytes(8),
        lambda: constant(8),
    ):
        with pytest.raises(ValueError, match="`k` must not exceed the number of coordinates 8, got 9"):
            call()


@every
def test_only_real_numbers_are_sent(compressor):
    """Whole numbers have no dtype to keep what is between them."""
    with pytest.raises(ValueError, match=r"real floating-point numbers, but \['n'\] is int32"):
        compressor.compress(KEY, {"n": jnp.arange(9), "x": jnp.ones(9)})


def test_other_refusals():
    with pytest.raises(ValueError, match="mine must declare exactly one of `omega`"):
        Compressor(compress=lambda key, tree: tree, message_bytes=lambda dim: dim, name="mine")


@pytest.mark.parametrize("factory", [rand_k, bernoulli, top_k, qsgd, natural, scaled_sign])
def test_compressors_cite_their_papers(factory):
    assert jasgd.citation(factory).startswith("@")
