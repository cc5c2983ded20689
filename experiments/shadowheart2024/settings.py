"""The methods that are compared, each with what its workers send and how long that takes, and their best steps."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import optax

import jasgd
from experiments.contest import Contestant, attributes, lasting
from experiments.pictures import BLUE, GREEN, ORANGE, PINK, RED
from jasgd import oracles, protocols
from jasgd.compressors import rand_k
from jasgd.fleet import Fleet
from jasgd.results import best, labels

if TYPE_CHECKING:
    import xarray

SHADOWHEART, MINIBATCH, QSGD, ASYNCHRONOUS, FASTEST = METHODS = (
    "Shadowheart SGD", "minibatch SGD", "QSGD (RandK)", "asynchronous SGD", "fastest worker alone",
)  # fmt: skip
COLOURS = dict(zip(METHODS, (RED, BLUE, GREEN, PINK, ORANGE), strict=True))
SPEEDS = {"high": -1.0, "medium": -0.75, "low": -0.5}  # seconds per number that is sent are sqrt(i) d to this power
DROPS = """Asynchronous SGD drops what is older than n arrivals, as the authors do: about half of all arrivals, so that only
the fastest third of the workers gets through often."""


# For every s of Shadowheart SGD, or K of QSGD, what is run; others have the one option 0.
Options = dict[float, Contestant]


def contestants(
    compute: np.ndarray,
    per_number: np.ndarray,
    dim: int,
    *,
    ratios: Sequence[float],
    rates: Sequence[float],
    small: Sequence[float] = (),
    sent: Sequence[int] = (1,),
) -> dict[str, Options]:
    """All methods; Shadowheart SGD sends one number per message.

    Args:
      compute, per_number: seconds per gradient, and per number that is sent, of every worker.
      dim: numbers in a gradient, d.
      ratios: s = sigma^2 / epsilon that are tried; a worker never sends more than d messages per round.
      rates, small: learning rates that are tried; the small ones by the others only, whose steps are cheap.
      sent: K that are tried, numbers in a message of QSGD.
    """
    fleet, n, single = jasgd.fleet.fixed(compute), len(compute), oracles.gradient()

    def links(size: int) -> Fleet:
        return fleet.with_links(upload=per_number, size=size)

    def contestant(
        protocol: Callable[[int], jasgd.Schedule], oracle: oracles.Oracle = single, rates: Sequence[float] = (*small, *rates)
    ) -> Contestant:
        return Contestant(lambda updates, _: protocol(updates), optax.sgd, rates, oracle)

    def shadowheart(ratio: float) -> Contestant:
        def protocol(updates: int) -> jasgd.Schedule:
            return protocols.shadowheart(links(1), updates, dim - 1, ratio, max_messages=dim)

        work = protocol(1).contents
        assert work is not None
        computed = oracles.gradient(work.gradients)
        message = oracles.compressed(computed, rand_k(1), messages=work.messages)
        return contestant(protocol, message, rates)

    def qsgd(k: int) -> Contestant:
        return contestant(lambda updates: protocols.minibatch(links(k), updates), oracles.compressed(single, rand_k(k)))

    return {
        SHADOWHEART: {ratio: shadowheart(ratio) for ratio in ratios},
        MINIBATCH: {0: contestant(lambda updates: protocols.minibatch(links(dim), updates))},
        QSGD: {k: qsgd(k) for k in sent},
        ASYNCHRONOUS: {
            0: contestant(lambda updates: protocols.asynchronous(links(dim), updates, max_delay=n, age_in="arrivals"))
        },
        FASTEST: {0: contestant(lambda updates: protocols.fastest_worker(fleet, updates))},
    }


def compare(
    problem: jasgd.Problem,
    settings: Mapping[str, Mapping[str, Options]],
    *,
    seconds: float,
    records: int,
    seeds: int,
    folder: Path,
    metric: str = "gap",
) -> "xarray.Dataset":
    """A metric along ``algorithm``, ``setting``, ``seed`` and ``time``, each with the step, s and K of the best last median.

    The steps are run together, as they share their samples: drawing messages costs more than the gradients here.
    """
    times = np.linspace(0, seconds, records + 1)[1:]
    parts = []
    for method in METHODS:
        of = {name: methods[method] for name, methods in settings.items()}
        options = next(iter(of.values()))
        rates = next(iter(options.values())).rates
        found = jasgd.sweep(
            problem,
            optax.sgd,
            lambda setting, option, of=of: lasting(of[setting][option].protocol, seconds, 0),
            grid={"setting": list(of), "option": list(options), "learning_rate": list(rates)},
            seeds=seeds,
            key=jax.random.key(0),
            times=times,
            resume=folder / method.replace(" ", "-"),
            oracle=lambda setting, option, of=of: of[setting][option].oracle,
            runs_at_once=len(rates),
            progress=method,
        ).sel(time=[0.0, *times])
        chosen = best(found, over=["option", "learning_rate"], metric=metric)
        kept = chosen[[metric, "uploaded_bytes"]].reset_coords(["option", "learning_rate", "uploaded_bytes"])
        # Schedules that are the same in all runs have no dimension for them.
        parts.append(kept.assign(uploaded_bytes=kept["uploaded_bytes"].broadcast_like(kept[metric])))
    found = labels().concat(parts, "algorithm", combine_attrs="drop").assign_coords(algorithm=list(METHODS))
    rounds = [[one.protocol(1, 0) for one in methods[SHADOWHEART].values()] for methods in settings.values()]
    found["round_time"] = ("setting", "ratio"), [[s.version_time[-1] for s in row] for row in rounds], {"units": "s"}
    found["equilibrium_time"] = ("setting", "ratio"), [[s.arguments["time"] for s in row] for row in rounds], {"units": "s"}
    found = found.assign_coords(ratio=list(next(iter(settings.values()))[SHADOWHEART]))
    return found.assign_attrs(attributes(parts))


def last(found: "xarray.Dataset", metric: str = "gap") -> "xarray.DataArray":
    """Medians over the seeds in the end."""
    return found[metric].isel(time=-1, drop=True).fillna(np.inf).median("seed")
