"""What five allocations cost: time until the rounds are done, and seconds that workers compute for it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.ata2025.settings import ALLOCATIONS, BATCH, NAMES, PAPER_ROUNDS, schedule, worker_seconds
from experiments.pictures import curve, picture
from jasgd.results import provenance

if TYPE_CHECKING:
    import xarray

POSTER = {  # totals in seconds, by eye
    "run": {"FTA": 0.57e9, "GTA": 0.38e9, "ATA-E": 1.15e9, "ATA": 1.55e9, "UTA": 3.55e9},
    "work": {"FTA": 0.27e10, "GTA": 1.9e10, "ATA-E": 0.45e10, "ATA": 0.6e10, "UTA": 2.6e10},
}
SHOWN = {"run": "run time", "work": "worker time"}
CAPTION = f"""Workers of 29 i + Exp(29 i) seconds, rounds of {BATCH} gradients. {NAMES}. Fewer rounds than the
authors', with confidence bounds narrowed so that as much is learnt in them; median of the seeds. They claim that ATA
learns the speeds with almost no wasted work (Maranjyan, Saad, Richtarik, Orabona 2025)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Workers of the poster, a twentieth of its rounds.

    Attributes:
      workers, rounds: of every allocation.
      seeds: of the durations.
      points: recorded.
    """

    workers: int = 51
    rounds: int = PAPER_ROUNDS // 20
    seeds: int = 3
    points: int = 250

    def quick(self) -> "Config":
        """A third of the workers and few rounds."""
        return dataclasses.replace(self, workers=17, rounds=2_000, seeds=2)


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Seconds and worker-seconds after each of some rounds; nothing but schedules, so there is nothing to resume."""
    import xarray

    del folder
    rounds = np.linspace(0, config.rounds, config.points + 1).astype(int)
    columns = {name: np.zeros((len(ALLOCATIONS), config.seeds, len(rounds))) for name in POSTER}
    gradients = 0
    for i, allocation in enumerate(ALLOCATIONS):
        for seed in range(config.seeds):
            made = schedule(allocation, config.workers, config.rounds, seed)
            columns["run"][i, seed] = made.version_time[rounds]
            columns["work"][i, seed] = worker_seconds(made)[rounds]
            gradients += len(made) + (int(made.ledger.cancelled.sum()) if made.ledger else 0)
    dims = ("allocation", "seed", "round")
    return xarray.Dataset(
        {name: (dims, column, {"units": "s", "long_name": SHOWN[name]}) for name, column in columns.items()},
        {"allocation": list(ALLOCATIONS), "round": rounds},
        provenance(workers=config.workers, rounds=config.rounds) | {"gradients": str(gradients)},
    )


def over_fixed(found: "xarray.Dataset", name: str) -> dict[str, float]:
    """The total of every allocation, median over the seeds, in units of the fixed optimal one's."""
    total = found[name].isel(round=-1).median("seed")
    return {a: float(total.sel(allocation=a) / total.sel(allocation="FTA")) for a in ALLOCATIONS}


def poster(name: str) -> dict[str, float]:
    """The same on the poster."""
    return {a: POSTER[name][a] / POSTER[name]["FTA"] for a in ALLOCATIONS}


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Costs along the rounds; totals beside the poster's."""
    place = np.arange(len(ALLOCATIONS))
    with picture(path, CAPTION, rows=2, columns=2, size=(11, 7.6)) as panels:
        for (line, bars), name in zip(panels, POSTER, strict=True):
            for allocation, colour in ALLOCATIONS.items():
                curve(line, found["round"], found[name].sel(allocation=allocation), colour=colour, label=allocation)
            line.set(xlabel="rounds", ylabel=f"cumulated {SHOWN[name]} [s]", ylim=(0, None), xlim=(0, None))
            for shift, hatch, ratios in ((-0.2, "", over_fixed(found, name)), (0.2, "////", poster(name))):
                drawn = bars.bar(
                    place + shift,
                    list(ratios.values()),
                    width=0.38,
                    color=list(ALLOCATIONS.values()) if not hatch else "white",
                    edgecolor=list(ALLOCATIONS.values()),
                    hatch=hatch,
                )
                bars.bar_label(drawn, fmt="%.2g", fontsize=8, padding=2)
            bars.bar(0, 0, color="0.6", label="here")
            bars.bar(0, 0, color="white", edgecolor="0.6", hatch="////", label="poster, by eye")
            bars.set_xticks(place, list(ALLOCATIONS))
            bars.set(ylabel=f"total {SHOWN[name]} over FTA's")
            bars.legend(frameon=False, fontsize=8, loc="upper left")
