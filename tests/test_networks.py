"""Convolutional networks, alone and under stale gradients; metrics of data sets too large to be measured at once."""

import re

import flax.linen as nn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jasgd
from jasgd.problems import Dataset, classification, cnn, logistic_regression, resnet20
from jasgd.problems.networks import _conv, _halved

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)


def random_images(count, *shape):
    rng = np.random.default_rng(count)
    return Dataset(rng.random((count, *shape), dtype=np.float32), (np.arange(count) % 10).astype(np.int32))


def size(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def random_weights(init, *args):
    """Parameters of the shapes of ``init``, without compiling it."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.1, leaf.shape).astype(leaf.dtype), jax.eval_shape(init, KEY, *args))


class Convolution(nn.Module):
    """One layer."""

    stride: int

    @nn.compact
    def __call__(self, x):
        """With four channels."""
        return _conv(x, 4, self.stride)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(6, 8), (7, 5)])
def test_the_convolution_is_that_of_flax(stride, shape):
    """Same weights, same result, for even and odd sizes."""
    images = jax.random.normal(KEY, (2, *shape, 3))
    ours, theirs = Convolution(stride), nn.Conv(4, (3, 3), (stride, stride), padding=1)
    weights = random_weights(ours.init, images)["params"]["Dense_0"]
    same = {"params": {"kernel": weights["kernel"].reshape(3, 3, 3, 4), "bias": weights["bias"]}}
    found = ours.apply({"params": {"Dense_0": weights}}, images)
    np.testing.assert_allclose(found, theirs.apply(same, images), atol=1e-5)


@pytest.mark.compiled_fully
def test_pooling_is_that_of_flax():
    """The largest of four; an odd last row is left out."""
    images = jax.random.normal(KEY, (2, 7, 4, 3))
    np.testing.assert_array_equal(_halved(images), nn.max_pool(images, (2, 2), strides=(2, 2)))


def test_resnet_20_has_the_parameters_of_the_paper():
    """0.27 million, in 19 convolutions with their normalisations and a dense layer; logits for each class."""
    images = jax.ShapeDtypeStruct((4, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(resnet20().init, KEY, images)
    assert size(params) == pytest.approx(0.27e6, rel=0.01)
    assert sum(leaf.ndim == 2 for leaf in jax.tree.leaves(params)) == 20
    assert jax.eval_shape(resnet20().apply, params, images).shape == (4, 10)
    assert jax.eval_shape(resnet20(100).init_with_output, KEY, images)[0].shape == (4, 100)


def test_a_residual_network_passes_its_input_on():
    """Without weights in the residual branches only shortcuts are left, with zeros around for the new channels."""
    images = jax.random.uniform(KEY, (2, 8, 8, 3))
    params = random_weights(resnet20().init, images)["params"]
    for name in params:
        if name.startswith("GroupNorm") and name != "GroupNorm_0":
            params[name] = jax.tree.map(np.zeros_like, params[name])
    # Eight zeros for 32 channels and sixteen more for 64 stand before the first of the old channels.
    params["Dense_19"] = {"kernel": np.eye(64, 10, k=-24, dtype=np.float32), "bias": np.zeros(10, np.float32)}
    kernel = params["Dense_0"]["kernel"].reshape(3, 3, 3, 16)
    first = nn.Conv(16, (3, 3), padding=1, use_bias=False).apply({"params": {"kernel": kernel}}, images)
    first = nn.relu(nn.GroupNorm(8).apply({"params": params["GroupNorm_0"]}, first))
    expected = first[:, ::4, ::4, :10].mean((1, 2))
    assert np.any(expected)
    np.testing.assert_allclose(jax.jit(resnet20().apply)({"params": params}, images), expected, atol=1e-5)


@pytest.mark.slow
def test_a_gradient_of_resnet_20_is_finite_and_nowhere_zero():
    """Every weight has a part in the loss."""
    problem = classification(resnet20(), 2, data=random_images(20, 8, 8, 3), batch=2)
    params = random_weights(problem.init)
    gradient = jax.jit(lambda params: problem.gradient(params, problem.sample(KEY, 0)))(params)
    for leaf in jax.tree.leaves(gradient):
        assert np.isfinite(leaf).all()
        assert np.any(leaf)


@pytest.mark.parametrize(("shape", "parameters"), [((28, 28, 1), 20_490), ((32, 32, 3), 25_578)])
def test_the_small_network_takes_images_of_both_sizes(shape, parameters):
    """Logits for each class."""
    images = jax.ShapeDtypeStruct((4, *shape), jnp.float32)
    logits, params = jax.eval_shape(cnn().init_with_output, KEY, images)
    assert (logits.shape, size(params)) == ((4, 10), parameters)


def test_the_small_network_learns_under_stale_gradients():
    """Five asynchronous workers fit twenty random images; a row of four pixels is enough for two halvings."""
    problem = classification(cnn(), 5, data=random_images(20, 4, 4, 1), batch=4)
    schedule = jasgd.protocols.asynchronous(jasgd.fleet.power_law(5, exponent=0.5), updates=300)
    run = jasgd.simulate(problem, optax.sgd(0.1), schedule, key=KEY, every=300)
    assert np.isfinite(jax.flatten_util.ravel_pytree(run.params)[0]).all()
    assert run.history["loss"][-1] < 0.9 * run.history["loss"][0]


def products(problem, params):
    """How many rows the products of matrices in the metrics have whose columns are ten classes."""
    return set(map(int, re.findall(r"f32\[(\d+),10\] = dot_general", str(jax.make_jaxpr(problem.metrics)(params)))))


@pytest.mark.parametrize("count", [1336, 1400], ids=["whole slices", "and a rest"])
def test_metrics_in_slices_are_those_of_all_at_once(count):
    """668 images of 28 x 28 make a slice; loss, gradient and accuracy are means over all, the penalty counts once."""
    data = random_images(count, 28, 28, 1)
    problem = logistic_regression([np.arange(count)], data=data, l2=0.1)
    kernel = 0.1 * jax.random.normal(KEY, (784, 10))
    params = {"params": {"kernel": kernel, "bias": jnp.zeros(10)}}
    assert count not in products(problem, params)
    metrics = jax.jit(problem.metrics)(params)
    inputs, targets = data.inputs.reshape(count, -1), jax.nn.one_hot(data.labels, 10)
    value, gradient = jax.jit(jax.value_and_grad(problem.loss))(params, (inputs, targets))
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-6)
    assert float(metrics["grad_norm"]) == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-5)
    hits = np.argmax(inputs @ np.asarray(kernel), axis=1) == data.labels
    assert float(metrics["accuracy"]) == pytest.approx(hits.mean(), abs=1e-6)


@pytest.mark.compiled_fully
def test_metrics_of_small_data_are_measured_at_once():
    """Bit for bit the loss and gradient of all examples together."""
    data = random_images(600, 28, 28, 1)
    problem = logistic_regression([np.arange(600)], data=data)
    params = {"params": {"kernel": 0.1 * jax.random.normal(KEY, (784, 10)), "bias": jnp.zeros(10)}}
    everything = data.inputs.reshape(600, -1), jax.nn.one_hot(data.labels, 10)

    def plain(params):
        value, gradient = jax.value_and_grad(problem.loss)(params, everything)
        return value, optax.tree.norm(gradient)

    assert 600 in products(problem, params)
    metrics, (value, norm) = jax.jit(problem.metrics)(params), jax.jit(plain)(params)
    assert (float(metrics["loss"]), float(metrics["grad_norm"])) == (float(value), float(norm))


def test_a_model_whose_logits_are_not_the_classes_is_refused():
    """Too many classes, or one answer per pixel row: one sentence with both shapes."""
    images = random_images(9, 4, 4, 1)
    with pytest.raises(ValueError, match=re.escape("logits of shape (1, 9), as the data have 9 classes; it gives (1, 10).")):
        classification(cnn(), 3, data=images)
    with pytest.raises(ValueError, match=re.escape("it gives (1, 4, 4, 9).")):
        classification(nn.Dense(9), 3, data=images)
