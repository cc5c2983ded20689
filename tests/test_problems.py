"""Problems: partitions of data, quadratics, least squares, classification, and the fast normal numbers."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jasgd import Problem, problems
from jasgd.problems import Dataset, partition
from jasgd.problems._normal import normal
from jasgd.problems.problem import differentiates

pytestmark = pytest.mark.compiled_quickly
KEY = jax.random.key(0)
EPS = float(jnp.finfo(jnp.float32).eps)
LABELS = np.random.default_rng(1).integers(0, 5, 203)

# Partitions.

PARTITIONS = {
    "iid": lambda labels, n: partition.iid(labels, n),
    "by_label": lambda labels, n: partition.by_label(labels, n),
    "dirichlet": lambda labels, n: partition.dirichlet(labels, n, alpha=1.0),
    "sizes": lambda labels, n: partition.sizes(labels, [1] * (n - 1) + [len(labels) - n + 1]),
}


@pytest.mark.parametrize("name", PARTITIONS)
@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_a_partition_deals_out_every_example_once(name, n):
    """All workers' shards together are all indices, each once, and nobody's shard is empty."""
    shards = PARTITIONS[name](LABELS, n)
    assert len(shards) == n
    assert all(len(shard) for shard in shards)
    assert np.sort(np.concatenate(shards)).tolist() == list(range(len(LABELS)))


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=40), data=st.data())
def test_by_label_is_sorted_and_fair(labels, data):
    """Shards laid side by side have growing labels, equal labels keep their order, and sizes differ by one at most."""
    n = data.draw(st.integers(1, len(labels)))
    shards = partition.by_label(labels, n)
    order = np.concatenate(shards).tolist()
    assert order == sorted(range(len(labels)), key=lambda i: (labels[i], i))
    sizes = [len(shard) for shard in shards]
    assert max(sizes) - min(sizes) <= 1


def test_iid_shares_are_fair_and_shuffled():
    """Sizes differ by one at most, and the seed decides who gets what."""
    one, same, other = (partition.iid(LABELS, 10, seed=seed) for seed in (1, 1, 2))
    assert sorted({len(shard) for shard in one}) == [20, 21]
    assert [shard.tolist() for shard in one] == [shard.tolist() for shard in same]
    assert [shard.tolist() for shard in one] != [shard.tolist() for shard in other]
    assert one[0].tolist() != list(range(21))


def test_dirichlet_splits_each_class_by_its_shares():
    """With a huge alpha everybody gets the same number of each class, with a tiny one few classes at all."""
    labels = np.arange(1000) % 10
    counts = {}
    for alpha in (1e7, 0.05):
        shards = partition.dirichlet(labels, 5, alpha)
        counts[alpha] = np.array([np.bincount(labels[shard], minlength=10) for shard in shards])
    assert np.all(counts[1e7] == 20)
    assert np.count_nonzero(counts[0.05]) < 25
    assert np.all(counts[0.05].sum(axis=0) == 100)


def test_dirichlet_follows_the_seed():
    """The same seed splits the same way, another one differently."""
    one, same, other = (partition.dirichlet(LABELS, 4, 0.5, seed=seed) for seed in (1, 1, 2))
    assert [shard.tolist() for shard in one] == [shard.tolist() for shard in same]
    assert [shard.tolist() for shard in one] != [shard.tolist() for shard in other]


def test_sizes_are_the_given_sizes():
    """Shards have their sizes, do not overlap, and need not use all examples."""
    shards = partition.sizes(LABELS, [100, 1, 30], seed=3)
    assert [len(shard) for shard in shards] == [100, 1, 30]
    used = np.concatenate(shards)
    assert len(set(used.tolist())) == 131
    assert used.max() < len(LABELS)
    assert used.tolist() != sorted(used.tolist())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: partition.iid(LABELS, 0), "`num_workers` must lie between 1 and the 203 examples, got 0"),
        (lambda: partition.iid(LABELS, 204), "`num_workers` must lie between 1 and the 203 examples, got 204"),
        (lambda: partition.by_label(LABELS, 204), "`num_workers` must lie between 1 and the 203 examples, got 204"),
        (lambda: partition.dirichlet(LABELS, 204, 1.0), "`num_workers` must lie between 1 and the 203 examples, got 204"),
        (lambda: partition.dirichlet(LABELS, 2, 0.0), "`alpha` must be positive and finite, got 0.0"),
        (lambda: partition.dirichlet(LABELS, 2, float("nan")), "`alpha` must be positive and finite, got nan"),
        (lambda: partition.dirichlet(np.arange(10) % 2, 10, 0.01), "left one of 10 workers without data in 1000 tries"),
        (lambda: partition.sizes(LABELS, [200, 4]), "add up to at most 203 examples"),
        (lambda: partition.sizes(LABELS, [5, 0]), "`counts` must be positive"),
        (lambda: partition.sizes(LABELS, []), "`counts` must be positive"),
        (lambda: partition.sizes(LABELS, [[1, 2]]), "`counts` must be positive"),
        (lambda: partition.sizes(LABELS, [1.5, 2.0]), "`counts`"),
    ],
)
def test_impossible_partitions_are_refused(build, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        build()


# Quadratics.


def tridiagonal(d):
    matrix = (2 * np.eye(d) - np.eye(d, k=1) - np.eye(d, k=-1)) / 4
    linear = np.zeros(d)
    linear[0] = -0.25
    return matrix, linear


@pytest.mark.parametrize("d", [1, 2, 7])
def test_facts_of_the_tridiagonal_quadratic(d):
    """Smoothness is the largest eigenvalue, the smallest loss is -b A^-1 b / 2, the start value (d + sqrt d) / 4."""
    matrix, linear = tridiagonal(d)
    problem = problems.quadratic(d, noise=0.1)
    assert problem.facts["smoothness"] == pytest.approx(np.linalg.eigvalsh(matrix)[-1])
    assert problem.facts["smallest_loss"] == pytest.approx(-0.5 * linear @ np.linalg.solve(matrix, linear))
    assert problem.facts["noise_variance"] == pytest.approx(d * 0.01)
    start = problem.init(KEY)
    assert start.shape == (d,)
    assert start.dtype == jnp.float32
    metrics = jax.jit(problem.metrics)(start)
    assert float(metrics["loss"]) == pytest.approx((d + np.sqrt(d)) / 4, rel=8 * EPS)
    assert float(metrics["gap"]) == pytest.approx((d + np.sqrt(d)) / 4 - problem.facts["smallest_loss"], rel=8 * EPS)
    gradient = matrix @ np.asarray(start, np.float64) - linear
    assert float(metrics["grad_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=8 * EPS)


def test_metrics_of_a_quadratic_vanish_at_the_minimum():
    """At the solution of A x = b gap and gradient are zero up to rounding."""
    matrix, linear = tridiagonal(7)
    problem = problems.quadratic(7)
    metrics = jax.jit(problem.metrics)(jnp.asarray(np.linalg.solve(matrix, linear), jnp.float32))
    assert abs(float(metrics["gap"])) < 8 * EPS
    assert float(metrics["grad_norm"]) < 8 * EPS


@pytest.mark.parametrize(
    ("noise", "noise_kind", "spectrum"),
    [(0.0, "iid", None), (0.5, "iid", None), (0.5, "scalar", None), (0.5, "iid", np.linspace(0.1, 2.0, 7))],
    ids=["no noise", "iid", "scalar", "dense"],
)
def test_gradient_of_a_quadratic_is_that_of_its_loss(noise, noise_kind, spectrum):
    """The handwritten gradient is ``jax.grad`` of the loss, and differs from that of the objective by the noise."""
    problem = problems.quadratic(7, noise, noise_kind=noise_kind, spectrum=spectrum)

    @jax.jit
    def gradients(point, key):
        batch = problem.sample(key, jnp.int32(0))
        exact = jax.grad(lambda x: problem.metrics(x)["loss"])(point)
        return problem.gradient(point, batch), jax.grad(problem.loss)(point, batch), exact + jnp.broadcast_to(batch, (7,))

    point = jnp.asarray(np.random.default_rng(4).normal(size=7), jnp.float32)
    handwritten, of_loss, exact_and_noise = gradients(point, jax.random.key(3))
    np.testing.assert_allclose(handwritten, of_loss, atol=16 * EPS)
    np.testing.assert_allclose(handwritten, exact_and_noise, atol=16 * EPS)
    assert handwritten.shape == (7,)


@pytest.mark.parametrize("noise_kind", ["iid", "scalar"])
def test_noise_of_a_quadratic_has_the_variance_of_its_facts(noise_kind):
    """Over 4000 jobs the squared noise has the mean d sigma^2 of the facts, and the noise has mean zero."""
    problem = problems.quadratic(7, 0.5, noise_kind=noise_kind)
    point = problem.init(KEY)
    draw = jax.jit(jax.vmap(lambda key: problem.gradient(point, problem.sample(key, jnp.int32(0)))))
    noise = np.asarray(draw(jax.random.split(jax.random.key(5), 4000)), np.float64)
    noise -= np.asarray(problem.gradient(point, jnp.zeros(())))
    independent = 7 if noise_kind == "iid" else 1
    squared = (noise**2).sum(axis=1).mean()
    assert squared == pytest.approx(problem.facts["noise_variance"], rel=5 * np.sqrt(2 / (independent * 4000)))
    assert np.all(np.abs(noise.mean(axis=0)) < 5 * 0.5 / np.sqrt(4000))
    spread = np.ptp(noise, axis=1)
    assert np.all(spread < 8 * EPS) if noise_kind == "scalar" else np.all(spread > 0)


def test_dense_quadratic_has_its_spectrum():
    """Eigenvalues of the Hessian are the given ones, the start is ones in the eigenbasis, the smallest loss zero."""
    spectrum = np.array([0.0, 0.25, 0.5, 2.0])
    problem = problems.quadratic(4, spectrum=spectrum, basis_seed=3)
    start = problem.init(KEY)
    hessian = np.array([problem.gradient(column, jnp.zeros(())) for column in np.eye(4, dtype=np.float32)])
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), spectrum, atol=16 * EPS)
    assert np.abs(hessian - np.diag(np.diag(hessian))).max() > 0.01
    assert problem.facts["smoothness"] == 2.0
    assert problem.facts["smallest_loss"] == 0.0
    metrics = jax.jit(problem.metrics)(start)
    assert float(metrics["gap"]) == pytest.approx(spectrum.sum() / 2, rel=16 * EPS)
    assert float(metrics["grad_norm"]) == pytest.approx(np.linalg.norm(spectrum), rel=16 * EPS)
    other = problems.quadratic(4, spectrum=spectrum, basis_seed=4)
    assert not np.allclose(other.init(KEY), start)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "`dim` must be a positive whole number, got 0"),
        ({"dim": 3, "noise": -0.1}, "`noise` must be a number that is not negative, got -0.1"),
        ({"dim": 3, "noise": float("nan")}, "`noise` must be a number that is not negative, got nan"),
        ({"dim": 3, "noise_kind": "vector"}, "`noise_kind` must be 'iid' or 'scalar', got 'vector'"),
        ({"dim": 3, "spectrum": [1.0, 2.0]}, r"`spectrum` must hold 3 eigenvalues.* got shape \(2,\)"),
        ({"dim": 2, "spectrum": [1.0, -2.0]}, "`spectrum` must hold 2 eigenvalues, finite and not negative"),
        ({"dim": 2, "spectrum": [1.0, float("nan")]}, "`spectrum` must hold 2 eigenvalues, finite and not negative"),
    ],
)
def test_bad_quadratics_are_refused(arguments, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        problems.quadratic(**arguments)


# Least squares.


def test_least_squares_has_the_facts_of_the_public_notebook():
    """Data drawn in the notebook's order have its fingerprint: A, x, b, F(0), the smoothness and the smallest loss."""
    rng = np.random.default_rng(42)
    seeds = [int(rng.choice(424242, size=1, replace=False)[0]) for _ in range(5)]
    features = rng.uniform(size=(10000, 400)) / np.sqrt(400)
    solution = rng.normal(size=400)
    targets = features @ solution + 1e-5 * rng.normal(size=10000)
    assert seeds == [37864, 328344, 277696, 186190, 183703]
    assert features[0, 0] == pytest.approx(0.0348684, abs=5e-8)
    assert solution[0] == pytest.approx(0.5674865, abs=5e-8)
    assert targets[0] == pytest.approx(0.7504582, abs=5e-8)
    problem = problems.least_squares(features, targets, batch=256)
    assert problem.facts["smoothness"] == pytest.approx(0.250071, abs=5e-7)
    assert problem.facts["smallest_loss"] == pytest.approx(4.84e-11, rel=2e-3)
    start = problem.init(KEY)
    assert start.tolist() == [0.0] * 400
    metrics = jax.jit(problem.metrics)(start)
    assert float(metrics["loss"]) == pytest.approx(0.124131, abs=5e-7)
    assert float(metrics["gap"]) == pytest.approx(0.124131, abs=5e-7)
    gradient = -targets @ features / 10000
    assert float(metrics["grad_norm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def small_least_squares(batch=None):
    rng = np.random.default_rng(7)
    features, targets = rng.normal(size=(12, 3)), rng.normal(size=12)
    return features, targets, problems.least_squares(features, targets, batch=batch)


def test_full_batch_gradient_of_least_squares_is_the_formula():
    """Without a batch size every job computes A^T (A x - b) / M, whoever computes it."""
    features, targets, problem = small_least_squares()
    point = np.array([0.5, -1.0, 2.0])
    expected = (features @ point - targets) @ features / 12
    for key, worker in ((1, 0), (2, 5)):
        batch = problem.sample(jax.random.key(key), jnp.int32(worker))
        np.testing.assert_allclose(problem.gradient(jnp.asarray(point, jnp.float32), batch), expected, rtol=64 * EPS)
    best = np.linalg.lstsq(features, targets, rcond=None)[0]
    assert problem.facts["smallest_loss"] == pytest.approx(0.5 * np.mean((features @ best - targets) ** 2))
    assert problem.facts["smoothness"] == pytest.approx(np.linalg.eigvalsh(features.T @ features / 12)[-1])
    metrics = jax.jit(problem.metrics)(jnp.asarray(best, jnp.float32))
    assert abs(float(metrics["gap"])) < 8 * EPS
    assert float(metrics["grad_norm"]) < 64 * EPS


@pytest.mark.compiled_fully
def test_batches_of_least_squares_are_rows_without_replacement():
    """A batch of all rows is all rows in some order, and a smaller one has different rows of the data with their targets."""
    features, targets, everything = small_least_squares(batch=12)
    rows, values = jax.jit(everything.sample)(jax.random.key(1), 0)
    order = [int(np.argmin(np.abs(np.asarray(targets, np.float32) - value))) for value in values]
    assert sorted(order) == list(range(12))
    np.testing.assert_array_equal(rows, features[order].astype(np.float32))
    _, _, some = small_least_squares(batch=5)
    draw, seen = jax.jit(some.sample), set()
    for key in range(6):
        rows, values = draw(jax.random.key(key), 0)
        order = [int(np.argmin(np.abs(np.asarray(targets, np.float32) - value))) for value in values]
        assert len(set(order)) == 5
        np.testing.assert_array_equal(rows, features[order].astype(np.float32))
        seen.add(tuple(order))
    assert len(seen) == 6


def test_small_batches_of_least_squares_are_equally_likely():
    """Three out of thirteen, drawn without shuffling all: every ordered pair comes up equally often."""
    rows = np.arange(13.0)[:, None]
    problem = problems.least_squares(rows, rows[:, 0], batch=3)
    draws = 26_000
    _, drawn = jax.jit(jax.vmap(lambda key: problem.sample(key, 0)))(jax.random.split(KEY, draws))
    drawn = np.asarray(drawn).astype(int)
    assert all(len(set(row)) == 3 for row in drawn[:1000].tolist())
    pairs = np.bincount(drawn[:, 0] * 13 + drawn[:, 2], minlength=169).reshape(13, 13)
    assert np.trace(pairs) == 0
    expected = draws / 156
    chi_squared = float(((pairs[~np.eye(13, dtype=bool)] - expected) ** 2 / expected).sum())
    assert chi_squared < 155 + 5 * np.sqrt(2 * 155)  # five standard deviations; 155 degrees of freedom


@pytest.mark.parametrize(
    ("features", "targets", "batch", "message"),
    [
        (np.ones(3), np.ones(3), None, r"got shapes \(3,\) and \(3,\)"),
        (np.ones((3, 2)), np.ones(2), None, r"got shapes \(3, 2\) and \(2,\)"),
        (np.full((3, 2), np.nan), np.ones(3), None, "all finite"),
        (np.ones((3, 2)), np.full(3, np.inf), None, "all finite"),
        (np.ones((3, 2)), np.ones(3), 0, "`batch` must lie between 1 and the 3 rows, got 0"),
        (np.ones((3, 2)), np.ones(3), 4, "`batch` must lie between 1 and the 3 rows, got 4"),
    ],
)
def test_bad_least_squares_are_refused(features, targets, batch, message):
    """The message says what is expected and what came."""
    with pytest.raises(ValueError, match=message):
        problems.least_squares(features, targets, batch=batch)


# Classification.


def test_digits_are_those_of_scikit_learn_shuffled_and_scaled():
    """The same examples in another fixed order, pixels between 0 and 1."""
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    data = problems.digits()
    assert data.inputs.dtype == np.float32
    assert (data.inputs.min(), data.inputs.max()) == (0.0, 1.0)
    assert data.labels.tolist() != labels.tolist()
    mine = np.column_stack([data.inputs * 16, data.labels])
    theirs = np.column_stack([inputs, labels])
    np.testing.assert_array_equal(mine[np.lexsort(mine.T)], theirs[np.lexsort(theirs.T)])
    np.testing.assert_array_equal(problems.digits().labels, data.labels)


def plain_softmax(logits, labels):
    """Mean cross-entropy, its derivative with respect to the logits, and the share of hits, in float64."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    entropy = -np.mean(np.log(probabilities[rows, labels]))
    probabilities[rows, labels] -= 1.0
    return entropy, probabilities / len(labels), np.mean(logits.argmax(axis=1) == labels)


def any_params(problem):
    """Parameters of the problem's shapes, in float32 and float64, without running its initializers."""
    rng = np.random.default_rng(2)
    shapes = jax.eval_shape(problem.init, KEY)
    params = jax.tree.map(lambda leaf: (0.1 * rng.normal(size=leaf.shape)).astype(leaf.dtype), shapes)
    return params, jax.tree.map(lambda leaf: leaf.astype(np.float64), params["params"])


def norm(*arrays):
    return np.sqrt(sum((array**2).sum() for array in arrays))


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_metrics_of_logistic_regression_are_those_of_a_plain_computation(l2):
    """Loss, gradient and accuracy over all digits, penalty included, agree with NumPy."""
    data = problems.digits()
    problem = problems.logistic_regression(20, batch=8, l2=l2)
    params, plain = any_params(problem)
    weights, bias = plain["kernel"], plain["bias"]
    inputs = data.inputs.astype(np.float64)
    loss, slope, accuracy = plain_softmax(inputs @ weights + bias, data.labels)
    metrics = jax.jit(problem.metrics)(params)
    assert float(metrics["loss"]) == pytest.approx(loss + l2 / 2 * norm(weights, bias) ** 2, rel=1e-5)
    expected = norm(inputs.T @ slope + l2 * weights, slope.sum(axis=0) + l2 * bias)
    assert float(metrics["grad_norm"]) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert problem.facts == {"examples": 1797, "classes": 10}
    assert problem.num_workers == 20


def test_metrics_of_a_perceptron_are_those_of_a_plain_computation():
    """Forward and backward pass of one hidden layer over all digits agree with NumPy."""
    data = problems.digits()
    problem = problems.mlp(20, hidden=(5,), batch=8)
    params, plain = any_params(problem)
    first, second = plain["Dense_0"], plain["Dense_1"]
    assert first["kernel"].shape == (64, 5)
    inputs = data.inputs.astype(np.float64)
    hidden = np.maximum(inputs @ first["kernel"] + first["bias"], 0.0)
    loss, slope, accuracy = plain_softmax(hidden @ second["kernel"] + second["bias"], data.labels)
    back = slope @ second["kernel"].T * (hidden > 0)
    metrics = jax.jit(problem.metrics)(params)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    expected = norm(hidden.T @ slope, slope.sum(axis=0), inputs.T @ back, back.sum(axis=0))
    assert float(metrics["grad_norm"]) == pytest.approx(expected, rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(accuracy, abs=1e-6)


# Example i has the input i and the label i % 3, so that a sample shows which examples it holds.
NUMBERED = Dataset(np.arange(20, dtype=np.float32)[:, None], np.arange(20) % 3)
SHARDS = [[7], [0, 19, 4, 3], [11, 12], [5, 4]]


def test_metrics_cover_the_examples_of_the_shards_only():
    """Examples that nobody has do not count, and one that two workers have counts twice."""
    problem = problems.classification(nn.Dense(3), SHARDS, data=NUMBERED, batch=2)
    params, plain = any_params(problem)
    used = np.concatenate(SHARDS)
    logits = NUMBERED.inputs[used].astype(np.float64) @ plain["kernel"] + plain["bias"]
    loss, _, accuracy = plain_softmax(logits, NUMBERED.labels[used])
    metrics = jax.jit(problem.metrics)(params)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-5)
    assert float(metrics["accuracy"]) == pytest.approx(accuracy, abs=1e-6)
    assert problem.facts["examples"] == 9


def test_samples_stay_inside_the_shard_of_the_worker():
    """Over many jobs a worker sees all examples of its shard, with their labels, and no other."""
    problem = problems.classification(nn.Dense(3), SHARDS, data=NUMBERED, batch=4)
    draw = jax.jit(jax.vmap(problem.sample, in_axes=(0, None)))
    for worker, shard in enumerate(SHARDS):
        inputs, targets = draw(jax.random.split(jax.random.key(1), 50), worker)
        assert inputs.shape == (50, 4, 1)
        examples = np.asarray(inputs, int).ravel()
        assert set(examples) == set(shard)
        np.testing.assert_array_equal(np.asarray(targets).reshape(-1, 3), np.eye(3)[examples % 3])


@pytest.mark.compiled_fully
def test_a_number_of_workers_deals_the_data_out_evenly():
    """A number instead of shards is the even random partition."""
    given_number = problems.classification(nn.Dense(3), 4, data=NUMBERED, batch=4)
    given_shards = problems.classification(nn.Dense(3), partition.iid(NUMBERED.labels, 4), data=NUMBERED, batch=4)
    assert given_number.num_workers == 4
    draw_one, draw_other = jax.jit(given_number.sample), jax.jit(given_shards.sample)
    for worker in range(4):
        np.testing.assert_array_equal(draw_one(KEY, worker)[0], draw_other(KEY, worker)[0])


def test_a_number_of_workers_may_be_a_numpy_number():
    """A whole number out of a NumPy computation counts workers as well as Python's."""
    counted = problems.classification(nn.Dense(3), np.int64(4), data=NUMBERED, batch=4)
    assert counted.num_workers == 4


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([[0], []], "the shard of worker 1 must be a flat, non-empty array"),
        ([[0], [[1, 2]]], "the shard of worker 1 must be a flat, non-empty array"),
        ([[0], [1.0, 2.0]], "the shard of worker 1 must be a flat, non-empty array of indices"),
        ([[0], [True, False]], "the shard of worker 1 must be a flat, non-empty array of indices"),
        ([[0], [20]], "the shard of worker 1 refers to examples outside 0 to 19"),
        ([[0], [-1]], "the shard of worker 1 refers to examples outside 0 to 19"),
        ([], "shard"),
        (0, "`num_workers` must lie between 1 and the 20 examples, got 0"),
        (21, "`num_workers` must lie between 1 and the 20 examples, got 21"),
    ],
)
def test_bad_shards_are_refused(shards, message):
    """The message names the worker and what its shard must be."""
    with pytest.raises(ValueError, match=message):
        problems.classification(nn.Dense(3), shards, data=NUMBERED)


BROKEN = np.where(np.arange(20)[:, None] == 6, np.nan, NUMBERED.inputs)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Dataset(BROKEN, NUMBERED.labels), "example 6 of the data is not finite"),
        (Dataset(NUMBERED.inputs[:15], NUMBERED.labels), "15.*20|20.*15"),
        (Dataset(NUMBERED.inputs, NUMBERED.labels[:15]), "15.*20|20.*15"),
        (Dataset(NUMBERED.inputs, NUMBERED.labels - 1), "label"),
        (Dataset(NUMBERED.inputs, NUMBERED.labels + 0.5), "label"),
        (Dataset(NUMBERED.inputs[:0], NUMBERED.labels[:0]), "at least one example"),
    ],
    ids=["nan", "inputs too short", "labels too short", "negative labels", "fractional labels", "empty"],
)
def test_bad_data_are_refused(data, message):
    """Inputs are finite, labels whole numbers from 0 on, and there are as many of both."""
    with pytest.raises(ValueError, match=message):
        problems.classification(nn.Dense(3), 4, data=data)


def test_an_empty_batch_is_refused():
    """A job needs an example."""
    with pytest.raises(ValueError, match="`batch` must be a positive whole number, got 0"):
        problems.classification(nn.Dense(3), 4, data=NUMBERED, batch=0)


def test_a_problem_without_gradient_differentiates_its_loss():
    """The default gradient is ``jax.grad`` of the loss; a given one is kept."""
    parts = {
        "init": lambda key: jnp.ones(2),
        "loss": lambda params, batch: jnp.sum(batch * params**2),
        "sample": lambda key, worker: jnp.float32(3.0),
        "metrics": lambda params: {},
    }
    assert Problem(**parts).gradient(jnp.ones(2), 3.0).tolist() == [6.0, 6.0]

    def mine(params, batch):
        return params

    assert Problem(**parts, gradient=mine).gradient is mine


# Normal numbers.

compiled_normal = jax.jit(normal, static_argnums=1)


def bits(values):
    return np.asarray(values).view(np.uint32)


@pytest.mark.compiled_fully
@pytest.mark.parametrize("size", [1, 2, 7, 1729])
def test_normal_equals_that_of_jax_bit_for_bit(size):
    """For several keys every bit is that of ``jax.random.normal``."""
    for key in jax.random.split(jax.random.key(size), 3):
        values = compiled_normal(key, size)
        assert values.dtype == jnp.float32
        np.testing.assert_array_equal(bits(values), bits(jax.random.normal(key, (size,), jnp.float32)))


@pytest.mark.compiled_fully
def test_normal_of_a_batch_of_keys_equals_that_of_each_key():
    """Under ``vmap``, as in the simulation of many jobs, the bits stay the same."""
    keys = jax.random.split(jax.random.key(1), 5)
    batched = jax.jit(jax.vmap(lambda key: normal(key, 7)))(keys)
    np.testing.assert_array_equal(bits(batched), bits(np.stack([jax.random.normal(key, (7,)) for key in keys])))


@pytest.mark.compiled_fully
@pytest.mark.parametrize("data", [(0, 0), (0, 1), (2**32 - 1, 2**32 - 1), (123, 2**31)])
def test_normal_equals_that_of_jax_for_extreme_keys(data):
    """Words of all zeros and all ones overflow as they should."""
    key = jax.random.wrap_key_data(jnp.array(data, jnp.uint32))
    np.testing.assert_array_equal(bits(compiled_normal(key, 7)), bits(jax.random.normal(key, (7,), jnp.float32)))


@pytest.mark.compiled_fully
def test_normal_leaves_other_generators_to_jax():
    """A key of another kind gives that kind's numbers."""
    key = jax.random.key(3, impl="rbg")
    np.testing.assert_array_equal(compiled_normal(key, 7), jax.random.normal(key, (7,), jnp.float32))


@pytest.mark.compiled_fully
def test_normal_follows_the_setting_of_jax():
    """Where JAX is set to its older order of random bits, the numbers are those of that order."""
    with jax.threefry_partitionable(False):
        np.testing.assert_array_equal(compiled_normal(KEY, 7), jax.random.normal(KEY, (7,), jnp.float32))


def test_a_replaced_loss_is_the_one_that_is_differentiated():
    """``dataclasses.replace`` keeps what it is not told to replace, but not the gradient of another loss."""
    problem = Problem(
        init=lambda key: jnp.ones(3),
        loss=lambda x, batch: jnp.sum(x**2),
        sample=lambda key, worker: worker,
        metrics=lambda x: {"loss": jnp.sum(x**2), "grad_norm": jnp.linalg.norm(x)},
    )
    moved = dataclasses.replace(problem, loss=lambda x, batch: jnp.sum((x - 7) ** 2))
    assert moved.gradient(jnp.zeros(3), None).tolist() == [-14.0] * 3
    assert dataclasses.replace(moved, name="moved").gradient is moved.gradient
    doubled = dataclasses.replace(problem, gradient=lambda x, batch: 4 * x)
    assert dataclasses.replace(doubled, name="doubled").gradient is doubled.gradient
    with pytest.raises(ValueError, match="`loss` of problem was replaced but not its `gradient`; give both, or"):
        dataclasses.replace(doubled, loss=moved.loss)
    assert dataclasses.replace(doubled, loss=moved.loss, gradient=None).gradient(jnp.zeros(3), None).tolist() == [-14.0] * 3
    borrowed = dataclasses.replace(moved, gradient=problem.gradient)
    assert differentiates(moved)
    assert not differentiates(borrowed), "the gradient of another loss is not this one's"
