"""Bring pages and pictures up to date with stored results: ``python -m experiments.pages jasgd-results/reproduce``.

Draws every figure that was computed in full beside its page, writes what it cost and its claims between ``<!-- figureN -->``
and ``<!-- end -->`` there, and how many claims hold between ``<!-- claims -->`` and ``<!-- end -->`` in the README.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import xarray

from experiments.claims import table
from jasgd.reproduce import how_long

HERE = Path(__file__).parent
VERDICTS = ("holds", "does not hold", "not comparable")


def update(results: Path) -> None:
    """All pages, and the README."""
    for page in sorted(HERE.glob("*/README.md")):
        text = page.read_text()
        for number, old in blocks(text):
            stored = results / page.parent.name / f"figure{number}.nc"
            if stored.exists():
                text = text.replace(old, block(page.parent, number, xarray.load_dataset(stored)))
            else:
                print(f"{page.parent.name}, figure {number}: not computed, left as it is")
        page.write_text(text)
    readme = HERE.parent / "README.md"
    counted = "\n".join(["<!-- claims -->", "", *counts(), "", "<!-- end -->"])
    readme.write_text(re.sub("<!-- claims -->.*?<!-- end -->", counted, readme.read_text(), flags=re.DOTALL))


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Numbers of the figures of a page, and what stands there now."""
    for found in re.finditer(r"<!-- figure(\d+) -->.*?<!-- end -->", text, re.DOTALL):
        yield found[1], found[0]


def block(folder: Path, number: str, found: xarray.Dataset) -> str:
    """What a figure cost and its claims; draws the picture."""
    module, claims = (importlib.import_module(f"experiments.{folder.name}.{name}") for name in (f"figure{number}", "claims"))
    module.draw(found, folder / f"figure{number}.png")
    checked = table(getattr(claims, f"figure{number}")(found))
    return f"<!-- figure{number} -->\n\n{how_long(found).capitalize()}.\n\n{checked}\n\n<!-- end -->"


def counts() -> Iterator[str]:
    """How many claims of every paper hold, as Markdown."""
    yield "| paper | figures | " + " | ".join(VERDICTS) + " |"
    yield "|---|---|---|---|---|"
    for page in sorted(HERE.glob("*/README.md")):
        shown = [text for _, text in blocks(page.read_text())]
        if shown:
            numbers = [sum(text.count(f"| **{verdict}** |") for text in shown) for verdict in VERDICTS]
            name = page.parent.name
            yield f"| [{name}](experiments/{name}) | {len(shown)} | " + " | ".join(map(str, numbers)) + " |"


if __name__ == "__main__":
    update(Path(sys.argv[1] if len(sys.argv) > 1 else "jasgd-results/reproduce"))
