"""What the paper, its poster and we say about the figure, measured on its results."""

from typing import TYPE_CHECKING

from experiments.claims import Claim, listed, verdict
from experiments.contest import seconds_to
from experiments.pictures import log_average
from experiments.ringleader2025.figure1 import chosen

if TYPE_CHECKING:
    import xarray


def figure1(found: "xarray.Dataset") -> list[Claim]:
    """Classification on clients of few classes each."""
    shown = chosen(found)
    smooth = log_average(shown["squared_norm"], along="time", points=int(found.attrs["average"]))
    late = smooth.isel(time=slice(-found.sizes["time"] // 10, None)).mean("time").median("seed")
    last = {str(name): float(late.sel(algorithm=name)) for name in late["algorithm"].values}
    goal = 2 * max(last["Ringleader ASGD"], last["Malenia SGD"])
    median = shown.assign(squared_norm=smooth.median("seed"))
    first = {str(a): float(seconds_to(median.sel(algorithm=a), "squared_norm", goal)) for a in shown["algorithm"].values}
    meant = ("Ringleader ASGD", "Malenia SGD", "IA2SGD")
    biased = ("asynchronous SGD", "delay-adaptive ASGD", "Rennala SGD, S = n", "m-Synchronous SGD, m = n / 2")
    return [
        Claim(
            statement="Ringleader ASGD ends lower than Malenia SGD and IA2SGD.",
            mark="poster (MNIST, by eye 2.1e-4, 1.4e-3, 1.25e-3 at 2e5 s)",
            verdict=verdict(last["Ringleader ASGD"] == min(last[name] for name in meant)),
            evidence="median over the last tenth of the time: " + listed(last),
        ),
        Claim(
            statement="Ringleader ASGD is faster than Malenia SGD.",
            mark="poster",
            verdict=verdict(first["Ringleader ASGD"] < first["Malenia SGD"]),
            evidence=f"seconds until the squared norm is {goal:.2g}: " + listed(first),
        ),
        Claim(
            statement="IA2SGD is faster than Ringleader ASGD at first and stalls above it.",
            mark="poster (by eye)",
            verdict=verdict(first["IA2SGD"] < first["Ringleader ASGD"] and last["IA2SGD"] > last["Ringleader ASGD"]),
            evidence=f"{first['IA2SGD']:.3g} s against {first['Ringleader ASGD']:.3g} s, then "
            f"{last['IA2SGD']:.2g} against {last['Ringleader ASGD']:.2g}",
        ),
        Claim(
            statement="Methods that weigh fast clients more end at a larger gradient of the average objective.",
            mark="derived by us",
            verdict=verdict(min(last[name] for name in biased) > max(last[name] for name in meant)),
            evidence=listed({name: last[name] for name in (*biased, *meant)}),
        ),
    ]
