"""A claim of a paper, measured on a stored result."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

Verdict = Literal["holds", "does not hold", "not comparable"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said, where it was read, what we see.

    Attributes:
      statement: one sentence.
      mark: how we know that it is said: in the paper, in the authors' code, on their poster, or derived by us.
      verdict: what we find.
      evidence: the numbers behind it.
    """

    statement: str
    mark: str
    verdict: Verdict
    evidence: str


def verdict(holds: bool) -> Verdict:
    """In words."""
    return "holds" if holds else "does not hold"


def table(claims: list[Claim]) -> str:
    """As Markdown."""
    cells = [[c.statement, c.mark, f"**{c.verdict}**", c.evidence] for c in claims]
    rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
    return "\n".join(["| claim | source | verdict | numbers |", "|---|---|---|---|", *rows])


def listed(values: Mapping[str, float], unit: str = "") -> str:
    """Names and numbers, in one line."""
    return ", ".join(f"{name} {value:.3g}{unit}" for name, value in values.items())
