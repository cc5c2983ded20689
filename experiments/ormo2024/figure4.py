"""OrMo against its ablation: a late gradient moves the parameters once, and does not catch up with the momentum."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.contest import attributes
from experiments.ormo2024 import classification
from experiments.ormo2024.classification import SPEEDS, asynchronous, together, tuned
from experiments.ormo2024.settings import COLOURS
from experiments.pictures import RED, curve, picture

if TYPE_CHECKING:
    import xarray

CAPTION = """Ordered momentum with and without the steps by which a late gradient catches up; {data}, settings, steps as in
figure 3, median and quartiles of {seeds} seeds. The paper says that OrMo is better in all four settings; its table is
unknown, the numbers are ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(classification.Config):
    """As in figure 3, but for the methods."""

    methods: tuple[str, ...] = ("OrMo", "vanilla step")


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Loss and test accuracy of both, in all settings."""
    parts = [asynchronous(config, method, folder) for method in config.methods]
    about = {"data": config.data, "seeds": config.seeds}
    return together(parts, config.methods).assign_attrs(attributes(parts) | about)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """For each number of workers: loss against epochs, and in the end against the step."""
    best, settings = tuned(found), found["workers"].values
    caption = CAPTION.format(**{name: found.attrs[name] for name in ("data", "seeds")})
    with picture(path, caption, rows=len(settings), columns=4, size=(15, 3.4 * len(settings) + 1), squeeze=False) as panels:
        for row, workers in zip(panels, settings, strict=True):
            for i, speeds in enumerate(SPEEDS):
                for method, colour in zip(found["algorithm"].values, (COLOURS["OrMo"], RED), strict=True):
                    line = best.sel(algorithm=method, workers=workers, speeds=speeds)
                    curve(row[2 * i], line["epoch"], line["loss"], colour=colour, label=method)
                    ends = found["last"].sel(algorithm=method, workers=workers, speeds=speeds)
                    ends = ends.where(ends < 10).dropna("learning_rate")
                    row[2 * i + 1].loglog(ends["learning_rate"], ends, ".-", color=colour, label=method)
                title = f"K = {workers}, {speeds} speeds"
                row[2 * i].set(yscale="log", xlabel="epochs", ylabel="train loss", title=f"{title}, best step")
                row[2 * i + 1].set_xscale("log", base=2)
                row[2 * i + 1].set(xlabel=r"step $\eta$", ylabel="train loss in the end", title="every step")
