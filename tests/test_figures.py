"""What the experiments share, and small versions of some figures."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
import xarray

import jasgd
from experiments import pages
from experiments.claims import Claim, listed, table
from experiments.contest import Contestant, attributes, contest, ends, lasting, seconds_to
from experiments.koloskova2022 import claims as koloskova_claims
from experiments.koloskova2022 import figure1 as koloskova
from experiments.mishchenko2022 import claims as mishchenko_claims
from experiments.mishchenko2022 import figure3 as bounds
from experiments.pictures import curve, log_average, picture
from experiments.rescaled2026 import claims as rescaled_claims
from experiments.rescaled2026 import figure1 as parabolas
from experiments.ringleader2025.settings import clients, fleet

pytestmark = pytest.mark.compiled_quickly
EQUAL = jasgd.fleet.equal(4)


def asynchronous(updates, seed):
    return jasgd.protocols.asynchronous(EQUAL, updates, seed=seed)


def test_a_lasting_schedule_reaches_the_time_and_no_further():
    """Its last update is the first one at or after the time."""
    schedule = lasting(asynchronous, 30.0, 0)
    assert schedule.version_time[-1] == 30.0
    assert schedule.version_time[-2] <= 30.0
    assert len(lasting(asynchronous, 0.5, 0)) == 1


def test_a_contest_has_every_method_with_its_own_steps_at_the_same_times(tmp_path):
    """Steps that a method did not try are missing; the best is chosen among the others; costs are added up."""
    contestants = {
        "asynchronous": Contestant(asynchronous, optax.sgd, (0.1, 100.0)),
        "rounds": Contestant(lambda updates, seed: jasgd.protocols.minibatch(EQUAL, updates, seed=seed), optax.sgd, (0.5,)),
    }
    times = np.array([5.0, 10.0])
    problem = jasgd.problems.quadratic(5, noise=0.01)
    found = contest(problem, contestants, times=times, seeds=2, key=jax.random.key(0), folder=tmp_path)
    assert dict(found["loss"].sizes) == {"algorithm": 2, "learning_rate": 3, "seed": 2, "time": 3}
    np.testing.assert_array_equal(found["time"], [0.0, 5.0, 10.0])
    assert bool(found["loss"].sel(algorithm="rounds", learning_rate=0.1).isnull().all())
    chosen = jasgd.results.best(found, over="learning_rate", metric="loss")
    np.testing.assert_array_equal(chosen["learning_rate"], [0.1, 0.5])
    # 37 updates take 10 s on four equal workers; one step or rate more is another run.
    rows = len(lasting(asynchronous, 10.0, 0))
    assert int(found.attrs["gradients"]) == 2 * 2 * rows + 2 * 4 * 10
    assert set(ends(chosen, "loss")) == {"asynchronous", "rounds"}
    alone = jasgd.simulate(
        problem, optax.sgd(0.1), lasting(asynchronous, 10.0, 1), key=jax.random.fold_in(jax.random.key(0), 1)
    )
    np.testing.assert_allclose(
        found["loss"].sel(algorithm="asynchronous", learning_rate=0.1, seed=1)[-1], alone.history["loss"][-1], rtol=1e-5
    )


def test_seconds_to_a_goal_are_the_first_that_reach_it():
    """And infinite where nothing does."""
    loss = xarray.DataArray([[3.0, 1.0, 2.0], [3.0, 3.0, np.nan]], {"time": [0.0, 5.0, 10.0]}, ["seed", "time"])
    np.testing.assert_array_equal(seconds_to(loss.to_dataset(name="loss"), "loss", 2.0), [5.0, np.inf])


def test_attributes_keep_what_is_common_and_add_gradients():
    """What differs between the parts is left out."""
    parts = [xarray.Dataset(attrs={"gradients": str(n), "jax": "1", "rule": rule}) for n, rule in ((3, "a"), (4, "b"))]
    assert attributes(parts) == {"gradients": "7", "jax": "1"}


def test_a_moving_geometric_mean_keeps_straight_lines_on_a_log_axis():
    """And is the geometric mean of its window."""
    line = xarray.DataArray(10.0 ** np.arange(9.0), dims="time")
    smooth = log_average(line, along="time", points=3)
    np.testing.assert_allclose(smooth[1:-1], line[1:-1])
    np.testing.assert_allclose(log_average(xarray.DataArray([1.0, 4.0, 2.0], dims="time"), along="time", points=3)[1], 2.0)


def test_a_picture_has_its_curves_legend_and_caption(tmp_path):
    """The median of the seeds is drawn; the file appears."""
    values = xarray.DataArray([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]], dims=["seed", "time"])
    with picture(tmp_path / "one.png", "caption", columns=2) as (left, _):
        curve(left, [0, 1], values, colour="C0", label="runs")
        np.testing.assert_array_equal(left.lines[0].get_ydata(), [3.0, 4.0])
    assert left.get_legend() is not None
    assert left.figure.get_supxlabel() == "caption"
    assert (tmp_path / "one.png").stat().st_size > 5_000


def test_pages_are_brought_up_to_date_and_claims_counted(tmp_path, monkeypatch):
    """Costs and claims between the marks, the rest of the page as it was."""
    here = tmp_path / "experiments"
    (here / "rescaled2026").mkdir(parents=True)
    page = here / "rescaled2026" / "README.md"
    page.write_text("before\n<!-- figure1 -->\n<!-- end -->\nafter\n<!-- figure2 -->\nold\n<!-- end -->\n")
    (tmp_path / "README.md").write_text("top\n<!-- claims -->\n<!-- end -->\nbottom\n")
    stored = tmp_path / "results" / "rescaled2026"
    stored.mkdir(parents=True)
    found = parabolas.compute(parabolas.Config(), tmp_path / "runs").assign_attrs(seconds="2.0")
    found.to_netcdf(stored / "figure1.nc", engine="h5netcdf")
    monkeypatch.setattr(pages, "HERE", here)
    pages.update(tmp_path / "results")
    text = page.read_text()
    assert text.startswith("before\n<!-- figure1 -->\n")
    assert "\nafter\n<!-- figure2 -->\nold\n<!-- end -->\n" in text
    assert "per second" in text
    assert (page.parent / "figure1.png").stat().st_size > 10_000
    checked = rescaled_claims.figure1(found)
    held = sum(claim.verdict == "holds" for claim in checked)
    assert held == len(checked)
    assert f"| [rescaled2026](experiments/rescaled2026) | 2 | {held} | 0 | 0 |" in (tmp_path / "README.md").read_text()
    pages.update(tmp_path / "results")
    assert page.read_text() == text


def test_clients_have_equally_many_examples_of_few_classes():
    """Nobody shares an example; with a small concentration most clients have few classes."""
    labels = np.random.default_rng(0).integers(0, 10, 1797)
    shards = clients(labels, 100, 0.1)
    assert {len(shard) for shard in shards} == {17}
    assert len(np.unique(np.concatenate(shards))) == 1700
    assert np.median([len(np.unique(labels[shard])) for shard in shards]) <= 4
    assert np.median([len(np.unique(labels[shard])) for shard in clients(labels, 100, 100.0)]) >= 7
    assert sorted(np.round(fleet(5).durations(worker, 2000).min(), 1) for worker in range(5)) == [1, 2, 3, 4, 5]


def test_the_schedulers_of_lemma_11(tmp_path):
    """Formulas and simulated seconds agree where the formula is exact; a broken count is noticed."""
    config = dataclasses.replace(koloskova.Config(), concurrencies=(2, 5), updates=1000, arrivals=60_000)
    found = koloskova.compute(config, tmp_path)
    assert bool(found["conserved"].all())
    checked = {claim.statement: claim.verdict for claim in koloskova_claims.figure1(found)}
    assert [verdict for statement, verdict in checked.items() if "15 s per 10" in statement] == ["holds"]
    broken = found.assign(conserved=found["conserved"] & False)
    assert koloskova_claims.figure1(broken)[0].verdict == "does not hold"
    koloskova.draw(found, tmp_path / "figure.png")


def test_bounds_lie_above_and_virtual_iterates_differ_by_what_is_in_flight(tmp_path):
    """On a short run; a bound below the curve is noticed."""
    config = dataclasses.replace(bounds.Config().quick(), updates=60, models=("exp(1)",))
    found = bounds.compute(config, tmp_path)
    assert [claim.verdict for claim in mishchenko_claims.figure3(found)] == ["holds"] * 3
    low = found.assign(right=0.9 * found["left"])
    assert mishchenko_claims.figure3(low)[0].verdict == "does not hold"
    bounds.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_a_table_of_claims_is_markdown():
    """Bars in the text do not break it."""
    claim = Claim(statement="a | b", mark="ours", verdict="holds", evidence=listed({"x": 1.0, "y": 2.5}, " s"))
    assert table([claim]).splitlines()[-1] == "| a \\| b | ours | **holds** | x 1 s, y 2.5 s |"


@pytest.mark.parametrize("paper", ["koloskova2022", "rescaled2026", "ringmaster2025", "ringleader2025", "mishchenko2022"])
def test_every_figure_has_a_place_on_its_page_and_claims(paper):
    """The page names the command; the picture is there; the claims module has a function for it."""
    import importlib

    figures = importlib.import_module(f"experiments.{paper}").FIGURES
    claims = importlib.import_module(f"experiments.{paper}.claims")
    text = (pages.HERE / paper / "README.md").read_text()
    assert f"jasgd reproduce {paper}" in text
    for number in figures:
        assert f"<!-- figure{number} -->" in text
        assert f"](figure{number}.png)" in text
        assert callable(getattr(claims, f"figure{number}"))
