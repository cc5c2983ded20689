"""The job of ``jasgd reproduce``: compute a paper's figures, draw them, and check its claims.

The experiments live in a checkout, not in the package: a folder per paper with ``FIGURES``, which says for each number what
it shows, how long it takes and how faithful it is; for each a module ``figureN`` with a ``Config``,
``compute(config, folder)`` and ``draw(found, path)``; and a module ``claims`` with functions ``figureN(found)``.
"""

import ast
import dataclasses
import difflib
import importlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from jasgd.checkout import checkout, use_checkout
from jasgd.fingerprint import fingerprint
from jasgd.hosts import use_all_cores
from jasgd.output import listed, show, to_go_on
from jasgd.results import labels, save_dataset

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReproduceCommand:
    """Compute, store and draw the figures of a paper, and check its claims.

    What is stored already is only drawn again. The experiments live in a checkout of jasgd.

    Examples:
      jasgd reproduce --list
      jasgd reproduce mishchenko2022 --figure 2 --quick
      jasgd reproduce mishchenko2022
      jasgd reproduce --claims --json
    """

    paper: Annotated[str | None, tyro.conf.Positional] = None
    """A folder of experiments, e.g. mishchenko2022; --list says which there are."""
    figure: int | None = None
    """Only this figure."""
    quick: bool = False
    """Small versions, to see whether it works."""
    data: Literal["mnist", "fashion_mnist", "cifar10"] | None = None
    """Real data instead of the bundled digits, for figures that classify."""
    data_dir: Path | None = None
    """Folder with the standard files of --data."""
    out: Path = Path("jasgd-results/reproduce")
    """Folder for results and pictures."""
    list: bool = False
    """Say what there is."""
    claims: bool = False
    """Print the table of all claims about what has been computed, and compute nothing."""
    json: bool = False
    """Print one JSON document instead of tables."""


def reproduce_command(command: ReproduceCommand) -> None:
    """Run the command in the checkout that there is.

    Example:
      >>> reproduce_command(ReproduceCommand(list=True))  # doctest: +ELLIPSIS
      ata2025  ...
    """
    try:
        reproduce(command, checkout())
    except KeyboardInterrupt as stop:
        stop.add_note(to_go_on(f"finished figures, and the sweeps of unfinished ones, are kept in {command.out}"))
        raise


def reproduce(command: ReproduceCommand, root: Path | None) -> None:
    """Run the command in a checkout.

    Example:
      >>> reproduce(ReproduceCommand(list=True), checkout())  # doctest: +ELLIPSIS
      ata2025  ...
    """
    papers = _papers(use_checkout(root, "the experiments"))
    if command.list:
        show(_list(papers), {"papers": papers}, as_json=command.json)
        return
    if command.paper is None and not command.claims:
        raise ValueError(f"say which paper: {', '.join(papers)}; `jasgd reproduce --list` says more.")
    if command.paper is not None and command.paper not in papers:
        near = difflib.get_close_matches(command.paper, papers, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(papers)}."
        raise ValueError(f"there is no experiment {command.paper!r}; {hint}")
    use_all_cores()
    shown = []
    for name in papers if command.paper is None else [command.paper]:
        numbers = papers[name]["figures"]
        if command.figure is not None and command.figure not in numbers:
            raise ValueError(f"{name} has the figures {', '.join(map(str, numbers))}, got {command.figure}.")
        for number in numbers if command.figure is None else [command.figure]:
            figure = _figure(name, number, command)
            if figure is not None:
                shown.append(figure)
                if not command.json:
                    print(_page(figure, command.claims), flush=True)
    if command.json:
        show("", {"figures": shown}, as_json=True)
    elif not shown:
        told = "nothing has been computed in {}; run the command without `--claims` first, or give `--quick` as you did."
        print(told.format(command.out))


def _list(papers: Mapping[str, Any]) -> str:
    lines = []
    for name, paper in papers.items():
        lines.append(f"{name}  {paper['title']}")
        for number, figure in paper["figures"].items():
            lines.append(f"    --figure {number}  {figure['shows']}; {figure['takes']}; {figure['faithful']}")
    return "\n".join(lines)


def _page(figure: Mapping[str, Any], claims_alone: bool) -> str:
    """Where a figure is, or only which, and its claims."""
    files = {**figure["files"], "result": f"{figure['files']['result']} ({figure['cost']})"}
    head = f"{figure['paper']}, figure {figure['figure']}" if claims_alone else listed(**files)
    return f"{head}\n\n{importlib.import_module('experiments.claims').table(figure['claims'])}\n"


def _papers(root: Path) -> dict[str, dict[str, Any]]:
    """Title and figures of every folder that has figures."""
    found = {}
    for path in sorted((root / "experiments").glob("*/__init__.py")):
        tree = ast.parse(path.read_text())
        for node in tree.body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "FIGURES":
                title = (ast.get_docstring(tree) or "").splitlines()[0]
                figures = {
                    number: dict(zip(("shows", "takes", "faithful"), about, strict=True))
                    for number, about in ast.literal_eval(node.value).items()
                }
                found[path.parent.name] = {"title": title, "figures": figures}
    return found


def _figure(paper: str, number: int, command: ReproduceCommand) -> dict[str, Any] | None:
    """Compute, draw and check one figure; None if there is nothing to show."""
    module = importlib.import_module(f"experiments.{paper}.figure{number}")
    config = _with_data(module.Config().quick() if command.quick else module.Config(), paper, number, command)
    folder = command.out / "-".join(filter(None, (paper, "quick" if command.quick else None, command.data)))
    stored = folder / f"figure{number}.nc"
    found = _stored(stored, config)
    if found is None and command.claims:
        return None
    if found is None:
        folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        found = module.compute(config, folder / f"figure{number}-{fingerprint(repr(config))[:8]}")
        spent = time.perf_counter() - began
        found = found.assign_attrs(paper=paper, figure=str(number), config=repr(config), seconds=f"{spent:.1f}")
        save_dataset(found, stored)
    picture = folder / f"figure{number}.png"
    if not command.claims:
        module.draw(found, picture)
    check = getattr(importlib.import_module(f"experiments.{paper}.claims"), f"figure{number}")
    return {
        "paper": paper,
        "figure": number,
        "claims": check(found),
        "cost": how_long(found),
        "gradients": int(found.attrs["gradients"]),
        "seconds": float(found.attrs["seconds"]),
        "device": found.attrs["device"],
        "files": {"result": stored, **({"picture": picture} if picture.exists() else {})},
    }


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
