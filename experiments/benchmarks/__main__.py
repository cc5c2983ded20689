"""Measure the engine against bare gradients and hand-written loops.

Two cores make small models slower and wide steps faster, so pin when you compare: ``taskset -c 0 python -m ...``.
"""

import dataclasses
import sys
from pathlib import Path

from experiments.benchmarks.cases import CASES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Measure the engine against bare gradients and hand-written loops.

    Attributes:
      only: names of cases; by default all.
      quick: few deliveries: shows that everything works, not how fast.
      repeats: rounds in which everybody runs once.
      lanes: gradients computed together by the engine; by default the fastest of some.
      large: also a hundred thousand workers, a million deliveries.
      out: also write a JSON file.
    """

    only: tuple[str, ...] = ()
    quick: bool = False
    repeats: int = 7
    lanes: int | None = None
    large: bool = False
    out: Path | None = None

    def __post_init__(self) -> None:
        names = [case.name for case in CASES]
        unknown = [name for name in self.only if name not in names]
        if unknown:
            raise ValueError(f"`only` must name cases out of {', '.join(names)}; got {', '.join(unknown)}.")
        if self.repeats < 1:
            raise ValueError(f"`repeats` must be at least 1, got {self.repeats}.")


def main(options: Options) -> None:
    """Measure, print the table, write the file."""
    from experiments.benchmarks.compare import compare
    from experiments.benchmarks.large import large
    from experiments.benchmarks.report import about, save, table

    results = []
    for case in CASES:
        if not options.only or case.name in options.only:
            print(f"{case.name} ...", file=sys.stderr, flush=True)
            results.append(compare(case.quick() if options.quick else case, repeats=options.repeats, lanes=options.lanes))
    settings = about(repeats=options.repeats, quick=options.quick)
    print(table(results, settings))
    size = {"workers": 1000, "deliveries": 10_000} if options.quick else {}
    of_large = large(**size) if options.large else None
    if of_large is not None:
        print("\nlarge: " + ", ".join(f"{name} {value:.6g}" for name, value in of_large.items()))
    if options.out is not None:
        save(options.out, results, settings, large=of_large)


if __name__ == "__main__":
    try:
        import tyro
    except ImportError:
        sys.exit('the command line needs tyro: pip install "jasgd[experiments]"')
    try:
        main(tyro.cli(Options))
    except ValueError as error:
        sys.exit(f"benchmarks: {error}")
