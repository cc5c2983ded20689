"""Every public name has a docstring with an example that runs (the examples themselves run as doctests)."""

import functools
import inspect
import re
import types
from pathlib import Path

import pages
import pytest

import jasgd

pytestmark = pytest.mark.compiled_quickly


def public_modules(module=jasgd):
    """The package and every module that one can reach through ``__all__``."""
    yield module
    for name in getattr(module, "__all__", []):
        if inspect.ismodule(inner := getattr(module, name)):
            yield from public_modules(inner)


def public_names():
    """Functions and classes of the public modules; without ``__all__``, those that a module defines itself."""
    for module in public_modules():
        exported = getattr(module, "__all__", None)
        for name, value in inspect.getmembers(module):
            if name.startswith("_") or not (inspect.isfunction(value) or inspect.isclass(value)):
                continue
            if (exported is None and value.__module__ == module.__name__) or (exported is not None and name in exported):
                yield f"{module.__name__}.{name}", value


NAMES = dict(public_names())


def test_public_modules_say_what_they_are_for():
    """In their first line; and every name that they export is there."""
    modules = list(public_modules())
    assert len(modules) >= 20
    for module in modules:
        assert module.__doc__, f"{module.__name__} has no docstring"
        assert [name for name in getattr(module, "__all__", []) if not hasattr(module, name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_public_names_have_examples(name):
    """A docstring, and in it a line that runs; a class may have it at one of its own methods."""
    value = NAMES[name]
    documented = [value, *(methods(value).values() if inspect.isclass(value) else [])]
    assert value.__doc__, f"{name} has no docstring"
    assert any(">>>" in (each.__doc__ or "") for each in documented), f"{name} has no example"


@pytest.mark.parametrize("name", [name for name, value in NAMES.items() if inspect.isclass(value)])
def test_methods_of_public_classes_are_documented(name):
    """Properties and methods of its own."""
    assert [method for method, value in methods(NAMES[name]).items() if not value.__doc__] == []


def methods(cls):
    """Public methods and properties that a class defines itself."""
    kinds = (classmethod, staticmethod, property, functools.cached_property, types.FunctionType)
    return {name: value for name, value in vars(cls).items() if isinstance(value, kinds) and not name.startswith("_")}


def test_the_tour_in_the_readme_runs(tmp_path, monkeypatch):
    """All Python blocks of the README, one after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    assert "run" in pages.run(pages.ROOT / "README.md")


# What the reference pages would lose: escapes that are Markdown's, too, and the end of a line behind a space.
FORMULA = re.compile(r":math:`[^`]*`|\.\. math::.*?(?:\n\n|\"\"\")", re.DOTALL)
LOST = re.compile(r"\\[{}\\]|quad\n")


def test_formulas_survive_in_the_reference_pages():
    """Parentheses or `lbrace` for braces, `cr` for new rows, spaces at the beginning of lines."""
    sources = {path: path.read_text() for path in Path(jasgd.__file__).parent.rglob("*.py")}
    formulas = [(path.name, formula) for path, text in sources.items() for formula in FORMULA.findall(text)]
    assert len(formulas) > 100
    assert not [each for each in formulas if LOST.search(each[1])]


def test_files_stay_small():
    """One concept per file: nothing in the package exceeds 400 lines."""
    package = Path(jasgd.__file__).parent
    long = {path.name: n for path in package.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert not long
