"""From stored results to a page on disk."""

import os
from collections.abc import Sequence
from pathlib import Path

from jasgd.report.files import Stored, read
from jasgd.report.methods import Method, methods_of
from jasgd.report.page import page


def write(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    each: Sequence[str] = (),
    metric: str | None = None,
) -> Path:
    """Write one HTML page about stored results. It is one file, needs no network, and works without a script, too.

    Args:
      paths: netCDF files of runs, of ``jasgd run``, ``jasgd sweep`` and ``jasgd reproduce``; evaluations.json of
        ``jasgd tune``.
      out: where the page goes; it appears whole or not at all.
      title: of the page; by default the names of the results.
      each: names of a grid whose values are shown side by side; out of those of all others the best are chosen.
      metric: what is small at the best values; by default the gap, or the loss.

    Returns:
      Where the page is.

    Example:
      >>> history = {"version": [0, 10], "time": [0.0, 2.5], "loss": [1.0, 0.5]}
      >>> run = jasgd.results.to_dataset(history, jasgd.results.provenance())
      >>> jasgd.results.save_dataset(run, tmp_path / "run.nc")
      >>> jasgd.report.write([tmp_path / "run.nc"], tmp_path / "report.html").read_text()[:15]
      '<!doctype html>'
    """
    results = read(paths)
    _require_names(results, each)
    found = [methods_of(result, each=each, metric=metric) for result in results]
    _require_something_in_common(found)
    title = title or ", ".join(dict.fromkeys(result.file for result in results))
    text = page(results, [method for methods in found for method in methods], title)
    out = Path(out)
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(out)
    except OSError as error:
        raise ValueError(f"the page cannot be written to {out}: {error.strerror or error}.") from error
    return out


def _require_names(results: Sequence[Stored], each: Sequence[str]) -> None:
    along = {"seed", "time", "version", "record"}
    coords = [(str(name), set(coord.dims)) for result in results for name, coord in result.dataset.coords.items()]
    known = sorted({name for name, dims in coords if dims and not dims & along})
    wrong = [name for name in each if name not in known]
    if wrong:
        raise ValueError(f"`each` must be names of a grid, out of {', '.join(known) or 'none'}; got {wrong[0]!r}.")


def _require_something_in_common(found: Sequence[Sequence[Method]]) -> None:
    """What is shown together can be compared, if only two by two."""
    drawn = [methods for methods in found if methods]
    metrics = [set().union(*(method.curves for method in methods)) for methods in drawn]
    if len(drawn) < 2 or any(one & other for i, one in enumerate(metrics) for other in metrics[:i]):
        return
    listed = "; ".join(
        f"{methods[0].source.name}: {', '.join(sorted(m))}" for methods, m in zip(drawn, metrics, strict=True)
    )
    raise ValueError(f"these results have no metric in common ({listed}); write a page for each of them.")
