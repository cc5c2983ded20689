"""The page: results and charts as HTML that needs nothing else."""

import base64
import datetime
import importlib.resources
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from jasgd.report import charts, svg, tables
from jasgd.report.claims import claims_of
from jasgd.report.files import Stored
from jasgd.report.methods import Method
from jasgd.report.schedules import MOST_ROWS, staleness


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
        sections.append(_section("Methods", _about_methods(methods), tables.methods_table(methods, labels)))
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
    r"""JSON that stays inside a script element whatever words are in it.

    Example:
      >>> embedded({"label": "</script>"})
      '{"label":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


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
    metrics = sorted({charts.words(method.metric) for method in methods})
    return (
        f"The best values have the smallest median {escape(' or '.join(metrics))} in the end; "
        "diverged runs count as infinite. Brackets hold the middle half of the seeds."
    )


def _staleness(results: Sequence[Stored]) -> str:
    """Everything that is known about delays."""
    several = len({result.file for result in results}) > 1
    rows = []
    for result in results:
        name = ", ".join(filter(None, [result.file if several or not result.group else "", result.group]))
        rows += staleness(result.dataset.attrs, name)
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
    picture = f'<div class="scroll" tabindex="0" role="region" aria-label="delays">{drawn}</div>'
    return _section("Staleness", about, f'<figure class="intervals">{picture}</figure>', tables.delays_table(rows))


def _claims(results: Sequence[Stored]) -> Iterator[str]:
    """The claims of papers, and their figures as they were drawn."""
    for result in results:
        claims, why = claims_of(result.dataset)
        if claims or why:
            paper, figure = (escape(str(result.dataset.attrs[name])) for name in ("paper", "figure"))
            content = tables.claims_table(claims) if claims else ""
            yield _section(f"Claims: {paper}, figure {figure}", escape(why), content, _picture(result))


def _picture(result: Stored) -> str:
    """The picture that still lies beside the result."""
    path = result.path.with_suffix(".png")
    if not path.is_file() or path.stat().st_size > 2_000_000:
        return ""
    content = base64.b64encode(path.read_bytes()).decode()
    image = f'<img alt="{escape(path.name)}, as it was drawn" src="data:image/png;base64,{content}">'
    return f'<figure class="picture">{image}</figure>'


def _sources(results: Sequence[Stored]) -> Iterator[str]:
    """Where everything comes from."""
    for path in dict.fromkeys(result.path for result in results):
        of_file = [result for result in results if result.path == path]
        yield _section(f"Source: {escape(of_file[0].file)}", "", *tables.source_tables(of_file))
