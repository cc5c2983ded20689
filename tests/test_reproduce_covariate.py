"""The figures of covariate shift, in small."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.covariate2025 import claims, figure1, figure2, figure4, figure5, settings
from jasgd import rules, theory

pytestmark = pytest.mark.compiled_quickly


def test_steps_fall_by_four_in_every_stage():
    """About log2 n stages: 363 samples each for n = 4000."""
    factor = settings.stages(4000)
    np.testing.assert_allclose([factor(k) for k in (0, 362, 363, 726)], [1, 1, 1 / 4, 1 / 16])


def test_accelerated_sgd_reports_its_estimate_and_decays_both_steps():
    """Parameters are w; the first step after a stage has a quarter of delta and of gamma."""
    rule = settings.accelerated(0.1, 0.25, 4.0, samples=8)  # stages of two
    params = jnp.zeros(1)
    state = rule.init(params)
    seen = []
    for _ in range(3):
        u = rules.sent_params(state, params)
        updates, state = rule.update(jnp.ones(1), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float((u - params)[0]))
    np.testing.assert_allclose(seen, [0.1, 0.1, 0.025], rtol=1e-5)


def test_the_derived_risk_of_a_pass_is_that_of_a_direct_recursion():
    """Mean and variance of every direction, one sample after the other."""
    instance, n = settings.vital(), 150
    best = theory.shift_optimum(*instance, n)
    p = theory.shift_preconditioner(instance.source, best.transform, n)
    left, variance = np.ones(settings.DIM), np.zeros(settings.DIM)
    for _ in range(n):
        left *= 1 - p * instance.source
        variance = (1 - p * instance.source) ** 2 * variance + p**2 * instance.noise**2 * instance.source
    square = theory.shift_least_favourable(instance.ellipse, best.prior) ** 2
    np.testing.assert_allclose(figure1.streaming_risk(instance, n), np.sum(instance.target * (left**2 * square + variance)))


def test_what_plain_and_rescaled_steps_see():
    """Weights that undo the shares of deliveries see the mean over workers; with equal times both are one."""
    np.testing.assert_allclose((figure4.SHARES * figure4.WEIGHTS["rescaled"]) @ figure4.SOURCES, figure4.MIXTURES["workers"])
    np.testing.assert_allclose(figure4.SHARES.sum(), 1)
    said = {key: figure4.derived(*key, 4000) for key in [("plain", "deliveries"), ("rescaled", "workers")]}
    risk = theory.shift_optimum(figure4.MIXTURES["deliveries"], figure4.TARGET, figure4.ELLIPSE, figure4.NOISE, 4000).risk
    assert risk < said["plain", "deliveries"] < 1.4 * risk
    assert said["rescaled", "workers"] > said["plain", "deliveries"]


def test_learning_curves_in_small(tmp_path):
    """The dataset has what picture and claims need; theory is ordered; the preconditioned pass wins."""
    config = dataclasses.replace(figure1.Config().quick(), samples=(256,))
    found = figure1.compute(config, tmp_path)
    assert dict(found["risk"].sizes) == {"algorithm": 3, "instance": 2, "samples": 1, "seed": 4}
    best = found["risk"].mean("seed").sel(instance="one vital direction", samples=256)
    assert float(best.sel(algorithm="preconditioned")) < 0.5 * float(best.sel(algorithm="SGD"))
    made = claims.figure1(found)
    assert len(made) == 4
    assert made[0].verdict == "holds"
    wrong = found.copy(deep=True)
    wrong["theory"].loc[{"line": "lower bound"}] *= 10
    assert claims.figure1(wrong)[0].verdict == "does not hold"
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_streaming_with_delay_in_small(tmp_path):
    """One curve per algorithm and delay; a preconditioner that misses the optimum is noticed."""
    config = dataclasses.replace(figure2.Config().quick(), samples=500, delays=(0, 4), records=5)
    found = figure2.compute(config, tmp_path)
    assert dict(found["target_risk"].sizes) == {"algorithm": 2, "delay": 2, "seed": 8, "version": 6}
    start = found["target_risk"].isel(version=0)
    assert float(np.ptp(start.values)) == 0
    assert claims.figure2(found)[0].verdict == "holds"
    assert claims.figure2(found.assign(optimum=found["optimum"] / 2))[0].verdict == "does not hold"
    figure2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_runs_shrink_below_the_limit_and_grow_above(tmp_path):
    """Momentum 0 and 0.9, delays 0 and 64; a wrong limit would not hold."""
    found = figure5.compute(figure5.Config().quick(), tmp_path)
    assert not found["grows"].isel(share=0).any()
    assert found["grows"].isel(share=1).all()
    assert [claim.verdict for claim in claims.figure5(found)] == ["holds"] * 3
    assert claims.figure5(found.assign(grows=~found["grows"]))[0].verdict == "does not hold"
    figure5.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", figure1.INSTANCES)
def test_every_instance_can_be_solved(name):
    """Certified, and with steps that fresh samples tolerate."""
    instance = figure1.INSTANCES[name]
    best = theory.shift_optimum(*instance, 1000)
    assert abs(best.gap) < 1e-12 * max(best.risk, 1e-6)
    assert np.isfinite(settings.problem(instance, 1000).metrics(jnp.zeros(settings.DIM))["target_risk"])
    steps = instance.source * theory.shift_preconditioner(instance.source, best.transform, 1000)
    assert steps.min() >= 0
    assert steps.sum() < 0.5  # below one, so that fresh samples do not make the pass unstable
