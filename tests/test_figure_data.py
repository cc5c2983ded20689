"""What figures that classify choose for their data."""

import jax
import numpy as np
import pytest

from experiments.data import classifier, dataset
from jasgd.problems import Dataset


def parameters(shape):
    data = Dataset(np.zeros((20, *shape), np.float32), np.arange(20, dtype=np.int32) % 10)
    problem = classifier(data, 2, hidden=64, batch=4, l2=0.1)
    return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(problem.init, jax.random.key(0))))


def test_the_network_fits_the_data():
    """ResNet-20 for colours, the small convolutional network for grey images, a perceptron else."""
    assert parameters((32, 32, 3)) == 269_722
    assert parameters((28, 28, 1)) == 20_490
    assert parameters((64,)) == 64 * 64 + 64 + 64 * 10 + 10


def test_data_sets_have_names():
    """The digits need no folder; a name that there is not is one sentence."""
    assert dataset("digits", "").inputs.shape == (1797, 64)
    with pytest.raises(ValueError, match="there is no data set 'digit'; there are digits, mnist"):
        dataset("digit", "")
