"""Hierarchical spaces and their embedding."""

import json
import subprocess
import sys

import numpy as np
import pytest
from ConfigSpace import ConfigurationSpace
from ConfigSpace.util import generate_grid
from tune_problems import distance, network, network_space, perceptron_space, toy_space

import jasgd
from jasgd.tune.smt import decree, from_smt

DEEP = {
    "step": [1, 2],
    "oracle": {
        "gradient": {},
        "estimate": {"width": {"low": 0.1, "high": 1.0}, "draw": {"coordinates": {"block": [1, 2, 4]}, "sphere": {}}},
    },
}


@pytest.mark.parametrize("kind", ["alg", "arc"])
def test_distance_of_the_embedding_is_the_formula(kind):
    """Chords of the circle are the Alg and Arc distances, on all pairs of 60 samples and every decreed number."""
    space = toy_space()
    configurations = space.sample_configuration(60)
    scaled = np.array([one.get_array() for one in configurations])
    embedded = jasgd.tune.embed(space, configurations, distance=kind)
    squares = np.zeros((60, 60))
    method, step = (scaled[:, space.index_of[name]] for name in ("method", "log_step"))
    squares += (method[:, None] != method) + (step[:, None] - step) ** 2
    for name in space.conditional_hyperparameters:
        u = scaled[:, space.index_of[name]]
        squares += np.array([[distance(a, b, kind) ** 2 for b in u] for a in u])
    found = np.sum((embedded[:, None] - embedded) ** 2, axis=2)
    np.testing.assert_allclose(found, squares, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["alg", "arc"])
def test_distance_of_the_embedding_is_that_of_smt(kind):
    """The same numbers as from the function of the paper's software."""
    kriging = pytest.importorskip("smt.utils.kriging")
    space = toy_space()
    configurations = space.sample_configuration(30)
    names = list(space.conditional_hyperparameters)
    scaled = np.array([one.get_array() for one in configurations])[:, [space.index_of[name] for name in names]]
    active = ~np.isnan(scaled)
    kernel = kriging.MixHrcKernelType.ALG_KERNEL if kind == "alg" else kriging.MixHrcKernelType.ARC_KERNEL
    theirs, pairs = kriging.compute_D_num(
        np.nan_to_num(scaled), np.nan_to_num(scaled), active, active, np.ones(len(names), bool), None, kernel
    )
    ours = jasgd.tune.embed(space, configurations, distance=kind)[:, 5:]  # after the step and four methods
    assert ours.shape[1] == 2 * len(names)
    difference = ours[pairs[:, 0]] - ours[pairs[:, 1]]
    chords = np.sqrt(np.sum(difference.reshape(len(pairs), len(names), 2) ** 2, axis=2))
    np.testing.assert_allclose(chords, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_kernels_of_the_embedding_are_positive_semidefinite(power):
    """The exponentials of the distance and of its square, also where most values are inactive."""
    space = perceptron_space()
    embedded = jasgd.tune.embed(space, space.sample_configuration(80))
    distances = np.sqrt(np.sum((embedded[:, None] - embedded) ** 2, axis=2))
    eigenvalues = np.linalg.eigvalsh(np.exp(-(distances**power)))
    assert eigenvalues[0] > -80 * np.finfo(float).eps * eigenvalues[-1]


def test_decreed_words_have_one_word_more():
    """Different words, and a word and its absence, have distance 1; two absences have none."""
    space = jasgd.tune.space({"method": {"a": {"kind": ["x", "y"]}, "b": {}, "c": {}}})
    grid = generate_grid(space)
    assert len(grid) == 4
    words = jasgd.tune.embed(space, grid)[:, 3:]
    assert words.shape == (4, 3)
    kinds = [one.get("kind") for one in grid]
    for i, row in enumerate(words):
        for j, other in enumerate(words):
            assert np.sum((row - other) ** 2) == pytest.approx(float(kinds[i] != kinds[j]), abs=1e-12)


def test_perceptron_space_has_207_combinations():
    """3 (3 + 9 + 27) + 3 (5 + 25) valid ones of words and lists, with one value for every range."""
    space = perceptron_space()
    ranges = [name for name, knob in space.items() if hasattr(knob, "log")]
    assert len(generate_grid(space, dict.fromkeys(ranges, 1))) == 207


@pytest.mark.parametrize(
    "make",
    [toy_space, network_space, perceptron_space, lambda: jasgd.tune.jasgd_space(jasgd.fleet.power_law(8, exponent=1.0))],
)
def test_every_sample_is_valid_and_without_inactive_values(make):
    """What is sampled obeys all conditions, and its plain values are its active ones, numbers and words of Python."""
    space = make()
    for configuration in space.sample_configuration(100):
        configuration.check_valid_configuration()
        active = {name for name in space if not np.isnan(configuration.get_array()[space.index_of[name]])}
        values = jasgd.tune.plain(configuration)
        assert values.keys() == active
        assert all(type(value) in (int, float, str, bool) for value in values.values())
        assert json.loads(json.dumps(values)) == values


def test_methods_two_levels_deep():
    """A knob of a knob of a choice is there only if both values above it are chosen."""
    space = jasgd.tune.space(DEEP)
    found = {tuple(sorted(one)) for one in map(dict, space.sample_configuration(200))}
    assert found == {
        ("oracle", "step"),
        ("draw", "oracle", "step", "width"),
        ("block", "draw", "oracle", "step", "width"),
    }
    for one in space.sample_configuration(200):
        assert ("block" in one) == (one["oracle"] == "estimate" and one["draw"] == "coordinates")


def test_a_space_survives_json(tmp_path):
    """Written and read back it is the same space with the same samples, fractions included."""
    space = jasgd.tune.space({**DEEP, "concurrency": {"low": 1, "high": 9}, "buffer": {"fraction_of": "concurrency"}})
    space.to_json(tmp_path / "space.json")
    again = ConfigurationSpace.from_json(tmp_path / "space.json")
    assert again == space
    for each in (space, again):
        each.seed(3)
    ours, theirs = ([jasgd.tune.plain(one) for one in each.sample_configuration(20)] for each in (space, again))
    assert ours == theirs
    assert {one["buffer"] <= one["concurrency"] for one in ours} == {True}


def test_fractions_reach_both_ends_of_their_bound():
    """A buffer out of at most three gets 1, 2 and 3, each for a third of the fractions."""
    space = jasgd.tune.space({"concurrency": [3], "buffer": {"fraction_of": "concurrency"}})
    buffers = [jasgd.tune.plain(one)["buffer"] for one in space.sample_configuration(900)]
    values, counts = np.unique(buffers, return_counts=True)
    assert values.tolist() == [1, 2, 3]
    assert np.abs(counts - 300).max() < 5 * np.sqrt(900 * 2 / 9)


def test_smallest_value_of_the_network_function():
    """All ends of ranges, values of x7 and lists enumerated: -155.5 with three layers, -143 with fewer."""
    space = network_space()
    ranges = {"x1": 2, "x2": 2, "x5": 2, "x6": 2, "x7": 6}
    points = [jasgd.tune.plain(one) for one in generate_grid(space, ranges)]
    best = {layers: min(network(p) for p in points if p["x0"] == layers) for layers in (1, 2, 3)}
    assert best == {1: -143.0, 2: -143.0, 3: -155.5}


def test_smt_finds_the_sixteen_forms():
    """24 points of a product with a number that one of three words decrees have 16 corrected forms; inactive is 0.55."""
    pytest.importorskip("smt")
    number = {"low": 0.1, "high": 1.0}
    space = jasgd.tune.space({"a": {"A": {"x": number}, "B": {}, "C": {}}, "b": ["E", "F"], "c": [0, 1]})
    design = jasgd.tune.to_smt(space)
    rows = [
        [{"a": a, "b": b, "c": c, "x": x}[name] for name in space]
        for a in range(3)
        for b in range(2)
        for c in range(2)
        for x in (0.25, 0.75)
    ]
    corrected, active = design.correct_get_acting(np.array(rows, float))
    column = space.index_of["x"]
    assert len(rows) == 24
    assert len(np.unique(corrected, axis=0)) == 16
    np.testing.assert_allclose(corrected[~active[:, column], column], 0.55)
    assert active[:, column].sum() == 8


def test_smt_agrees_on_what_is_active():
    """200 samples of SMT's own: its mask is that of the configurations they become."""
    pytest.importorskip("smt")
    for space in (toy_space(), network_space()):
        design = jasgd.tune.to_smt(space, seed=0)
        x, _ = design.sample_valid_x(200)
        corrected, active = design.correct_get_acting(x)
        found = np.array([~np.isnan(from_smt(space, *row).get_array()) for row in zip(corrected, active, strict=True)])
        np.testing.assert_array_equal(found, active)
        assert not active.all()


def test_bare_words_are_refused():
    """A word where a list belongs is an error, in a space and for SMT, which would take it for its letters."""
    with pytest.raises(ValueError, match="list of values"):
        jasgd.tune.space({"activation": "relu"})
    with pytest.raises(ValueError, match="letters"):
        decree(None, 1, 0, "ringmaster")


def test_smt_refuses_what_its_core_cannot():
    """Two levels, and forbidden combinations, each in one sentence."""
    pytest.importorskip("smt")
    with pytest.raises(ValueError, match="one level of decreed variables"):
        jasgd.tune.to_smt(jasgd.tune.space(DEEP))
    with pytest.raises(ValueError, match="forbidden combinations"):
        jasgd.tune.to_smt(perceptron_space())


@pytest.mark.parametrize(
    ("knobs", "sentence"),
    [
        ({"x": {"low": 1.0}}, "needs the numbers"),
        ({"x": {"low": 2, "high": 1}}, "must increase"),
        ({"x": {"low": 0.0, "high": 1.0, "log": True}}, "positive"),
        ({"x": {"low": 0.0, "high": 1.0, "step": 2}}, "has no 'step'"),
        ({"x": []}, "list of values"),
        ({"x": [1, "a"]}, "of one kind"),
        ({"x": [1, 1]}, "twice"),
        ({"value": [1, 2]}, "cannot be called"),
        ({"x": {"fraction_of": "y"}}, "a whole number"),
        ({"m": {"a": {"x": [1, 2]}, "b": {"x": [1, 3]}}}, "declared twice"),
        ({"x": [1, 2], "m": {"a": {"x": [1, 2]}}}, "declared twice"),
        ({"m": {"a": {"y": [1, 2]}, "b": {"x": {"fraction_of": "y"}}}}, "a whole number"),
    ],
)
def test_wrong_spaces_are_refused(knobs, sentence):
    """One sentence that says what is wrong."""
    with pytest.raises(ValueError, match=sentence):
        jasgd.tune.space(knobs)


def test_importing_jasgd_imports_no_search_library():
    """ConfigSpace and scikit-learn are loaded where they are used, and a missing one is named with its extra."""
    program = (
        "import sys, jasgd; assert not {'ConfigSpace', 'sklearn', 'smt', 'optuna'} & set(sys.modules)\n"
        "sys.modules['ConfigSpace'] = None\n"
        "try: jasgd.tune.space({'x': [1, 2]})\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert 'pip install "jasgd[tune]"' in said
