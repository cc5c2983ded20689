"""The same thing has the same name everywhere, and what is public is said to be."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import jasgd
from jasgd import methods, protocols, rules

ROOT = Path(__file__).parent.parent
PROTOCOLS = sorted(set(protocols.__all__) - {"delays", "geometric_delays", "uniform_delays"})  # these need no fleet
METHODS = sorted(set(methods.__all__) - {"Method"})
MODULES = {
    "jasgd": jasgd,
    **{
        name: getattr(jasgd, name)
        for name in ("protocols", "rules", "methods", "problems", "oracles", "compressors", "tune")
    },
}
# What the documentation promises: these arguments stay, in this order.
PROMISED = {
    protocols.asynchronous: "fleet updates",
    protocols.ringmaster: "fleet updates threshold stop",
    protocols.rennala: "fleet updates batch interrupt",
    protocols.malenia: "fleet updates batch interrupt",
    protocols.m_synchronous: "fleet updates m interrupt",
    protocols.ringleader: "fleet updates",
    rules.ormo: "learning_rate momentum num_workers",
    rules.dude: "learning_rate num_workers",
    rules.rescaled_sgd: "learning_rate times",
    rules.delay_adaptive_sgd: "learning_rate concurrency",
    jasgd.fleet.fixed: "times",
    jasgd.fleet.equal: "num_workers time",
    jasgd.fleet.power_law: "num_workers exponent",
    jasgd.theory.optimal_time: "times noise_ratio",
    jasgd.theory.equilibrium_time: "omega noise_ratio compute upload",
    jasgd.simulate: "problem rule schedule",
}


def names(function):
    return list(inspect.signature(function).parameters)


def positional(function):
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_take_a_fleet_and_updates(name):
    """In this order; a seed, where there is one, comes last, by name, and is 0 unless it is given."""
    function = getattr(protocols, name)
    assert names(function)[:2] == ["fleet", "updates"]
    if "seed" in names(function):
        assert names(function)[-1] == "seed"
        assert "seed" not in positional(function)
        assert inspect.signature(function).parameters["seed"].default == 0


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_a_fleet_and_updates_and_the_rest_by_name(name):
    """The learning rate among them."""
    function = getattr(methods, name)
    assert positional(function) == ["fleet", "updates"]
    assert "learning_rate" in names(function)


@pytest.mark.parametrize("name", [name for name in rules.__all__ if inspect.isfunction(getattr(rules, name))])
def test_ready_rules_take_the_learning_rate_first(name):
    """As the optimizers of Optax do; a part of a rule, ``scale_by_...``, may take it by name."""
    taken = names(getattr(rules, name))
    assert "learning_rate" not in taken or taken[0] == "learning_rate" or name.startswith("scale_by_")


@pytest.mark.parametrize("function", PROMISED, ids=lambda function: function.__name__)
def test_promised_arguments_stay(function):
    """Their names, and their order before all others."""
    promised = PROMISED[function].split()
    assert names(function)[: len(promised)] == promised


@pytest.mark.parametrize("name", MODULES)
def test_every_name_that_is_imported_is_exported(name):
    """``__all__`` is sorted, names what exists, and leaves nothing out that its file imports."""
    module = MODULES[name]
    assert sorted(module.__all__) == module.__all__
    assert all(hasattr(module, exported) for exported in module.__all__)
    tree = ast.parse(Path(module.__file__).read_text())
    assert {a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names} == set(
        module.__all__
    )


def test_the_version_is_the_same_everywhere():
    """In the package, in its metadata, and where it says how to cite it; license and keywords, too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert project["version"] == jasgd.__version__
    assert re.search(r"^version: (.*)$", citation, re.M).group(1) == jasgd.__version__
    assert re.search(r"^license: (.*)$", citation, re.M).group(1) == project["license"]
    assert re.findall(r"^  - (?!name)(.*)$", citation, re.M) == project["keywords"]


def test_contributing_names_files_that_exist():
    """Whoever follows it finds what it speaks of."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    files = re.findall(r"`((?:jasgd|tests|experiments)/[\w/]+(?:\.py)?)`", text)
    named = [path for path in files if not re.search(r"NAME|PAPER", path)]
    assert len(named) >= 10
    assert not [path for path in named if not (ROOT / path).exists()]
