"""Tables of the page: methods, delays, claims and sources as HTML."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from jasgd.report import charts
from jasgd.report.files import Stored
from jasgd.report.methods import Method, short

_VERSIONS = ("jasgd", "jax", "jaxlib", "optax", "flax", "numpy", "python")
_FIRST = (
    *("problem", "rule", "oracle", "dimensions", "variables", "grid", "seeds", "key", "gradients", "real_time", "created"),
    *("device", "versions", "git_revision", "x64"),
)
_LONG, _LONGEST = 160, 20_000


def table(head: Sequence[str], rows: Sequence[Sequence[str]], first_number: int | None = None) -> str:
    """A table of cells that are HTML already, in a box of its own that scrolls; from one column on there are numbers.

    Example:
      >>> "<td>1</td>" in table(["a"], [["1"]])
      True
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        right = ["" if first_number is None or i < first_number else ' class="number"' for i in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(right, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table: {escape(head[0]) or "results"}">'
        f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def methods_table(methods: Sequence[Method], labels: Sequence[str]) -> str:
    """A table for those with the same metrics, the best first."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for i, method in enumerate(methods):
        alike.setdefault(tuple(method.ends), []).append(i)
    tables = []
    for metrics, members in alike.items():
        rows = []
        for i in sorted(members, key=lambda i: float(methods[i].ends[metrics[0]].median[0])):
            one = methods[i]
            choice = ", ".join(f"{charts.words(name)} = {short(value)}" for name, value in one.choice.items())
            counts = [f"{count:,}" for count in (one.points * one.seeds, one.diverged, one.seeds)]
            ends = [_end(one, name) for name in metrics]
            rows.append([f"<b>{escape(labels[i])}</b>", escape(choice) or "–", *counts, *ends])
        finals = [f"final {escape(charts.words(name))}" for name in metrics]
        tables.append(table(["method", "best values", "runs", "diverged", "seeds", *finals], rows, first_number=2))
    return "\n".join(tables)


def _end(method: Method, metric: str) -> str:
    end = method.ends[metric]
    middle = _number(end.median[0])
    if end.low is None or end.high is None or np.isinf(end.median[0]):
        return middle
    return f"{middle} <small>({_number(end.low[0])} to {_number(end.high[0])})</small>"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "diverged"


def delays_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """What is known about the delays of every schedule."""
    cells = []
    for row in rows:
        numbers = [f"{value:.4g}" for value in (row["mean"], *row["quantiles"])]
        cells.append([f"<b>{escape(row['label'])}</b>", f"{row['schedules']:,}", *numbers, f"{row['max']:,}"])
    return table(["schedule", "schedules", "mean", "10 %", "median", "90 %", "99 %", "largest"], cells, first_number=1)


def claims_table(claims: Sequence[Any]) -> str:
    """Claims and their verdicts."""
    rows = []
    for claim in claims:
        kind = claim.verdict.replace(" ", "-")
        verdict = f'<span class="verdict {kind}">{escape(claim.verdict)}</span>'
        rows.append([escape(claim.statement), escape(claim.mark), verdict, escape(claim.evidence)])
    return table(["claim", "source", "verdict", "numbers"], rows)


def source_tables(of_file: Sequence[Stored]) -> Iterator[str]:
    """Where the results of a file come from: what they agree on, then what they do not."""
    attributes = [_attributes(result) for result in of_file]
    names = sorted(dict.fromkeys(name for one in attributes for name in one), key=_rank)
    same = [n for n in names if all(one.get(n) == attributes[0].get(n) for one in attributes)]
    rows = [
        ["file", escape(str(of_file[0].path))],
        *([escape(charts.words(name)), _text(attributes[0][name])] for name in same),
    ]
    yield table(["", ""], rows)
    if len(of_file) > 1:
        apart = [name for name in names if name not in same]
        cells = [
            [f"<b>{escape(result.group)}</b>", *(_text(one.get(name, "–")) for name in apart)]
            for result, one in zip(of_file, attributes, strict=True)
        ]
        yield table(["result", *(escape(charts.words(name)) for name in apart)], cells)
    if of_file[0].configuration:
        yield f"<details><summary>Configuration</summary><pre>{escape(of_file[0].configuration)}</pre></details>"


def _attributes(result: Stored) -> dict[str, str]:
    """What is stored with a result, the versions in one line."""
    stored = {
        str(name): str(value) for name, value in result.dataset.attrs.items() if str(value) not in ("", "null", "None", "[]")
    }
    versions = ", ".join(f"{name} {stored.pop(name)}" for name in _VERSIONS if name in stored)
    sizes = ", ".join(f"{charts.words(str(name))} {size:,}" for name, size in result.dataset.sizes.items())
    seconds = {"real_time": f"{stored.pop('seconds')} s"} if "seconds" in stored else {}
    variables = ", ".join(map(charts.words, map(str, result.dataset.data_vars)))
    return {**stored, **seconds, "versions": versions, "dimensions": sizes, "variables": variables}


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _text(value: str) -> str:
    if len(value) <= _LONG:
        return escape(value)
    more = f" … and {len(value) - _LONGEST:,} characters more in the file" if len(value) > _LONGEST else ""
    start = escape(value[:80])
    return f"<details><summary>{start} …</summary>{escape(value[:_LONGEST])}{more}</details>"
