"""Classification in four settings, every method with its best step; OrMo against synchronous momentum SGD in seconds."""

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.contest import attributes
from experiments.ormo2024.classification import SPEEDS, Config, asynchronous, synchronous, together, tuned
from experiments.ormo2024.settings import COLOURS
from experiments.pictures import BLUE, RED, curve, picture

if TYPE_CHECKING:
    import xarray

__all__ = ["Config"]

SYNCHRONOUS = "synchronous"
CAPTION = """{data}, 64 hidden units, batch {batch}; best steps out of powers of two; median and quartiles of {seeds} seeds.
Recalled, not verified: 160 epochs, steps fall after 1/2 and 3/4, heterogeneous: one worker in 16 ten times slower. The
paper has ResNet-20 on CIFAR-10, where OrMo converges best; its batch, steps, tables are unknown, the numbers are ours."""


def compute(config: Config, folder: Path) -> "xarray.Dataset":
    """Loss and test accuracy of everything, and when."""
    parts = [asynchronous(config, method, folder) for method in config.methods]
    rounds = synchronous(config, config.workers[0], folder).expand_dims(workers=[config.workers[0]])
    found = together([*parts, rounds], [*config.methods, SYNCHRONOUS])
    about = {"data": config.data, "batch": config.batch, "seeds": config.seeds}
    return found.assign_attrs(attributes([*parts, rounds]) | about)


def draw(found: "xarray.Dataset", path: Path) -> None:
    """Loss against epochs in each setting; against seconds; and in the end against the step."""
    best, settings = tuned(found), found["workers"].values
    methods = [method for method in found["algorithm"].values if method != SYNCHRONOUS]
    caption = CAPTION.format(**{name: found.attrs[name] for name in ("data", "batch", "seeds")})
    with picture(path, caption, rows=2, columns=3, size=(13.5, 8)) as panels:
        for row, workers in zip(panels, settings, strict=False):
            for axes, speeds in zip(row, SPEEDS, strict=False):
                for method in methods:
                    line = best.sel(algorithm=method, workers=workers, speeds=speeds)
                    style = "--" if method == "OrMo-DA" else "-"
                    label = method if axes is panels[0, 0] else "_"
                    curve(axes, line["epoch"], line["loss"], colour=COLOURS[method], label=label, style=style)
                axes.set(yscale="log", xlabel="epochs", ylabel="train loss", title=f"K = {workers}, {speeds} speeds")
        seconds, steps = panels[:, 2]
        for method, colour in (("OrMo", BLUE), (SYNCHRONOUS, RED)):
            for speeds, style in zip(SPEEDS, ("-", "--"), strict=True):
                line = best.sel(algorithm=method, workers=settings[0], speeds=speeds)
                label = f"{'OrMo' if method == 'OrMo' else 'synchronous momentum'}, {speeds}"
                line = line.isel(epoch=slice(1, None))
                curve(seconds, line["time"].mean("seed"), line["loss"], colour=colour, label=label, style=style)
        seconds.set(xscale="log", yscale="log", xlabel="simulated time [s]", ylabel="train loss", title=f"K = {settings[0]}")
        for method in methods:
            shown = found["last"].sel(algorithm=method, workers=settings[-1], speeds=SPEEDS[1])
            shown = shown.where(shown < 10).dropna("learning_rate")
            style = "--" if method == "OrMo-DA" else "-"
            steps.loglog(shown["learning_rate"], shown, style, marker=".", color=COLOURS[method], lw=1.3, label="_")
        seconds.set_ylim(bottom=seconds.get_ylim()[0] / 4)
        seconds.legend(frameon=False, fontsize=8, loc="lower left")
        steps.set_xscale("log", base=2)
        title = f"K = {settings[-1]}, {SPEEDS[1]} speeds, every step"
        steps.set(xlabel=r"step $\eta$", ylabel="train loss in the end", title=title)
