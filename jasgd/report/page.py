"""The page: results and charts as HTML that needs nothing else."""

import base64
import datetime
import importlib.resources
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from jasgd.report import charts, svg
from jasgd.report.claims import claims_of
from jasgd.report.files import Stored
from jasgd.report.methods import Method, short
from jasgd.report.staleness import MOST_ROWS, staleness

_VERSIONS = ("jasgd", "jax", "jaxlib", "optax", "flax", "numpy", "python")
_FIRST = (
    *("problem", "rule", "oracle", "dimensions", "grid", "seeds", "key", "gradients", "real_time", "created"),
    *("device", "versions", "git_revision", "x64"),
)
_LONG, _LONGEST = 160, 20_000


def page(results: Sequence[Stored], methods: Sequence[Method], title: str) -> str:
    """Everything as one HTML document."""
    labels = charts.labels_of(methods)
    shown = [chart for chart in (charts.curves(methods, labels), charts.tried(methods, labels)) if chart["series"]]
    said = {
        "curves": ("Curves", _about_curves(methods)),
        "tried": ("Step sizes", _ABOUT_TRIED),
    }
    sections = [_section(*said[chart["id"]], _chart(chart)) for chart in shown]
    if methods:
        sections.append(_section("Methods", _about_methods(methods), _methods(methods, labels)))
    sections += [_staleness(results), *_claims(results), *_sources(results)]
    files = importlib.resources.files("jasgd.report")
    document = string.Template(files.joinpath("page.html").read_text("utf-8"))
    return document.substitute(
        title=escape(title),
        subtitle=escape(_subtitle(results, methods)),
        css=files.joinpath("page.css").read_text("utf-8"),
        script=files.joinpath("page.js").read_text("utf-8"),
        data=embedded({"charts": shown}),
        body="\n".join(filter(None, sections)),
    )


def embedded(data: Any) -> str:
    """JSON that stays inside a script element whatever words are in it.

    Example:
      >>> embedded({"label": "</script>"})
      '{"label":"\\\\u003c/script\\\\u003e"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """A table of cells that are HTML already, in a box of its own that scrolls.

    Example:
      >>> "<td>1</td>" in table(["a"], [["1"]])
      True
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        right = ["" if i not in numeric else ' class="number"' for i in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(right, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="table: {escape(head[0]) or "results"}">'
        f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _section(title: str, about: str, *content: str) -> str:
    return f"<section><h2>{title}</h2>\n{f'<p>{about}</p>' if about else ''}\n{''.join(content)}</section>"


def _subtitle(results: Sequence[Stored], methods: Sequence[Method]) -> str:
    runs = sum(method.points * method.seeds for method in methods)
    diverged = sum(method.diverged for method in methods)
    files = len({result.path for result in results})
    counted = [_count(files, "file"), _count(len(results), "result"), _count(len(methods), "method"), _count(runs, "run")]
    said = ", ".join(counted) + (f", of which {diverged} diverged" if diverged else "")
    return f"{said}. Written {datetime.datetime.now(datetime.UTC).isoformat(sep=' ', timespec='minutes')[:16]} UTC."


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _about_curves(methods: Sequence[Method]) -> str:
    several = sorted({method.seeds for method in methods if method.seeds > 1})
    said = []
    if several:
        many = " or ".join(map(str, several))
        said.append(f"Median over {many} seeds; the band holds the middle half of them.")
    if any(method.points > 1 for method in methods):
        said.append("Each method with the values of its grid whose median is smallest in the end; the table below has them.")
    if any(method.diverged for method in methods):
        said.append("× at the top: from there on at least half of the runs have diverged.")
    most = max((method.records for method in methods), default=0)
    if most > charts.MOST_RECORDS:
        said.append(f"Of up to {most:,} records of a run {charts.MOST_RECORDS} or fewer are drawn.")
    if len(methods) > charts.MOST_SERIES:
        said.append(f"Of {len(methods):,} methods the best {charts.MOST_SERIES} are drawn; the table has them all.")
    cut = max((method.cut for method in methods), default=0)
    if cut:
        said.append(f"Up to {cut:,} records that not all seeds have are left out.")
    return " ".join(said)


_ABOUT_TRIED = (
    "The last value against one number of the grid; where the grid has others, the best of their values. "
    "A ring marks the choice, × at the top that at least half of the runs diverged."
)


def _chart(chart: Mapping[str, Any]) -> str:
    swatch = '<svg class="swatch" viewBox="0 0 34 10" aria-hidden="true"><path {} d="M1 5H33"/></svg>'
    legend = "".join(
        f'<li data-series="{i}">{swatch.format(svg.style(one["style"]))}<span>{escape(one["name"])}</span></li>'
        for i, one in enumerate(chart["series"])
    )
    return (
        f'<figure class="chart" id="{chart["id"]}"><div class="controls"></div>'
        f'<div class="plot">{svg.chart(chart)}</div><ul class="legend">{legend}</ul></figure>'
    )


def _about_methods(methods: Sequence[Method]) -> str:
    metrics = sorted({method.metric for method in methods})
    return (
        f"The best values have the smallest median {' or '.join(map(escape, map(charts.words, metrics)))} in the end; "
        "diverged runs count as infinite. Brackets hold the middle half of the seeds."
    )


def _methods(methods: Sequence[Method], labels: Sequence[str]) -> str:
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
            rows.append(
                [f"<b>{escape(labels[i])}</b>", escape(choice) or "–", *counts, *(_end(one, name) for name in metrics)]
            )
        ends = [f"final {escape(charts.words(name))}" for name in metrics]
        head = ["method", "best values", "runs", "diverged", "seeds", *ends]
        tables.append(table(head, rows, numeric=range(2, len(head))))
    return "\n".join(tables)


def _end(method: Method, metric: str) -> str:
    end = method.ends[metric]
    middle = _number(end.median[0])
    if end.low is None or end.high is None or np.isinf(end.median[0]):
        return middle
    return f"{middle} <small>({_number(end.low[0])} to {_number(end.high[0])})</small>"


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "diverged"


def _staleness(results: Sequence[Stored]) -> str:
    """Everything that is known about delays."""
    rows = [row for result, name in zip(results, names_of(results), strict=True) for row in staleness(result.dataset, name)]
    if not rows:
        return ""
    about = (
        "How many server updates lie between the moment a gradient's point is read and its use. "
        "Bar: 10 to 90 %; thick line: to 99 %; thin line: to the largest; dot: mean; notch: median."
    )
    if any(row["schedules"] > 1 for row in rows):
        about += " Schedules that differ in their seed only are averaged; the largest is that of all."
    if len(rows) > MOST_ROWS:
        about += f" Of {len(rows):,} schedules the first {MOST_ROWS} are drawn; the table has them all."
    drawn = svg.intervals(rows[:MOST_ROWS], "delay of a gradient [server updates]")
    cells = []
    for row in rows:
        numbers = [f"{value:.4g}" for value in (row["mean"], *row["quantiles"])]
        cells.append([f"<b>{escape(row['label'])}</b>", f"{row['schedules']:,}", *numbers, f"{row['max']:,}"])
    head = ["schedule", "schedules", "mean", "10 %", "median", "90 %", "99 %", "largest"]
    picture = f'<div class="scroll" tabindex="0" role="region" aria-label="delays">{drawn}</div>'
    return _section(
        "Staleness", about, f'<figure class="intervals">{picture}</figure>', table(head, cells, numeric=range(1, 8))
    )


def names_of(results: Sequence[Stored]) -> list[str]:
    """What tells results apart: files where there are several, groups where there are several."""
    several = len({result.file for result in results}) > 1
    return [
        ", ".join(filter(None, [result.file if several or not result.group else "", result.group])) for result in results
    ]


def _claims(results: Sequence[Stored]) -> Iterator[str]:
    for result in results:
        claims, why = claims_of(result.dataset)
        if not claims and not why:
            continue
        attributes = result.dataset.attrs
        title = f"Claims: {escape(attributes['paper'])}, figure {escape(attributes['figure'])}"
        rows = [
            [
                escape(claim.statement),
                escape(claim.mark),
                f'<span class="verdict {claim.verdict.replace(" ", "-")}">{escape(claim.verdict)}</span>',
                escape(claim.evidence),
            ]
            for claim in claims
        ]
        content = table(["claim", "source", "verdict", "numbers"], rows) if rows else ""
        yield _section(title, escape(why), content, _picture(result))


def _picture(result: Stored) -> str:
    """The figure as it was drawn, if it still lies beside the result."""
    path = result.path.with_suffix(".png")
    if not path.is_file() or path.stat().st_size > 2_000_000:
        return ""
    content = base64.b64encode(path.read_bytes()).decode()
    return f'<figure class="picture"><img alt="{escape(path.name)}, as it was drawn" src="data:image/png;base64,{content}"></figure>'


def _sources(results: Sequence[Stored]) -> Iterator[str]:
    """Where everything comes from: for each file what its results agree on, then what they do not."""
    for path in dict.fromkeys(result.path for result in results):
        of_file = [result for result in results if result.path == path]
        attributes = [_attributes(result) for result in of_file]
        names = sorted(dict.fromkeys(name for one in attributes for name in one), key=_rank)
        same = [n for n in names if all(one.get(n) == attributes[0].get(n) for one in attributes)]
        rows = [["file", escape(str(path))], *([escape(charts.words(name)), _text(attributes[0][name])] for name in same)]
        tables = [table(["", ""], rows)]
        if len(of_file) > 1:
            apart = [name for name in names if name not in same]
            cells = [
                [f"<b>{escape(result.group)}</b>", *(_text(one.get(name, "–")) for name in apart)]
                for result, one in zip(of_file, attributes, strict=True)
            ]
            tables.append(table(["result", *(escape(charts.words(name)) for name in apart)], cells))
        if of_file[0].configuration:
            tables.append(
                f"<details><summary>Configuration</summary><pre>{escape(of_file[0].configuration)}</pre></details>"
            )
        yield _section(f"Source: {escape(of_file[0].file)}", "", *tables)


def _attributes(result: Stored) -> dict[str, str]:
    """What is stored with a result, the versions in one line."""
    stored = {
        str(name): str(value) for name, value in result.dataset.attrs.items() if str(value) not in ("", "null", "None", "[]")
    }
    versions = ", ".join(f"{name} {stored.pop(name)}" for name in _VERSIONS if name in stored)
    sizes = ", ".join(f"{charts.words(str(name))} {size:,}" for name, size in result.dataset.sizes.items())
    seconds = {"real_time": f"{stored.pop('seconds')} s"} if "seconds" in stored else {}
    return {**stored, **seconds, "versions": versions, "dimensions": sizes}


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _text(value: str) -> str:
    if len(value) <= _LONG:
        return escape(value)
    more = f" … and {len(value) - _LONGEST:,} characters more in the file" if len(value) > _LONGEST else ""
    start = escape(value[:80])
    return f"<details><summary>{start} …</summary>{escape(value[:_LONGEST])}{more}</details>"
