"""``jasgd reproduce dude2024``: closed forms, small figures, claims."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray

import jasgd
from experiments.dude2024 import claims, figure1, figure2, figure3
from experiments.dude2024.settings import contenders, quadratic_problem, quadratics

pytestmark = pytest.mark.compiled_quickly


def test_minimisers_have_no_gradient():
    """Uniform and speed-weighted; the problem's gradients are those of the workers' functions."""
    made = quadratics(3, 4, draw=0)
    for weights in (np.full(3, 1 / 3), np.array([0.7, 0.2, 0.1])):
        best = made.minimiser(weights)
        gradients = np.einsum("ijk,ik->ij", made.curvature, best - made.centre)
        np.testing.assert_allclose(weights @ gradients, 0.0, atol=1e-12)
    problem, start = quadratic_problem(made, np.ones(4)), np.ones(4) - made.minimiser(np.full(3, 1 / 3))
    one = problem.gradient(start.astype(np.float32), (1, np.zeros(4, np.float32)))
    np.testing.assert_allclose(one, made.curvature[1] @ (1 - made.centre[1]), rtol=1e-5)
    assert problem.facts["gap"] == pytest.approx(0.5 * start @ made.curvature.mean(axis=0) @ start)


def test_ages_of_table_entries():
    """Equal speeds: at most 2 n - 1 from 1, 2 n - 2 from 0; times 1 to 6: 28 from 0."""
    assert [figure3.largest_age(figure3.table_schedule(np.ones(n), 50 * n)) for n in (1, 2, 5)] == [1, 3, 9]
    assert figure3.largest_age(figure3.table_schedule(figure3.TIMES, 1_500)) == 29


def test_times_to_a_goal():
    """A straight line on double logarithmic paper is met exactly."""
    seconds = np.array([1.0, 10.0, 100.0])
    assert figure3.seconds_to(0.05, seconds, 1 / seconds) == pytest.approx(20.0)
    assert np.isnan(figure3.seconds_to(0.001, seconds, 1 / seconds))


def test_steps_are_per_gradient():
    """Of equal gradients every method moves as far as plain ASGD, once DuDe's table is full."""
    problem = jasgd.Problem(
        init=lambda _: np.zeros(1, np.float32),
        loss=lambda x, _: x.sum(),
        sample=lambda key, worker: worker,
        metrics=lambda x: {"loss": x[0], "grad_norm": x[0] ** 2},
    )
    for name, one in contenders(3).items():
        schedule = one.schedule(jasgd.fleet.equal(3), 6, 0)
        run = jasgd.simulate(problem, one.rule(0.5), schedule, key=jax.random.key(0))
        steps = len(schedule) - 2 if name == "DuDe" else len(schedule)  # its first three gradients are one step
        damped = name == "FedBuff" and (schedule.delay > 0).any()
        assert (float(run.params[0]) > -0.5 * steps) if damped else float(run.params[0]) == pytest.approx(-0.5 * steps), name


def test_the_bias_in_small(tmp_path, monkeypatch):
    """ASGD at the weighted minimiser, DuDe at that of the mean; the picture is drawn."""
    names = list(contenders(figure1.WORKERS))
    monkeypatch.setattr(figure1, "contenders", lambda n: {name: contenders(n)[name] for name in ("ASGD", "DuDe")})
    config = dataclasses.replace(figure1.Config().quick(), horizon=1_234.5, records=50, draws=1)
    found = figure1.compute(config, tmp_path)
    np.testing.assert_allclose(found["arrivals"].sum("worker"), 1.0)
    assert float(found["to_mean"].sel(algorithm="DuDe", step=0.04).isel(time=-1).max()) < float(found["precision"].max())
    assert float(found["late_to_weighted"].sel(algorithm="ASGD", step=0.01).max()) < 0.05 * float(found["apart"].max())
    # As if every method but ASGD were DuDe: then there is no bias of FedBuff.
    found = found.isel(algorithm=[int(name != "ASGD") for name in names]).assign_coords(algorithm=names)
    assert "holds" == claims.figure1(found)[0].verdict == claims.figure1(found)[2].verdict
    assert claims.figure1(found)[-1].verdict == "does not hold"
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_claims_about_classification_can_fail(tmp_path):
    """On made-up accuracies: who leads, and what rises."""
    config = figure2.Config()
    dims = ("algorithm", "alpha", "speeds", "step", "seed", "time")
    shape = (len(config.methods), 3, 3, 1, 2, 3)
    accuracy = np.full(shape, 0.8)
    accuracy[:, 2] = 0.9
    accuracy[config.methods.index("DuDe"), 2] -= 0.03
    accuracy[config.methods.index("ASGD"), 0, 2] -= 0.1  # own means
    coords = {"algorithm": list(config.methods), "alpha": list(config.alphas), "speeds": list(config.speeds)}
    coords |= {"step": [0.1], "seed": [0, 1], "time": [0.0, 1.0, 2.0], "version": (dims, np.broadcast_to([0, 9, 18], shape))}
    found = xarray.Dataset({"accuracy": (dims, accuracy), "loss": (dims, 1 - accuracy)}, coords)
    assert [claim.verdict for claim in claims.figure2(found)] == ["holds", "does not hold", "does not hold", "holds"]
    figure2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
