"""Draw the picture of this folder: ``python -m experiments.schedules``."""

from pathlib import Path

import numpy as np

import jasgd
from experiments.pictures import picture


def main(folder: Path = Path("experiments/schedules")) -> None:
    """Plain asynchronous SGD and Ringmaster with stops on twelve workers."""
    fleet = jasgd.fleet.lognormal(0.5 * np.log(np.arange(1, 13)), 0.5)
    schedules = [
        jasgd.protocols.asynchronous(fleet, 80),
        jasgd.protocols.ringmaster(fleet, 80, threshold=8, stop=True),
    ]
    caption = (
        "Twelve workers, worker i = 0..11 with a median of sqrt(i + 1) s per gradient, lognormal. Asynchronous SGD uses "
        "every gradient, however old. Ringmaster ASGD with stops cancels a job when its version is eight updates old, and "
        "its worker starts again with the newest one. Each picture has its own scale of colours."
    )
    with picture(folder / "timeline.png", caption, rows=2, size=(11, 10.5)) as panels:
        for schedule, axes in zip(schedules, panels, strict=True):
            jasgd.pictures.timeline(schedule, axes, window=(0, 8))


if __name__ == "__main__":
    main()
