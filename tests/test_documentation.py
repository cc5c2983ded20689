"""Every public name has a docstring with an example that runs (the examples themselves run as doctests)."""

import inspect
import re
from pathlib import Path

import pytest

import jasgd

pytestmark = pytest.mark.compiled_quickly
# Results that functions return, described by their attributes; the example stands at the function.
RETURNED = {"Replicas", "Contents", "Traffic", "Run", "Fleet", "Plan", "Summary", "Reference", "Ledger", "Power", "Dataset"}


def public_names():
    modules = [jasgd, *(getattr(jasgd, name) for name in jasgd.__all__ if inspect.ismodule(getattr(jasgd, name)))]
    modules += [jasgd.problems.partition, jasgd.decentralized.topology, jasgd.decentralized.weights]
    for module in modules:
        exported = getattr(module, "__all__", None)
        for name, value in inspect.getmembers(module):
            if name.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
                continue
            if (exported is None and value.__module__ == module.__name__) or (exported is not None and name in exported):
                yield f"{module.__name__}.{name}", value


@pytest.mark.parametrize("name", [name for name, _ in public_names()])
def test_public_names_have_examples(name):
    """A docstring, and in it a line that runs."""
    value = dict(public_names())[name]
    assert value.__doc__, f"{name} has no docstring"
    documented = ">>>" in value.__doc__ or (inspect.isclass(value) and methods_have_examples(value))
    assert documented or value.__name__ in RETURNED, f"{name} has no example"


def methods_have_examples(cls):
    return any(">>>" in (method.__doc__ or "") for _, method in inspect.getmembers(cls))


def readme_blocks():
    text = (Path(__file__).parent.parent / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def test_the_tour_in_the_readme_runs(tmp_path, monkeypatch):
    """All Python blocks of the README, one after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    blocks = readme_blocks()
    assert len(blocks) >= 3
    names = {}
    for block in blocks:
        exec(block, names)


def test_files_stay_small():
    """One concept per file: nothing in the package exceeds 400 lines."""
    package = Path(jasgd.__file__).parent
    long = {path.name: n for path in package.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert not long
