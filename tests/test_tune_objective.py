"""Configurations as simulated runs, and the command."""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import jasgd
from jasgd.cli import main
from jasgd.tune.config import read_config
from jasgd.tune.objective import _scores

pytestmark = pytest.mark.compiled_quickly
FLEET = jasgd.fleet.power_law(4, exponent=1.0)
PROBLEM = jasgd.problems.quadratic(dim=6, noise=0.01)
KEY = jax.random.key(0)
SECONDS = 40.0

POINTS = [
    {"method": "asynchronous_sgd", "learning_rate": 0.1},
    {"method": "asynchronous_sgd", "learning_rate": 0.3},
    {"method": "ringmaster", "learning_rate": 0.1, "threshold": 2},
    {"method": "ringmaster", "learning_rate": 0.1, "threshold": 3},
    {"method": "asynchronous_sgd", "learning_rate": 1000.0},
]


@pytest.fixture(scope="module")
def values():
    objective = jasgd.tune.Objective(PROBLEM, FLEET, seconds=SECONDS, key=KEY, seeds=2, metric="gap")
    return objective, objective(POINTS)


def test_values_of_a_batch_are_those_of_single_evaluations(values):
    """To the rounding of the arithmetic, whatever was evaluated together; the one that diverges counts as the cap."""
    objective, together = values
    alone = [objective([point])[0] for point in POINTS]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-4)
    assert together[-1] == 4.0
    assert len(set(together)) == len(POINTS)


def test_value_is_the_logarithm_of_the_mean_of_a_simulation(values):
    """Of every seed's own run of the method, recorded over the last fifth of the time."""
    schedule = jasgd.protocols.ringmaster(FLEET, 400, threshold=2)
    times = np.linspace(0.8 * SECONDS, SECONDS, 41)
    means = []
    for seed in range(2):
        run = jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, key=jax.random.fold_in(KEY, seed), times=times)
        at = np.searchsorted(run.history["time"], times, side="right") - 1
        means.append(np.mean(run.history["gap"][at]))
    assert values[1][2] == pytest.approx(np.mean(np.log10(means)), abs=1e-4)


def test_time_to_a_goal():
    """With a goal the value is log10 of the seconds until it is reached, and the cap if it is not."""
    objective = jasgd.tune.Objective(PROBLEM, FLEET, seconds=SECONDS, key=KEY, metric="gap", goal=0.3)
    slow, fast, never = objective([{"method": "asynchronous_sgd", "learning_rate": rate} for rate in (0.1, 0.4, 1e-6)])
    schedule = jasgd.protocols.asynchronous(FLEET, 200)
    run = jasgd.simulate(PROBLEM, optax.sgd(0.1), schedule, key=jax.random.fold_in(KEY, 0), every=1)
    first = run.history["time"][np.argmax(run.history["gap"] <= 0.3)]
    assert fast < slow
    assert 0 <= 10**slow - first <= SECONDS / 400 * (1 + 1e-6)
    assert never == 4.0


def test_large_losses_count_as_the_cap():
    """Also those whose sum overflows, without a warning, and those that are no numbers."""
    curves = np.array([[[3e38, 3e38], [1.0, 1.0]], [[1.0, np.nan], [0.1, 0.1]]], np.float32)
    found = _scores(curves, np.array([1.0, 2.0]), None, 4.0, "loss")
    np.testing.assert_allclose(found, [[4.0, 0.0], [4.0, -1.0]], atol=1e-6)


def test_own_methods_and_knobs_of_the_problem():
    """A protocol and a rule of one's own under a name; a knob that the problem takes goes there."""

    def heavy_ball(fleet, updates, *, learning_rate, momentum):
        return jasgd.methods.Method(
            name="heavy ball",
            schedule=jasgd.protocols.asynchronous(fleet, updates),
            rule=optax.sgd(learning_rate, momentum=momentum),
            reference="",
        )

    def problem(noise):
        return jasgd.problems.quadratic(dim=6, noise=noise)

    objective = jasgd.tune.Objective(
        problem, FLEET, seconds=SECONDS, key=KEY, metric="gap", makers={"heavy_ball": heavy_ball}
    )
    point = {"method": "heavy_ball", "learning_rate": 0.1, "momentum": 0.0, "noise": 0.01}
    same, noisy, heavy = objective([point, {**point, "noise": 5.0}, {**point, "momentum": 0.5}])
    plain = jasgd.tune.Objective(PROBLEM, FLEET, seconds=SECONDS, key=KEY, metric="gap")
    assert same == pytest.approx(plain([POINTS[0]])[0], abs=1e-4)
    assert noisy > same + 0.5
    assert abs(heavy - same) > 0.01


def test_every_method_of_the_bundled_space_runs():
    """One configuration of each, with all its knobs, gives a number."""
    space = jasgd.tune.jasgd_space(FLEET)
    found = {}
    for configuration in map(jasgd.tune.plain, space.sample_configuration(200)):
        found.setdefault((configuration["method"], configuration.get("source")), {**configuration, "learning_rate": 0.01})
    assert {method for method, _ in found} == set(space["method"].choices)
    assert len(found) == len(space["method"].choices) + 2  # three sources of one method
    values = jasgd.tune.Objective(PROBLEM, FLEET, seconds=10.0, key=KEY, metric="gap")(list(found.values()))
    assert np.isfinite(values).all()
    assert max(values) < 4.0


def test_metrics_without_logarithm_and_unknown_methods_are_refused():
    """Each in one sentence."""
    objective = jasgd.tune.Objective(PROBLEM, FLEET, seconds=SECONDS, key=KEY)
    with pytest.raises(ValueError, match="has no logarithm"):
        objective([{"method": "asynchronous_sgd", "learning_rate": 0.5}])
    with pytest.raises(ValueError, match="needs a `method`"):
        objective([{"learning_rate": 0.5}])
    with pytest.raises(ValueError, match="`metric` must be"):
        jasgd.tune.Objective(PROBLEM, FLEET, seconds=SECONDS, key=KEY, metric="accuracy")(POINTS[:1])


CONFIG = """
key = 0
budget = 5
initial = 4
seconds = 30.0
metric = "gap"
problem = {name = "quadratic", dim = 6, noise = 0.01}
fleet = {name = "power_law", num_workers = 4, exponent = 1.0}
evaluators = {name = "power_law", num_workers = 2, exponent = 1.0}
[space]
learning_rate = {low = 1e-3, high = 0.3, log = true}
[space.method.asynchronous_sgd]
[space.method.ringmaster]
threshold = [1, 2, 4]
"""


def test_the_command_searches_prints_and_draws(tmp_path, monkeypatch, capsys):
    """A table on stdout, progress on stderr, all evaluations and a picture in the folder that it names."""
    config = tmp_path / "small.toml"
    config.write_text(CONFIG)
    monkeypatch.setattr(sys, "argv", ["jasgd", "tune", str(config), "--out", str(tmp_path / "found")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    printed = capsys.readouterr()
    result = jasgd.tune.Result.load(tmp_path / "found" / "evaluations.json")
    assert len(result.evaluations) == 5
    assert [each.time for each in result.evaluations] == [1.0, 2.0, 2.0, 3.0, 4.0]
    rows = printed.out.splitlines()
    assert re.match(r" *value  method", rows[0])
    assert rows[1].split()[:2] == [f"{result.best.value:.4g}", result.best.configuration["method"]]
    assert str(tmp_path / "found" / "evaluations.png") in printed.out
    assert "best" in printed.err
    assert "5/5" in printed.err
    assert (tmp_path / "found" / "evaluations.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((tmp_path / "found" / "evaluations.json").read_text())["backend"] == "gp"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("budget = 5", "there is no `budget`"),
        ("threshold = [1, 2, 4]", "needs `threshold`|does not take"),
        ("fleet = ", "there is no `fleet`"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path, line, sentence):
    """What is missing or misspelt is named."""
    config = tmp_path / "wrong.toml"
    wrong = "treshold = [1, 2]" if line.startswith("threshold") else ""
    config.write_text("\n".join(wrong if each.startswith(line) else each for each in CONFIG.splitlines()))
    with pytest.raises(ValueError, match=sentence):
        read_config(config)


def test_the_example_is_a_configuration():
    """The committed file names methods and knobs that there are."""
    arguments = read_config(Path(__file__).parent.parent / "experiments" / "tune_example" / "which_method.toml")
    assert arguments["budget"] == 40
    assert {"ringmaster", "ormo", "rescaled_sgd"} <= set(arguments["space"]["method"].choices)
