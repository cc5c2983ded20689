"""The job of ``jasgd reproduce``: compute a paper's figures, draw them, and check its claims.

The experiments live in a checkout, not in the package: a folder per paper with ``FIGURES`` (what they show), and for each a
module ``figureN`` with a ``Config``, ``compute(config, folder)``, ``draw(found, path)`` and ``claims(found)``.
"""

import ast
import dataclasses
import importlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from jasgd.fingerprint import fingerprint
from jasgd.hosts import use_all_cores
from jasgd.results import labels, save_dataset

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceCommand:
    """Compute, store and draw the figures of a paper, and check its claims; what is stored already is only drawn again."""

    paper: Annotated[str | None, tyro.conf.Positional] = None
    """A folder of experiments, e.g. mishchenko2022; --list says which there are."""
    figure: int | None = None
    """Only this figure."""
    quick: bool = False
    """Small versions, to see whether it works."""
    out: Path = Path("jasgd-results/reproduce")
    """Folder for results and pictures."""
    list: bool = False
    """Say what there is."""
    claims: bool = False
    """Print the table of all claims about what has been computed, and compute nothing."""


def reproduce(command: ReproduceCommand, root: Path | None) -> None:
    """Run the command in a checkout.

    Example:
      >>> from jasgd.cli import checkout
      >>> reproduce(ReproduceCommand(list=True), checkout())  # doctest: +ELLIPSIS
      mishchenko2022  ...
    """
    if root is None:
        raise ValueError("the experiments live in a checkout of jasgd; run this command in one.")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    papers = _papers(root)
    if command.list:
        for name, (title, figures) in papers.items():
            print(f"{name}  {title}")
            for number, text in figures.items():
                print(f"    --figure {number}  {text}")
        return
    if command.paper is None and not command.claims:
        raise ValueError(f"say which paper: {', '.join(papers)}; `jasgd reproduce --list` says more.")
    if command.paper is not None and command.paper not in papers:
        raise ValueError(f"there is no experiment {command.paper!r}; there are {', '.join(papers)}.")
    use_all_cores()
    for name in papers if command.paper is None else [command.paper]:
        numbers = papers[name][1]
        if command.figure is not None and command.figure not in numbers:
            raise ValueError(f"{name} has the figures {', '.join(map(str, numbers))}, got {command.figure}.")
        for number in numbers if command.figure is None else [command.figure]:
            _figure(name, number, command)


def _papers(root: Path) -> dict[str, tuple[str, dict[int, str]]]:
    """Title and figures of every folder that has figures."""
    found = {}
    for path in sorted((root / "experiments").glob("*/__init__.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FIGURES":
                title = (ast.get_docstring(tree) or "").splitlines()[0]
                found[path.parent.name] = (title, ast.literal_eval(node.value))
    return found


def _figure(paper: str, number: int, command: ReproduceCommand) -> None:
    module = importlib.import_module(f"experiments.{paper}.figure{number}")
    config = module.Config().quick() if command.quick else module.Config()
    folder = command.out / (f"{paper}-quick" if command.quick else paper)
    stored = folder / f"figure{number}.nc"
    found = _stored(stored, config)
    if found is None and command.claims:
        return
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        found = module.compute(config, folder / f"figure{number}-{fingerprint(repr(config))[:8]}")
        spent = time.perf_counter() - began
        found = found.assign_attrs(config=repr(config), seconds=f"{spent:.1f}")
        save_dataset(found, stored)
    if not command.claims:
        picture = folder / f"figure{number}.png"
        module.draw(found, picture)
        how_long = f"{found.attrs['seconds']} s, without what was there already"
        print(f"result   {stored} (computed in {how_long})\npicture  {picture}\n")
    else:
        print(f"{paper}, figure {number}\n")
    print(importlib.import_module("experiments.claims").table(module.claims(found)), end="\n\n", flush=True)


def _stored(path: Path, config: Any) -> "xarray.Dataset | None":
    """What was computed with the same configuration."""
    if not path.exists():
        return None
    found = labels().load_dataset(path)
    return found if found.attrs.get("config") == repr(config) else None
