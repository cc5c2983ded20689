"""``jasgd reproduce fragile2024``: closed forms, one row for a whole round, small figures, claims."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

import jasgd
from experiments.fragile2024 import claims, figure1, figure2, figure4
from experiments.fragile2024.settings import MINIBATCH, compare, rounds, speedup
from jasgd import oracles

pytestmark = pytest.mark.compiled_quickly


def test_rounds_of_the_papers_network():
    """Minibatch SGD: 20 hops and a gradient; the pivot alone while 2 rho + h > S h; 13 of 100 contribute with S = 120."""
    assert [rounds(edge, MINIBATCH).version_time[1] for edge in (0.1, 1.0, 10.0)] == [3.0, 21.0, 201.0]
    alone = rounds(10.0, 20)
    assert (alone.version_time[1], set(alone.worker), alone.arguments["pivot"]) == (20.0, {44}, 44)
    few = rounds(10.0, 120)
    assert (len(few), few.gradients, few.version_time[1]) == (13, 128, 41.0)


def test_the_shortest_round():
    """One worker: S seconds; two at distance 1: the other one's gradients are two seconds late."""
    assert figure2.shortest(7, np.zeros(1)) == 7.0
    assert [figure2.shortest(batch, np.array([0.0, 1.0])) for batch in (1, 2, 3, 4, 5)] == [1, 2, 3, 3, 4]


def test_one_row_has_the_law_and_the_times_of_a_round():
    """Worker i weighs as much as its gradients, at one point: so K rounds open Binomial(K, 1 - (1 - p)^B) coordinates."""
    p, updates, seeds = 0.02, 30, 200
    full = rounds(1.0, 10, updates, side=2)
    counts, batch = full.contents.gradients, rounds(1.0, 10, side=2).gradients
    assert full.gradients == updates * batch
    assert len(full) > updates
    assert not full.delay.any()
    np.testing.assert_allclose(full.weight, counts[full.worker] / batch, rtol=1e-6)
    row = jasgd.protocols.minibatch(jasgd.fleet.equal(1, time=full.version_time[1]), updates)
    np.testing.assert_allclose(row.version_time, full.version_time)
    made = jasgd.problems.progress_quadratic(40, p)
    problem = dataclasses.replace(made, metrics=lambda x: {**made.metrics(x), "opened": (x != 0).sum() - 1})
    sizes = {"seeds": seeds, "every": updates, "runs_at_once": seeds // 2, "key": jax.random.key(1)}
    found = jasgd.sweep(problem, optax.sgd(0.5), full, oracle=oracles.gradient(counts), **sizes)
    opened = found["opened"].isel(version=-1).values.astype(float)
    chance = 1 - (1 - p) ** batch
    variance = updates * chance * (1 - chance)
    assert abs(opened.mean() - updates * chance) < 4 * np.sqrt(variance / seeds)
    assert opened.var() == pytest.approx(variance, rel=0.5)


def test_records_are_those_of_the_rounds_that_are_done(tmp_path):
    """Without noise, a record at time t is gradient descent after floor(t / seconds per round) steps."""
    problem, rate = jasgd.problems.progress_quadratic(5, 1.0), 0.5
    found = compare(
        problem,
        0.1,
        side=3,
        batches=(4,),
        rates=[rate],
        seconds=10.0,
        records=4,
        seeds=1,
        folder=tmp_path,
        metrics=["gap"],
        runs_at_once=1,
    )
    np.testing.assert_allclose(found["round_seconds"], [1.4, 1.2])
    assert (found["batch"].values.tolist(), found["contributors"].values.tolist()) == ([9, 4], [9, 4])
    x = problem.init(jax.random.key(0))
    gaps = [float(problem.metrics(x)["gap"])]
    for _ in range(8):
        x = x - rate * problem.gradient(x, 1.0)
        gaps.append(float(problem.metrics(x)["gap"]))
    for i, length in enumerate((1.4, 1.2)):
        done = [int(time / length) for time in (0, 2.5, 5, 7.5, 10)]
        np.testing.assert_allclose(found["gap"].values[i, 0], np.array(gaps)[done], rtol=1e-4)


def test_figure_1_in_small(tmp_path):
    """Two edge times; claims turn where minibatch SGD is made the better one."""
    config = dataclasses.replace(figure1.Config().quick(), edges=(10.0,), seconds=1_000.0)
    found = figure1.compute(config, tmp_path)
    assert dict(found["gap"].sizes) == {"edge": 1, "option": 3, "seed": 2, "record": 21}
    assert np.isfinite(found["gap"]).all()
    assert speedup(found.sel(edge=10.0), "gap") > 1
    better = found.assign(gap=found["gap"].where(found["option"] != MINIBATCH, found["gap"] / 1e6))
    assert speedup(better.sel(edge=10.0), "gap") == 0.0
    assert claims.figure1(better)[0].verdict == "does not hold"
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_figure_2_in_small(tmp_path):
    """Its claims hold, and fail on rounds that are too short."""
    found = figure2.compute(figure2.Config().quick(), tmp_path)
    assert [claim.verdict for claim in claims.figure2(found)] == ["holds"] * 6
    assert claims.figure2(found.assign(seconds=found["seconds"] / 2))[3].verdict == "does not hold"
    figure2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_figure_4_in_small(tmp_path):
    """Ends of the range of edges: everybody at once, and the pivot alone; the guarantee holds."""
    config = dataclasses.replace(figure4.Config().quick(), edges=(1e-4, 1e4), noise=0.3)
    found = figure4.compute(config, tmp_path)
    np.testing.assert_allclose(found["equilibrium"].isel(edge=0), 400 / 25)
    np.testing.assert_allclose(found["simulated"].isel(edge=1), 400.0)
    np.testing.assert_allclose(found["equilibrium"].isel(edge=1), 400.0)
    assert float(found["mean"].isel(accuracy=0, batch=0, fraction=-1)) <= float(found["accuracy"][0])
    figure4.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
