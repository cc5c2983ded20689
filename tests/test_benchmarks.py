"""The benchmarks time loops that compute the same thing."""

import dataclasses
import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick
from jax.flatten_util import ravel_pytree

from experiments.benchmarks import engine, loops, measure
from experiments.benchmarks.cases import CASES, MODELS, Case, Digits, Images, Quadratic, chosen
from experiments.benchmarks.compare import check
from experiments.benchmarks.numpy_heap import numpy_heap
from experiments.benchmarks.numpy_heap import oracle_of as numpy_oracle

pytestmark = pytest.mark.compiled_quickly
ROOT = Path(__file__).resolve().parents[1]
KEY = jax.random.key(3)
SMALL = {"workers": 6, "deliveries": 48}
TRIDIAGONAL = Case(name="tridiagonal", model=Quadratic(dim=12), **SMALL)
SCALAR = Case(name="scalar", model=Quadratic(dim=12, noise_kind="scalar"), **SMALL)
DENSE = Case(name="dense", model=Quadratic(dim=12, dense=True), **SMALL)
LOGISTIC = Case(name="logistic", model=Digits(batch=4), speeds="linear", **SMALL)
PERCEPTRON = Case(name="mlp", model=Digits(hidden=(8,), batch=4), speeds="equal", **SMALL)
ADAM = Case(name="adam", model=Digits(batch=4), rule="adam", learning_rate=1e-3, **SMALL)
DELAYS = Case(name="delays", model=Digits(batch=4), largest_delay=3, **SMALL)
IMAGES = Case(name="cnn", model=Images(channels=(2, 3), batch=2, examples=40), **SMALL)
BY_HAND = [TRIDIAGONAL, SCALAR, DENSE, LOGISTIC, PERCEPTRON]


def names(case):
    return case.name


@pytest.mark.parametrize(
    ("case", "lanes"),
    [(TRIDIAGONAL, 1), (SCALAR, 3), (PERCEPTRON, 4), (ADAM, 2), (DELAYS, 6)],
    ids=lambda a: getattr(a, "name", a),
)
def test_engine_and_scan_end_at_the_same_point(case, lanes):
    """With the same key for each job they do the same arithmetic."""
    problem, rule, schedule = case.problem(), case.optimizer(), case.schedule()
    start = {"params": problem.init(KEY), "key": KEY}
    scan = loops.jax_rounds if case.largest_delay is not None else loops.jax_scan
    theirs = scan(problem, rule, schedule, job_keys=True, **start)()
    ours = engine.prepare(problem, rule, schedule, lanes=lanes, **start).run()
    assert measure.relative_difference(ours, theirs) <= measure.tolerance(theirs)
    assert measure.relative_difference(start["params"], theirs) > 1e-3


def test_check_passes_a_right_engine():
    """What comes back is rounding."""
    problem = SCALAR.problem()
    assert check(SCALAR, problem, SCALAR.schedule(), lanes=2, params=problem.init(KEY), key=KEY) < 1e-5


def test_check_refuses_a_wrong_engine(monkeypatch):
    """An engine that starts elsewhere is found out."""
    real = engine.prepare
    monkeypatch.setattr(
        engine, "prepare", lambda *args, params, **kwargs: real(*args, params=params.at[0].add(0.1), **kwargs)
    )
    problem = TRIDIAGONAL.problem()
    with pytest.raises(AssertionError, match="different points in tridiagonal"):
        check(TRIDIAGONAL, problem, TRIDIAGONAL.schedule(), lanes=1, params=problem.init(KEY), key=KEY)


def test_flat_scan_equals_tree_scan():
    """One vector of parameters or a tree: the same loop."""
    problem, schedule = PERCEPTRON.problem(), PERCEPTRON.schedule()
    params = problem.init(KEY)
    flat, vector = loops.flattened(problem, params)
    tree_end = loops.jax_scan(problem, PERCEPTRON.optimizer(), schedule, params=params, key=KEY)()
    flat_end = loops.jax_scan(flat, PERCEPTRON.optimizer(), schedule, params=vector, key=KEY)()
    assert measure.relative_difference(ravel_pytree(tree_end)[0], flat_end) <= measure.tolerance(vector)


@pytest.mark.parametrize("width", [1, 3])
def test_lanes_limit_computes_every_gradient(width):
    """Its result is the sum of all gradients, each with the sample of its own job."""
    problem = TRIDIAGONAL.problem()
    params = problem.init(KEY)
    total = loops.lanes_limit(problem, width, 4, params=params, key=KEY)()
    keys = [loops.job_key(KEY, jnp.int32(lane), jnp.int32(step)) for lane in range(width) for step in range(4)]
    expected = sum(problem.gradient(params, problem.sample(key, jnp.int32(0))) for key in keys)
    np.testing.assert_allclose(total, expected, rtol=1e-5, atol=1e-5)


@functools.cache
def drawn_by_jax(case):
    """The problem, parameters, a batch and its gradient."""
    problem = case.problem()

    @quick.jit
    def draw(key):
        params, batch = problem.init(key), problem.sample(key, jnp.int32(2))
        return params, batch, problem.gradient(params, batch)

    return problem, *draw(KEY)


@pytest.mark.parametrize("case", BY_HAND, ids=names)
def test_numpy_gradient_equals_jax_gradient(case):
    """The gradients by hand, on a batch that JAX drew."""
    problem, params, batch, gradient = drawn_by_jax(case)
    theirs = numpy_oracle(case, problem).gradient(np.asarray(ravel_pytree(params)[0]), jax.tree.map(np.asarray, batch))
    np.testing.assert_allclose(theirs, ravel_pytree(gradient)[0], rtol=1e-4, atol=1e-6)
    assert theirs.dtype == np.float32


@pytest.mark.parametrize("case", BY_HAND, ids=names)
def test_numpy_sample_looks_like_jax_sample(case):
    """Same structure, shapes and types, so both loops do the same work."""
    problem = case.problem()
    drawn = numpy_oracle(case, problem).sample(np.random.default_rng(0), 2)
    expected = jax.eval_shape(problem.sample, KEY, jnp.int32(2))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), drawn) == jax.tree.map(lambda a: (a.shape, a.dtype), expected)


@pytest.mark.parametrize("case", [*BY_HAND, IMAGES], ids=names)
def test_torch_gradient_equals_jax_gradient(case):
    """Autograd of the other library, on a batch that JAX drew."""
    torch = pytest.importorskip("torch")
    from experiments.benchmarks import torch_heap

    problem, params, batch, gradient = drawn_by_jax(case)
    oracle, vector = torch_heap.oracle_of(case, problem, params), torch_heap.vector_of(params)
    if isinstance(case.model, Quadratic):
        given = torch.from_numpy(np.array(batch))
    else:
        inputs, targets = map(np.array, batch)
        inputs = inputs.transpose(0, 3, 1, 2).copy() if inputs.ndim == 4 else inputs
        given = torch.from_numpy(inputs), torch.from_numpy(targets.argmax(axis=1))
    expected = torch_heap.vector_of(gradient)
    np.testing.assert_allclose(oracle.gradient(vector, given), expected, rtol=1e-4, atol=1e-6)
    drawn = oracle.sample(2)
    if isinstance(drawn, tuple):
        assert [a.shape for a in drawn] == [a.shape for a in given]


@pytest.mark.parametrize("dense", [False, True])
def test_heap_loops_end_where_the_engine_ends(dense):
    """Without noise all loops do the same arithmetic: same order, same snapshots, same steps."""
    case = dataclasses.replace(TRIDIAGONAL, model=Quadratic(dim=12, noise=0.0, dense=dense), learning_rate=0.05)
    problem, schedule = case.problem(), case.schedule()
    params = problem.init(KEY)
    ours = engine.prepare(problem, case.optimizer(), schedule, lanes=1, params=params, key=KEY).run()
    ends = [numpy_heap(case, problem, case.deliveries, params=params)()]
    try:
        from experiments.benchmarks.torch_heap import torch_heap
    except ImportError:
        pass
    else:
        ends.append(torch_heap(case, problem, case.deliveries, params=params)())
    for end in ends:
        np.testing.assert_allclose(end, ours, rtol=1e-4, atol=1e-5)


def test_competitors_take_turns():
    """Every other round goes backwards, and ratios are taken within a round."""
    order = []
    competitors = [
        measure.Competitor(name=name, run=lambda name=name: order.append(name), deliveries=count)
        for name, count in (("a", 2), ("b", 1))
    ]
    rates = measure.paired(competitors, repeats=2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert {name: len(values) for name, values in rates.items()} == {"a": 2, "b": 2}
    assert measure.ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == measure.Spread(
        median=2.0, low=1.0, high=3.0
    )


def test_widths_can_be_filled():
    """No more lanes than deliveries / critical path; rounds get one lane per gradient."""
    assert engine.widths(dataclasses.replace(TRIDIAGONAL, speeds="equal").schedule()) == [1, 4]
    assert engine.widths(DELAYS.schedule()) == [6]


def test_cases_are_chosen_by_name_or_by_device():
    """The large models run on an accelerator, or if they are named."""
    assert chosen((), accelerated=False) == list(CASES)
    assert chosen((), accelerated=True) == [*CASES, *MODELS]
    assert [case.name for case in chosen(("resnet20", "cnn"), accelerated=False)] == ["cnn", "resnet20"]


def test_unknown_case_is_refused():
    """The message names the nearest case, or all."""
    assert len({case.name for case in (*CASES, *MODELS)}) == len(CASES) + len(MODELS)
    with pytest.raises(ValueError, match=r"there is no case 'resnet'; did you mean 'resnet20'?"):
        chosen(("resnet",), accelerated=False)
    with pytest.raises(ValueError, match=r"there is no case 'xyz'; there are mlp-equal, .*, transformer."):
        chosen(("xyz",), accelerated=False)


@pytest.mark.slow
def test_quick_report_of_one_case(tmp_path):
    """The command prints a table and writes what it measured, with versions and device."""
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "experiments.benchmarks", "--only", "tridiagonal-exact", "--quick", "--repeats", "2"]
    done = subprocess.run([*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| tridiagonal-exact |" in done.stdout
    written = json.loads(out.read_text())
    assert written["about"]["repeats"] == "2"
    assert {"device", "jax", "created", "torch"} <= set(written["about"])
    (case,) = written["cases"]
    assert {"engine", "limit", "as wide", "scan", "numpy"} <= set(case["rates"])
    assert written["device"].keys() == {"bytes_per_second", "operations_per_second", "launch_seconds"}
    assert case["bounds"]["seconds"].keys() == {"launches", "bytes", "arithmetic"}
    assert case["bounds"]["launches"] * written["device"]["launch_seconds"] == case["bounds"]["seconds"]["launches"]
    assert case["ratios"]["scan"]["low"] <= case["ratios"]["scan"]["median"] <= case["ratios"]["scan"]["high"]


@pytest.mark.slow
def test_large_case_in_small():
    """The child process reports its time and its memory."""
    from experiments.benchmarks.large import large

    report = large(workers=50, deliveries=400, dim=7)
    assert report["slots"] <= 51
    assert 0 < report["peak_over_bound"] < 1
    assert report["bound_bytes"] == 2 * report["slots"] * 7 * 4 + 10**9
