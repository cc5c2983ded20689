"""``jasgd reproduce``: small figures, stored results, claims."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import xarray

from experiments.claims import Claim, table
from experiments.mishchenko2022 import claims, figure1, figure2
from experiments.mishchenko2022.settings import data, fleet
from jasgd.cli import checkout
from jasgd.reproduce import ReproduceCommand, reproduce

pytestmark = pytest.mark.compiled_quickly
ROOT = checkout()


def test_the_notebooks_data_come_again():
    """First numbers of the matrix and the targets."""
    matrix, target = data()
    assert (matrix.shape, target.shape) == ((10_000, 400), (10_000,))
    np.testing.assert_allclose([matrix[0, 0], target[0]], [0.0348684, 0.7504582], atol=1e-7)


@pytest.mark.parametrize("model", sorted({*figure1.MODELS, *figure2.MODELS}))
def test_compute_time_models_have_forty_workers(model):
    """Every model that a figure names."""
    assert fleet(model).num_workers == 40
    assert np.all(fleet(model).durations(39, 50) > 0)


def test_a_figure_is_computed_stored_and_drawn_again(tmp_path, capsys, monkeypatch):
    """The second call computes nothing; claims are printed with their numbers."""
    command = ReproduceCommand(paper="mishchenko2022", figure=2, quick=True, out=tmp_path)
    reproduce(command, ROOT)
    first = capsys.readouterr().out
    folder = tmp_path / "mishchenko2022-quick"
    assert (folder / "figure2.png").stat().st_size > 10_000
    assert "| claim | source | verdict | numbers |" in first
    assert "**holds**" in first

    def forbidden(*_):
        raise AssertionError("computed twice")

    monkeypatch.setattr(figure2, "compute", forbidden)
    reproduce(command, ROOT)
    assert capsys.readouterr().out == first
    reproduce(dataclasses.replace(command, paper=None, figure=None, claims=True), ROOT)
    assert "mishchenko2022, figure 2" in capsys.readouterr().out
    reproduce(dataclasses.replace(command, json=True), ROOT)
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert (figure["paper"], figure["figure"], figure["claims"][0]["verdict"]) == ("mishchenko2022", 2, "holds")
    assert figure["files"] == {"result": str(folder / "figure2.nc"), "picture": str(folder / "figure2.png")}
    found = xarray.load_dataset(folder / "figure2.nc")
    assert found.attrs["config"] == repr(figure2.Config().quick())


def test_the_first_figure_in_small(tmp_path):
    """Its dataset has what the claims need; asynchronous SGD takes its steps in less time."""
    config = dataclasses.replace(figure1.Config().quick(), rounds=10)
    found = figure1.compute(config, tmp_path)
    assert dict(found["gap"].sizes) == {"algorithm": 3, "model": 2, "gradients": 11}
    assert np.isfinite(found["gap"]).all()
    np.testing.assert_allclose(found["steps"].sel(algorithm="asynchronous").isel(gradients=-1), 0.43 * 400)
    assert (
        found["time"].sel(algorithm="asynchronous", model="i") <= found["time"].sel(algorithm="minibatch", model="i")
    ).all()
    assert len(claims.figure1(found)) == 4
    figure1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (ReproduceCommand(), "say which paper: .*mishchenko2022"),
        (ReproduceCommand(paper="mishchenko"), "there is no experiment 'mishchenko'"),
        (ReproduceCommand(paper="mishchenko2022", data="mnist"), "give `--data` and `--data-dir` together"),
        (
            ReproduceCommand(paper="mishchenko2022", data="mnist", data_dir=Path("x")),
            "figure 1 of mishchenko2022 does not classify",
        ),
        (ReproduceCommand(paper="koloskova2022", figure=3, data="mnist", data_dir=Path("/nowhere")), "/nowhere"),
        (ReproduceCommand(paper="mishchenko2022", figure=9), "has the figures 1, 2, 3, got 9"),
    ],
)
def test_what_there_is_not(command, sentence, tmp_path):
    """One sentence that says what there is."""
    with pytest.raises((ValueError, OSError), match=sentence):
        reproduce(dataclasses.replace(command, out=tmp_path), ROOT)
    with pytest.raises(ValueError, match="live in a checkout"):
        reproduce(command, None)


def test_without_results_there_are_no_claims(tmp_path, capsys):
    """And a sentence says so."""
    reproduce(ReproduceCommand(claims=True, out=tmp_path), ROOT)
    told = (
        f"nothing has been computed in {tmp_path}; run the command without `--claims` first, or give `--quick` as you did."
    )
    assert capsys.readouterr().out == f"{told}\n"


def test_the_list_names_every_figure(capsys):
    """Paper, title, figures."""
    reproduce(ReproduceCommand(list=True), ROOT)
    shown = capsys.readouterr().out
    assert "mishchenko2022  Mishchenko, Bach, Even, Woodworth 2022" in shown
    named = list((ROOT / "experiments").glob("*/figure*.py"))
    assert shown.count("--figure") == len(named)


def test_a_table_of_claims():
    """Markdown."""
    claim = Claim(statement="It falls.", mark="poster", verdict="holds", evidence="1 to 0.5")
    assert table([claim]).splitlines()[-1] == "| It falls. | poster | **holds** | 1 to 0.5 |"
