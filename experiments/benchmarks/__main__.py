"""Measure the engine against bare gradients and hand-written loops.

Two cores make small models slower and wide steps faster, so pin when you compare: ``taskset -c 0 python -m ...``.
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax

from experiments.benchmarks.cases import chosen
from experiments.benchmarks.device import Device, Kind, use
from jasgd.output import show
from jasgd.sweep_folder import write_whole


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the engine against bare gradients and hand-written loops, case by case.

    The benchmarks live in a checkout of jasgd.

    Examples:
      jasgd bench --only tridiagonal-exact --quick --repeats 2
      jasgd bench --out cases.json
      jasgd bench --device cpu --only cnn --quick
    """

    only: tuple[str, ...] = ()
    """Names of cases; by default all of the table, and on an accelerator also resnet20 and transformer."""
    device: Kind | None = None
    """Measure there or not at all; by default on whatever JAX finds."""
    quick: bool = False
    """Few deliveries: shows that everything works, not how fast."""
    repeats: int = 7
    """Rounds in which everybody runs once."""
    lanes: int | None = None
    """Gradients computed together by the engine; by default the fastest of some."""
    large: bool = False
    """Also a hundred thousand workers, a million deliveries."""
    out: Path | None = None
    """Also write a JSON file."""
    json: bool = False
    """Print one JSON document instead of a table."""


def main(options: Options) -> None:
    """Measure, print the tables, write the file."""
    if options.repeats < 1:
        raise ValueError(f"`repeats` must be at least 1, got {options.repeats}.")
    if options.device is not None:
        use(options.device)
    cases = chosen(options.only, accelerated=jax.default_backend() != "cpu")

    from experiments.benchmarks.compare import compare
    from experiments.benchmarks.large import large
    from experiments.benchmarks.report import about, document, table

    device = Device.measured(quick=options.quick)
    results = []
    for case in cases:
        print(f"{case.name} ...", file=sys.stderr, flush=True)
        measured = case.quick() if options.quick else case
        results.append(compare(measured, device, repeats=options.repeats, lanes=options.lanes))
    settings = about(repeats=options.repeats, quick=options.quick, device=device)
    size = {"workers": 1000, "deliveries": 10_000} if options.quick else {}
    of_large = large(**size) if options.large else None
    content = document(results, device, settings, large=of_large)
    text = table(results, settings)
    if of_large is not None:
        text += "\n\nlarge: " + ", ".join(f"{name} {value:.6g}" for name, value in of_large.items())
    if options.out is not None:
        write_whole(options.out, f"{json.dumps(content, indent=2)}\n".encode())
        content["files"] = {"result": options.out}
    show(text, content, as_json=options.json)


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    try:
        main(tyro.cli(Options))
    except ValueError as error:
        sys.exit(f"benchmarks: {error}")
