"""MindFlayer and ATA reproduced: random compute times."""

import dataclasses
import math

import numpy as np
import pytest

from experiments import ata2025, mindflayer2024
from experiments.ata2025 import claims as ata_claims
from experiments.ata2025 import figure1 as ata1
from experiments.ata2025 import figure2 as ata2
from experiments.ata2025.settings import ALLOCATIONS, BATCH, means, schedule, worker_seconds
from experiments.mindflayer2024 import claims as mindflayer_claims
from experiments.mindflayer2024 import figure1 as mindflayer1
from experiments.mindflayer2024 import figure2 as mindflayer2
from experiments.mindflayer2024.settings import NEVER, TIMES, best_cut, fleet, quickest_cut, success

pytestmark = pytest.mark.compiled_quickly


def test_every_figure_has_an_entry():
    """What it shows, how long it takes, how faithful it is."""
    for paper in (mindflayer2024, ata2025):
        assert sorted(paper.FIGURES) == [1, 2]
        assert all(len(entry) == 3 for entry in paper.FIGURES.values())


def test_half_of_the_jobs_never_end_under_the_heaviest_tail():
    """Durations are at least tau and finite; of tail 100 almost half outlast the figure."""
    seconds = fleet(TIMES, 100.0).durations(4, 4000)
    assert np.all(seconds >= TIMES[4])
    assert seconds.max() == TIMES[4] + NEVER
    assert abs(np.mean(seconds > 15_000) - (1 - success(15_000.0, 100.0))) < 5 * math.sqrt(0.25 / 4000)


def test_the_best_cuts_are_best():
    """A heavy tail is cut at once, a light one late; neither neighbour is better."""
    assert success(1.0, 3.0) == 0.5
    assert quickest_cut(1.0, 100.0) < 0.1 < 1.0 < quickest_cut(1.0, 1.0)
    assert best_cut(1.0, 3.0) < 1.0 < best_cut(1.0, 1.0)
    cost = [(1 + t) / success(t, 10.0) for t in quickest_cut(1.0, 10.0) * np.array([0.9, 1.0, 1.1])]
    assert cost[1] < min(cost[0], cost[2])


def test_the_posters_example_of_one_device(tmp_path):
    """23.8 against 3.3 seconds per useful gradient."""
    config = dataclasses.replace(mindflayer2.Config().quick(), gradients=500, seeds=3)
    found = mindflayer2.compute(config, tmp_path)
    at = found["formula"].sel(tail=2.5)
    assert round(float(at.sel(algorithm="Rennala")), 1) == 23.8
    assert round(float(at.sel(algorithm="MindFlayer, t = median")), 1) == 3.3
    cut = found.sel(algorithm="MindFlayer, t = median")
    np.testing.assert_allclose(cut["seconds"].mean("seed"), cut["formula"], rtol=0.1)
    assert int(found.attrs["gradients"]) > 3 * 3 * 3 * 500  # cut trials are jobs, too
    assert len(mindflayer_claims.figure2(found)) == 5
    mindflayer2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_only_mindflayer_goes_on_under_the_heaviest_tail(tmp_path):
    """Small, noise-free: whoever waits stalls; S = 1 with interrupts and R = 1 with stops are one method."""
    config = dataclasses.replace(mindflayer1.Config().quick(), dim=10, noise=0.0, seconds=300.0, seeds=2, points=10)
    found = mindflayer1.compute(config, tmp_path)
    assert dict(found["grad_norm"].sizes) == {"algorithm": 7, "tail": 3, "seed": 2, "time": 11}
    norm = found["grad_norm"].sel(tail=100.0).median("seed")
    after, last = norm.isel(time=5), norm.isel(time=-1)
    assert float(last.sel(algorithm="MindFlayer, t = median")) < 0.9 * float(after.sel(algorithm="MindFlayer, t = median"))
    assert float(last.sel(algorithm="Rennala, S = 5")) == float(after.sel(algorithm="Rennala, S = 5"))
    same = (found["grad_norm"].sel(algorithm=name) for name in ("Rennala, S = 1", "Ringmaster, R = 1"))
    np.testing.assert_array_equal(*same)
    assert len(mindflayer_claims.figure1(found)) == 8
    mindflayer1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_worker_seconds_are_all_that_is_not_idle(allocation):
    """All seconds of all workers but those in which they idle; every round has 23 gradients."""
    made = schedule(allocation, 7, 40, 0)
    assert len(made) == 40 * BATCH
    total = made.num_workers * made.time[-1] - made.ledger.idle_seconds.sum()
    assert worker_seconds(made)[-1] == pytest.approx(total, rel=1e-9)
    assert worker_seconds(made)[0] == 0.0


def test_allocations_that_learn_nothing_cost_what_they_must(tmp_path):
    """Seconds of work per round: 23 times the mean over the workers for UTA, the greedy shares for FTA."""
    config = dataclasses.replace(ata1.Config().quick(), workers=7, rounds=400, points=20)
    found = ata1.compute(config, tmp_path)
    work = found["work"].isel(round=-1).mean("seed") / config.rounds
    assert float(work.sel(allocation="UTA")) == pytest.approx(BATCH * means(7).mean(), rel=0.05)
    made = schedule("FTA", 7, 1, 0)
    shares = np.bincount(made.worker, minlength=7)
    assert float(work.sel(allocation="FTA")) == pytest.approx(float(shares @ means(7)), rel=0.05)
    gap = {a: float(found["run"].isel(round=-1).sel(allocation=a).mean()) for a in ALLOCATIONS}
    assert gap["GTA"] < gap["FTA"] < gap["UTA"]
    assert len(ata_claims.figure1(found)) == 6
    ata1.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_the_quadratic_in_small(tmp_path):
    """The same losses at different cost."""
    config = dataclasses.replace(ata2.Config().quick(), workers=5, rounds=60, points=20, noise=0.0)
    found = ata2.compute(config, tmp_path)
    gap = found["gap"].values
    np.testing.assert_allclose(gap, np.broadcast_to(gap[:1, :1], gap.shape), rtol=1e-3)
    assert (found["work"].values[..., 1:] > found["run"].values[..., 1:]).all()
    assert len(ata_claims.figure2(found)) == 4
    ata2.draw(found, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
