"""Lian et al. 2016 reproduced: oracles and read models."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray

from experiments import lian2016
from experiments.lian2016 import blending, claims, figure1, figure2, figure3, figure4, figure5
from experiments.lian2016.network import black_box
from experiments.lian2016.settings import DIM, SPECTRUM, first_below, hessian, quadratic

pytestmark = pytest.mark.compiled_quickly


def drawn(module, found, path):
    module.draw(found, path / "figure.png")
    assert (path / "figure.png").stat().st_size > 10_000


def verdicts(check, found):
    return [claim.verdict for claim in check(found)]


def test_every_figure_has_an_entry():
    """What it shows, how long it takes, how faithful it is."""
    assert sorted(lian2016.FIGURES) == [1, 2, 3, 4, 5]
    assert all(len(entry) == 3 for entry in lian2016.FIGURES.values())


def test_the_quadratic_is_the_hessian():
    """Its gradient is H x, its eigenvalues are those said, and steps come from the diagonal."""
    x = np.random.default_rng(0).normal(size=DIM).astype(np.float32)
    problem = quadratic()
    np.testing.assert_allclose(problem.gradient(x, np.float32(0)), hessian() @ x, atol=1e-5)
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian()), SPECTRUM, atol=1e-12)
    assert float(problem.metrics(x)["distance"]) == pytest.approx(x @ x, rel=1e-5)


def test_the_first_below_is_not_one_of_a_run_that_blew_up():
    """Never there: NaN; there, but not finite in the end: NaN."""
    values = xarray.DataArray([[3.0, 1, 2], [3, 3, 3], [3, 1, np.nan]], {"version": [0, 10, 20]}, ("run", "version"))
    np.testing.assert_array_equal(first_below(values, 1.5, values["version"]), [10, np.nan, np.nan])


def test_the_exact_expectation():
    """Of one worker the closed form; of p workers the numbers known for this setting."""
    config = figure2.Config()
    c = config.learning_rate * SPECTRUM
    left = (1 - c) ** (2 * config.updates)
    closed = np.sum(9 * left + (config.learning_rate * 3) ** 2 * (1 - left) / (1 - (1 - c) ** 2))
    ends, firsts = [], []
    for p in (1, 8, 32, 64, 128):
        exact = figure2.expectation(config, p)
        ends.append(round(float(exact[-1]), 3))
        firsts.append(int(np.argmax(exact < 0.02 * exact[0])))
    assert figure2.expectation(config, 1)[-1] == pytest.approx(closed, rel=1e-9)
    assert firsts == [708, 700, 674, 643, 698]
    assert ends == [4.682, 4.814, 5.303, 6.076, 8.439]


def test_delay_under_noise_follows_the_expectation(tmp_path):
    """Thirty seeds of 32 workers, within 5 standard errors."""
    config = dataclasses.replace(figure2.Config(), workers=(1, 32), updates=300, seeds=30, goal=0.3, every=30)
    found = figure2.compute(config, tmp_path)
    assert dict(found["distance"].sizes) == {"workers": 2, "seed": 30, "version": 11}
    assert verdicts(claims.figure2, found)[0] == "holds"
    drawn(figure2, found, tmp_path)


def test_coordinates_under_three_read_models(tmp_path):
    """One worker reads the current version in all of them; with many, consistent reads lose most."""
    config = dataclasses.replace(figure1.Config(), workers=(1, 32), updates=500, seeds=2, goal=0.1)
    found = figure1.compute(config, tmp_path)
    alone = found["needed"].sel(workers=1)
    assert np.all(alone == alone[0])
    many = found["needed"].fillna(np.inf).sel(workers=32)
    assert float(many.sel(read="consistent")) > float(many.sel(read="updates"))
    assert figure1.speedup(found).sel(workers=1).values.tolist() == [1.0] * 3
    drawn(figure1, found, tmp_path)


@pytest.mark.slow
def test_function_values_take_two_thirds_of_the_time_of_partial_derivatives(tmp_path):
    """As many updates, on a quadratic; the claims say so."""
    config = dataclasses.replace(figure3.Config().quick(), workers=(1,), updates=100, seeds=2, goal=0.6)
    found = figure3.compute(config, tmp_path)
    assert np.isfinite(found["seconds"]).all()
    assert found["ideal"].values.tolist() == [[1.0]]
    assert verdicts(claims.figure3, found)[:2] == ["holds", "holds"]
    drawn(figure3, found, tmp_path)


def test_job_times_and_throughput_of_a_fleet():
    """Worker i needs i^a seconds for an evaluation, of which a gradient takes three."""
    oracles = figure3.oracles()
    np.testing.assert_allclose(figure3.job_seconds(0.5, 4, oracles["gradient"]), [3, 3 * 2**0.5, 3 * 3**0.5, 6])
    assert figure3.job_seconds(1.0, 3, oracles["zeroth order"]).tolist() == [2.0, 4.0, 6.0]
    assert figure3.throughput(1.0, 3) == pytest.approx(1 + 1 / 2 + 1 / 3)


def test_the_network_of_the_paper_has_46_380_parameters():
    """46 200 weights and 180 biases; the outputs that are fitted have the noise that was asked for."""
    problem = black_box((400, 100, 50, 20, 10), samples=10, batch=2, noise=0.1)
    leaves = jax.tree.leaves(jax.eval_shape(problem.init, jax.random.key(0)))
    assert sum(leaf.size for leaf in leaves) == 46_380
    assert sum(leaf.size for leaf in leaves if len(leaf.shape) == 1) == 180


@pytest.mark.slow
def test_a_network_is_fitted_from_function_values(tmp_path):
    """The objective falls, for both fleets; datasets have what claims need."""
    config = dataclasses.replace(figure4.Config().quick(), steps=(1.0,), updates=400, every=200, goal=0.7)
    found = figure4.compute(config, tmp_path)
    assert found.attrs["best"] in config.steps
    assert (found["loss"].isel(version=-1) < 0.9 * found["loss"].isel(version=0)).all()
    assert len(claims.figure4(found)) == 4
    drawn(figure4, found, tmp_path)


def test_values_and_partial_derivatives_blend_alike(tmp_path):
    """The same curve; its limit is the error of least squares."""
    matrix, ratings = blending.predictions(1000, 20)
    problem = blending.blending(matrix, ratings)
    weights = np.linalg.lstsq(matrix[:500], ratings[:500], rcond=None)[0].astype(np.float32)
    found = problem.metrics(weights)
    assert float(found["test"]) == pytest.approx(problem.facts["best"], rel=1e-3)
    assert float(found["grad_norm"]) < 1e-4
    assert float(found["validation"]) == pytest.approx(
        np.sqrt(np.mean((matrix[:500] @ weights - ratings[:500]) ** 2)), rel=1e-3
    )
    config = dataclasses.replace(figure5.Config().quick(), updates=500)
    curves = figure5.compute(config, tmp_path)
    assert verdicts(claims.figure5, curves)[0] == "holds"
    assert float(curves["test"].isel(version=-1).max()) < curves.attrs["single"]
    drawn(figure5, curves, tmp_path)
