"""The job of ``jasgd reproduce``: compute a paper's figures, draw them, and check its claims.

The experiments live in a checkout, not in the package: a folder per paper with ``FIGURES``, which says for each number what
it shows, how long it takes and how faithful it is; for each a module ``figureN`` with a ``Config``,
``compute(config, folder)`` and ``draw(found, path)``; and a module ``claims`` with functions ``figureN(found)``.
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
    data: str | None = None
    """Real data instead of the bundled digits, for figures that classify: mnist, fashion_mnist or cifar10."""
    data_dir: Path | None = None
    """Folder with the standard files of --data."""
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
      ata2025  ...
    """
    if root is None:
        raise ValueError("the experiments live in a checkout of jasgd; run this command in one.")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    papers = _papers(root)
    if command.list:
        for name, (title, figures) in papers.items():
            print(f"{name}  {title}")
            for number, (shows, takes, faithful) in figures.items():
                print(f"    --figure {number}  {shows}; {takes}; {faithful}")
        return
    if command.paper is None and not command.claims:
        raise ValueError(f"say which paper: {', '.join(papers)}; `jasgd reproduce --list` says more.")
    if command.paper is not None and command.paper not in papers:
        raise ValueError(f"there is no experiment {command.paper!r}; there are {', '.join(papers)}.")
    use_all_cores()
    shown = 0
    for name in papers if command.paper is None else [command.paper]:
        numbers = papers[name][1]
        if command.figure is not None and command.figure not in numbers:
            raise ValueError(f"{name} has the figures {', '.join(map(str, numbers))}, got {command.figure}.")
        for number in numbers if command.figure is None else [command.figure]:
            shown += _figure(name, number, command)
    if not shown:
        print(f"nothing has been computed in {command.out}; run the command without `--claims` first.")


def _papers(root: Path) -> dict[str, tuple[str, dict[int, tuple[str, str, str]]]]:
    """Title and figures of every folder that has figures."""
    found = {}
    for path in sorted((root / "experiments").glob("*/__init__.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FIGURES":
                title = (ast.get_docstring(tree) or "").splitlines()[0]
                found[path.parent.name] = (title, ast.literal_eval(node.value))
    return found


def _figure(paper: str, number: int, command: ReproduceCommand) -> bool:
    """Compute, draw and check one figure; whether there was something to show."""
    module = importlib.import_module(f"experiments.{paper}.figure{number}")
    config = _with_data(module.Config().quick() if command.quick else module.Config(), paper, number, command)
    folder = command.out / "-".join(filter(None, (paper, "quick" if command.quick else None, command.data)))
    stored = folder / f"figure{number}.nc"
    found = _stored(stored, config)
    if found is None and command.claims:
        return False
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        found = module.compute(config, folder / f"figure{number}-{fingerprint(repr(config))[:8]}")
        spent = time.perf_counter() - began
        found = found.assign_attrs(paper=paper, figure=str(number), config=repr(config), seconds=f"{spent:.1f}")
        save_dataset(found, stored)
    if not command.claims:
        picture = folder / f"figure{number}.png"
        module.draw(found, picture)
        print(f"result   {stored} ({how_long(found)})\npicture  {picture}\n")
    else:
        print(f"{paper}, figure {number}\n")
    check = getattr(importlib.import_module(f"experiments.{paper}.claims"), f"figure{number}")
    print(importlib.import_module("experiments.claims").table(check(found)), end="\n\n", flush=True)
    return True


def how_long(found: "xarray.Dataset") -> str:
    """What a stored result cost.

    Example:
      >>> import xarray
      >>> how_long(xarray.Dataset(attrs={"seconds": "2.0", "gradients": 1000, "device": "2 x cpu (cpu)"}))
      '1,000 gradients in 2.0 s, 500 per second, on 2 x cpu (cpu)'
    """
    seconds, gradients = float(found.attrs["seconds"]), int(found.attrs["gradients"])
    return f"{gradients:,} gradients in {seconds:.1f} s, {gradients / seconds:,.0f} per second, on {found.attrs['device']}"


def _with_data(config: Any, paper: str, number: int, command: ReproduceCommand) -> Any:
    if (command.data is None) != (command.data_dir is None):
        raise ValueError("give `--data` and `--data-dir` together, or neither for the bundled digits.")
    if command.data is None:
        return config
    if not hasattr(config, "data"):
        raise ValueError(f"figure {number} of {paper} does not classify; name one that does, or leave out `--data`.")
    return dataclasses.replace(config, data=command.data, data_dir=str(command.data_dir))


def _stored(path: Path, config: Any) -> "xarray.Dataset | None":
    """What was computed with the same configuration."""
    if not path.exists():
        return None
    found = labels().load_dataset(path)
    return found if found.attrs.get("config") == repr(config) else None
