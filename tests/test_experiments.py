"""The experiments: what is committed keeps its claims, and small versions of them compute it again."""

import csv
import dataclasses
from pathlib import Path

import pytest

from experiments.time_to_accuracy import __main__ as time_to_accuracy

pytestmark = pytest.mark.compiled_quickly
FOLDER = Path(time_to_accuracy.__file__).parent


@pytest.fixture(scope="module")
def committed():
    kinds = {"method": str, "n": int, "ratio": float, "simulated": float, "predicted": float}
    with (FOLDER / "time_to_accuracy.csv").open() as file:
        return [
            time_to_accuracy.Row(**{name: kind(row[name]) for name, kind in kinds.items()}) for row in csv.DictReader(file)
        ]


def test_the_committed_times_keep_their_claims(committed):
    """The table beside the picture of predicted and simulated times."""
    claims = time_to_accuracy.claims(committed)
    assert len(claims) == 3
    assert all(claims.values()), claims


@pytest.mark.parametrize("method", time_to_accuracy.CONTENDERS)
def test_the_committed_times_come_again(committed, method):
    """Predictions are those of today, and so is the simulation of one setting."""
    config = time_to_accuracy.Config(seeds=1)
    mine = [row for row in committed if row.method == method]
    assert len(mine) == len({*config.workers}) + len({*config.ratios}) - 1  # one setting is in both
    for row in mine:
        assert row.predicted == pytest.approx(time_to_accuracy.CONTENDERS[method][1](range(1, row.n + 1), row.ratio))
    (old,) = (row for row in committed if (row.method, row.n, row.ratio) == (method, 4, config.ratio))
    new = time_to_accuracy.row(method, 4, config.ratio, config)
    assert 0.8 < new.simulated / old.simulated < 1.25  # one seed instead of the median of three
    assert new == dataclasses.replace(old, simulated=new.simulated)


def test_a_picture_is_drawn(committed, tmp_path):
    """From the committed table."""
    time_to_accuracy.draw(committed, time_to_accuracy.Config(out=tmp_path))
    assert (tmp_path / "time_to_accuracy.png").stat().st_size > 10_000
