"""DASGD's figures in small: replay and simulator agree, known levels come out, pictures are written."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import jasgd
from experiments.dasgd2023 import claims, figure1, figure2, figure3, figure4
from experiments.dasgd2023.contests import gradients_in
from experiments.dasgd2023.settings import DIM, KEY, NODES, execution, gap, problem, replay, samples

pytestmark = pytest.mark.compiled_quickly


def test_replay_equals_the_simulator():
    """With sums of two gradients per message, to the rounding of float32; the first read is at the start."""
    run = execution(60, broadcast_every=2)
    squared, replicas = replay(run, samples(60, [3]), [0.05])
    simulated = jasgd.decentralized.simulate(problem(), optax.sgd(0.05), run, key=jax.random.fold_in(KEY, 3))
    np.testing.assert_allclose(simulated.params, replicas[:, 0, 0], atol=1e-5)
    start = problem().metrics(problem().init(KEY))
    np.testing.assert_allclose(squared[:NODES, 0, 0], float(start["grad_norm"]) ** 2, rtol=1e-6)
    assert squared.shape == (60, 1, 1)


def test_gap_is_known():
    """f(x_0) - f* = d / 4 + sqrt(d) / 4 + d / (8 (d + 1))."""
    np.testing.assert_allclose(gap(), DIM / 4 + np.sqrt(DIM) / 4 + DIM / (8 * (DIM + 1)), rtol=1e-6)


def test_prediction_for_small_steps():
    """tr(A) eta sigma^2 / 2 without delay, and the slope eta^2 sigma^2 tr(A^2) / 2; infinite where it is unstable."""
    step, noise = 1e-3, 0.7
    low, high = figure2.predicted(step, np.array([0.0, 1.0]), noise)
    np.testing.assert_allclose(low, step * noise**2 * DIM / 4, rtol=1e-6)
    np.testing.assert_allclose(high - low, step**2 * noise**2 * (DIM / 4 + (DIM - 1) / 8) / 2, rtol=1e-2)
    assert figure2.predicted(0.5, np.array([10.0]), noise) == np.inf


def test_first_figure_in_small(tmp_path):
    """Bounds hold; the exact identity holds; a picture."""
    found = figure1.compute(dataclasses.replace(figure1.Config(), gradients=120, draws=2), tmp_path)
    bounds, sums, _, replayed = claims.figure1(found)
    assert (bounds.verdict, sums.verdict, replayed.verdict) == ("holds",) * 3
    worse = found.assign(left=2 * found["unbounded"])
    assert claims.figure1(worse)[0].verdict == "does not hold"
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_second_figure_in_small(tmp_path):
    """More latency and rarer messages mean staler reads, and more gradients without noise."""
    config = dataclasses.replace(figure2.Config().quick(), gradients=1_000, finest=20, goals=(0.8, 0.4), seeds=2)
    found = figure2.compute(config, tmp_path)
    assert list(found["average"].values[:3]) == sorted(found["average"].values[:3])
    assert found["average"].values[3] > found["average"].values[1]
    free, noisy = figure2.with_best_step(found)
    assert (np.diff(free.isel(execution=slice(0, 3)), axis=0) > 0).all()
    assert np.isfinite(noisy).all()
    assert len(claims.figure2(found)) == 8
    figure2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_third_figure_in_small(tmp_path):
    """All methods at equal times, at their best steps; nobody idles but those who wait."""
    config = dataclasses.replace(figure3.Config().quick(), nodes=4, seconds=8.0, records=4, rates=(0.1,), seeds=1)
    found = figure3.compute(config, tmp_path)
    assert dict(found["loss"].sizes) == {"setting": 1, "algorithm": 3, "seed": 1, "time": 5}
    assert np.isfinite(found["loss"]).all()
    np.testing.assert_allclose(found["learning_rate"].values, [[0.1, 0.4, 0.1]])
    np.testing.assert_allclose(found["busy"].values[0, :2], [1.0, np.sqrt([1, 2, 3, 4]).mean() / 3])
    assert len(claims.figure3(found)) == 3
    figure3.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", figure4.GRAPHS)
def test_executions_last_long_enough(name):
    """Every method on every graph, beside a slow node."""
    config = dataclasses.replace(figure4.Config(), side=3, seconds=7.0)
    for run in figure4.executions(name, config, slow=True).values():
        assert run.time[-1] >= config.seconds
        assert run.num_nodes == 9


def test_fourth_figure_in_small(tmp_path):
    """Claims and a picture with two methods; the nodes start together."""
    config = dataclasses.replace(
        figure4.Config().quick(), seconds=6.0, records=4, seeds=1, methods=(figure4.DSGD, figure4.DASGD)
    )
    found = figure4.compute(config, tmp_path)
    assert float(found["consensus"].isel(time=0).max()) < 1e-10
    assert len(claims.figure4(found)) == 2
    figure4.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_gradients_in_a_time():
    """Two nodes of 1 and 2 s finish 4 + 2 in 4 s; one more of each is under way."""
    assert gradients_in(4.0, np.array([1.0, 2.0])) == 8
