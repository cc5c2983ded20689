"""The figures of Shi, Yang, Li 2024, in small."""

import dataclasses

import jax
import numpy as np
import pytest

import jasgd
from experiments.ormo2024 import claims, classification, figure1, figure2, figure3, figure4
from experiments.ormo2024.settings import COLOURS, RULES

pytestmark = pytest.mark.compiled_quickly


def test_the_limits_are_found_between_two_steps_that_were_tried(tmp_path):
    """ASGD's largest stable step is 2 sin(pi / (2 (2K - 1))); naive momentum's for two workers 1 - beta."""
    config = dataclasses.replace(figure1.Config(), rules=("ASGD", "naive momentum"), workers=(2,), steps=20)
    found = figure1.compute(config, tmp_path)
    limit, beyond = found["limit"].sel(workers=2), found["beyond"].sel(workers=2)
    np.testing.assert_allclose(limit, [1.0, 0.1], rtol=0.015)
    assert (limit < beyond).all()
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_limit_outside_the_steps_is_refused(tmp_path):
    """Nothing is extrapolated."""
    config = dataclasses.replace(figure1.Config(), rules=("ASGD",), workers=(2,), steps=5, largest=1.0)
    with pytest.raises(ValueError, match="largest stable step of ASGD lies outside"):
        figure1.compute(config, tmp_path)


def test_a_wrong_limit_does_not_hold():
    """The claim about the limits looks at every one of them."""
    rules, workers = ["ASGD", "OrMo", "vanilla step", "naive momentum"], [1, 4]
    limit = np.array([[figure1.known(rule, k) for k in workers] for rule in rules])
    labels = jasgd.results.labels()

    def verdicts(values):
        found = labels.Dataset({"limit": (("rule", "workers"), values)}, {"rule": rules, "workers": workers})
        return [claim.verdict for claim in claims.figure1(found)]

    assert verdicts(0.999 * limit) == ["holds"] * 4
    limit[1, 1] *= 1.03
    assert verdicts(0.999 * limit)[:2] == ["does not hold"] * 2


def test_every_rule_that_is_shown_has_a_colour():
    """And is a rule."""
    shown = {*figure1.SHOWN, *figure2.METHODS, *figure3.Config().methods, *figure4.Config().methods}
    assert shown <= COLOURS.keys()
    assert shown <= RULES.keys()


def test_a_step_falls_twice():
    """To a tenth after half of the updates, to a hundredth after three quarters."""
    rate = classification.decaying(1.0, 100)
    np.testing.assert_allclose([rate(t) for t in (0, 49, 50, 74, 75)], [1, 1, 0.1, 0.1, 0.01], rtol=1e-6)


def test_heterogeneous_fleets_have_one_slow_worker_out_of_sixteen():
    """Ten times as slow."""
    config = classification.Config()
    for workers in config.workers:
        means = [classification.fleet(config, workers, "heterogeneous").durations(i, 400).mean() for i in range(workers)]
        np.testing.assert_allclose(means, [1] * (workers * 15 // 16) + [10] * (workers // 16), rtol=0.03)
        assert np.isclose(classification.fleet(config, workers, "equal").durations(workers - 1, 400).mean(), 1, rtol=0.03)


def test_the_step_of_smega2_falls_in_what_it_sends_too():
    """Its look-ahead is proportional to the step of the moment."""
    rule = classification.MAKERS["SMEGA2"](classification.decaying(1.0, 4), 1)
    params = jax.numpy.zeros(1)
    state = rule.init(params)
    ahead = []
    for _ in range(4):
        _, state = rule.update(jax.numpy.ones(1), state, params)
        ahead.append(float(jasgd.rules.sent_params(state, params)[0]))
    memory = np.cumsum(0.9 ** np.arange(4))  # of unit gradients, one worker
    np.testing.assert_allclose(
        ahead, -0.9 * memory * [float(classification.decaying(1.0, 4)(t)) for t in range(4)], rtol=1e-5
    )


def test_every_worker_draws_from_all_training_examples():
    """What a job draws depends on its key alone."""
    problem = classification.problem(classification.Config())
    key = jax.random.key(3)
    np.testing.assert_array_equal(problem.sample(key, 0)[0], problem.sample(key, 63)[0])
    metrics = jax.eval_shape(lambda key: problem.metrics(problem.init(key)), key)
    assert {"loss", "test_accuracy"} <= metrics.keys()


def test_the_ablation_in_small(tmp_path):
    """Its dataset has what picture and claims need; both start at the same loss."""
    config = dataclasses.replace(figure4.Config().quick(), updates=64, records=2)
    found = figure4.compute(config, tmp_path)
    assert dict(found["loss"].sizes) == {
        "algorithm": 2, "workers": 1, "speeds": 2, "learning_rate": 2, "seed": 1, "epoch": 3,
    }  # fmt: skip
    assert found["epoch"].values[-1] == 64 * 32 / 1536
    assert float(np.ptp(found["loss"].isel(epoch=0).values)) == 0
    assert len(claims.figure4(found)) == 3
    figure4.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
