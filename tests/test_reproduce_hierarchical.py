"""``jasgd reproduce hierarchical2025``: closed forms, small figures, claims."""

import dataclasses

import numpy as np
import pytest

import jasgd
from experiments.hierarchical2025 import claims, figure1, figure2, figure3, figure4
from experiments.hierarchical2025.settings import FLEET, buffered_sgd, methods_space, problem

pytestmark = pytest.mark.compiled_quickly


def test_the_network_functions_smallest_value():
    """Enumerated without the space."""
    assert figure2.enumerated() == -155.5


def test_the_quadratic_starts_where_it_should():
    """Loss 9/2 times the sum of the eigenvalues; the gradient of the loss is that of the metric."""
    made = problem()
    start = made.init(None)
    assert float(made.metrics(start)["loss"]) == pytest.approx(4.5 * np.linspace(0.02, 1, 50).sum(), rel=1e-5)
    gradient = made.gradient(start, np.zeros(50, np.float32))
    np.testing.assert_allclose(gradient, 3 * np.linspace(0.02, 1, 50), rtol=1e-5)


def test_a_buffer_of_one_is_asynchronous_sgd():
    """The same schedule."""
    made = buffered_sgd(FLEET, 100, learning_rate=0.1, buffer=1)
    assert made.schedule == jasgd.protocols.asynchronous(FLEET, 100)
    assert set(methods_space()["method"].choices) >= {"buffered_sgd", "ringmaster", "ormo"}


def test_what_is_reachable():
    """Through a value that is chosen, over two levels, and not through another one."""
    edges = figure3.graph(jasgd.tune.jasgd_space(FLEET))
    starts = {"learning_rate", "method"}
    assert figure3.reachable(edges, starts, {"method": "ringmaster"}) == {*starts, "threshold"}
    chosen = {"method": "rescaled_sgd", "source": "times"}
    assert figure3.reachable(edges, starts, chosen) == {*starts, "source", "normaliser"}
    assert figure3.reachable(edges, starts, {**chosen, "source": "delay"}) == {*starts, "source"}


def test_gaps_count_what_is_finished(tmp_path):
    """No value before the first evaluation ends, then the smallest of those that have ended; the figure is drawn."""
    found = figure4.compute(figure4.Config(evaluators=(1, 2), budget=13, seeds=1), tmp_path)
    times = found["time"].values
    assert (np.diff(times, axis=2) >= 0).all()
    one = found.isel(seed=[0], evaluators=[0])
    when = float(one["time"].isel(evaluation=4).item())
    shown = figure4.gap_at(one, np.array([0.0, when])).values.ravel()
    assert np.isnan(shown[0])
    assert shown[1] == one["value"].values.ravel()[:5].min() + 3
    assert len(claims.figure4(found)) == 3
    figure4.draw(found, tmp_path / "figure4.png")


def test_network_and_graph_in_small(tmp_path, monkeypatch):
    """Datasets have what claims and pictures need; without SMT the comparison is not comparable."""
    monkeypatch.setattr(figure2.importlib.util, "find_spec", lambda _: None)
    found = figure2.compute(figure2.Config(steps=2, seeds=2), tmp_path)
    assert [claim.verdict for claim in claims.figure2(found)][::2] == ["holds", "not comparable"]
    assert (found["gap"].dropna("backend") >= 0).all()
    assert np.isnan(found["gap"].sel(backend="smt")).all()
    figure2.draw(found, tmp_path / "figure2.png")
    graph = figure3.compute(figure3.Config().quick(), tmp_path)
    assert {claim.verdict for claim in claims.figure3(graph)} == {"holds"}
    figure3.draw(graph, tmp_path / "figure3.png")


def test_tuning_in_small(tmp_path, monkeypatch):
    """Three searches of two methods; the values are those of the configurations, and each is simulated once."""
    methods = {"asynchronous_sgd": {}, "buffered_sgd": {"buffer": [1, 2]}}
    space = {"learning_rate": {"low": 1e-3, "high": 0.1, "log": True}, "method": methods}
    monkeypatch.setattr(figure1, "methods_space", lambda: jasgd.tune.space(space))
    found = figure1.compute(dataclasses.replace(figure1.Config(), budget=4, seeds=1, seconds=5.0), tmp_path)
    assert int(found.attrs["simulations"]) <= 12
    assert int(found.attrs["gradients"]) > 0
    assert float(found["value"].max()) <= 4.0
    best = figure1.best_of_each(found)
    assert best.keys() == methods.keys()
    assert min(best.values()) == float(found["value"].min())
    assert len(claims.figure1(found)) == 3
    figure1.draw(found, tmp_path / "figure1.png")
