"""``jasgd doctor``: what it says is wrong, and that its self-test can fail."""

import dataclasses
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest

import jasgd
from jasgd import doctor, engine, protocols, selftest

ROOT = Path(jasgd.__file__).parent.parent
GOOD = {"jax": "0.10.1", "jaxlib": "0.10.1", "numpy": "2.1", "optax": "0.2.8", "chex": "0.1.92", "flax": "0.12.8"}


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", "from jasgd.cli import main; main()", "doctor", "--json"]
    folder = tmp_path_factory.mktemp("doctor")
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def test_here_all_is_well(examined):
    """One JSON document; the engine agrees with the slow event loop, exactly where numbers are whole."""
    assert (examined.returncode, examined.stderr) == (0, "")
    found = json.loads(examined.stdout)
    assert found["ok"] is True
    assert found["versions"]["jax"] == jax.__version__
    assert found["devices"][0]["snapshots"]["1000000"] > 0
    assert found["engine"]["agrees"] is True
    assert found["engine"]["difference"] < 1e-5
    assert (found["engine"]["simulations"], found["engine"]["problems"]) == (6, [])
    assert {check["section"] for check in found["checks"]} == {"packages", "folders", "devices", "memory", "engine"}


def test_the_list_for_people_is_plain_where_there_is_no_terminal(capsys):
    """Marks are words, in ASCII, without colours."""
    checks = [doctor.Check(section="engine", name="agreement", status="wrong", text="no")]
    assert doctor._listed(checks) == "engine\n  WRONG no"


def test_extras_are_those_of_the_project():
    """What the doctor looks for is what the extras install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        extra: [word.split(">=")[0] for word in words if not word.startswith("jasgd")]
        for extra, words in project["optional-dependencies"].items()
    }
    assert set(doctor.CORE) == {word.split(">=")[0] for word in project["dependencies"]}
    assert {extra: list(doctor.EXTRAS[extra]) for extra in doctor.EXTRAS} == {extra: names[extra] for extra in doctor.EXTRAS}
    assert set(names["tune"]) <= set(doctor.EXTRAS["experiments"])
    excluded = {word[2:] for word in project["dependencies"][0].split(",") if word.startswith("!=")}
    assert set(doctor.BAD_RELEASES) == excluded


@pytest.mark.parametrize(
    ("versions", "sentences"),
    [
        ({}, []),
        ({"jax": "0.10.2", "jaxlib": "0.10.2"}, ["jax 0.10.2 computes wrong", "jaxlib 0.10.2 computes wrong"]),
        ({"jax": "0.11.1", "jaxlib": "0.11.1"}, ["jax 0.11.1 was withdrawn", "jaxlib 0.11.1 was withdrawn"]),
        ({"jax": "0.10.3"}, ["jax 0.10.3 and jaxlib 0.10.1 are of different releases"]),
        ({"jax": "0.9.9", "jaxlib": "0.9.9"}, ["jax 0.9.9 is older than 0.10.0", "jaxlib 0.9.9 is older"]),
        ({"jax": "0.10.1.dev3"}, []),
        ({"optax": None}, ["optax is missing; pip install optax"]),
        ({"xarray": None}, []),
    ],
)
def test_versions_that_are_wrong(versions, sentences):
    """Bad releases, two that do not belong together, something missing; a missing extra is no mistake."""
    wrong = [check.text for check in doctor.package_checks({**GOOD, **versions}) if check.status == "wrong"]
    assert len(wrong) == len(sentences)
    assert all(text.startswith(sentence) for text, sentence in zip(wrong, sentences, strict=True))


def test_a_missing_extra_says_how_to_install_it():
    """In the words of pip."""
    notes = {check.name: check.text for check in doctor.package_checks(GOOD) if check.status == "note"}
    assert notes["xarray"] == 'xarray is missing; pip install "jasgd[experiments]" if you need it'


def test_a_folder_that_cannot_be_written_is_wrong(tmp_path, monkeypatch):
    """Results would be lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jasgd-results").mkdir()

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", full)
    *_, check = doctor.folder_checks()
    assert check.status == "wrong"
    assert "cannot be written (No space left on device); choose another folder with --out" in check.text


# The self-test can fail. One case is enough for that.


@pytest.fixture
def one_case(monkeypatch):
    cases = selftest._cases()
    monkeypatch.setattr(selftest, "_cases", lambda: cases[1:2])
    return cases[1]


def test_the_self_test_notices_an_engine_that_computes_something_else(one_case, monkeypatch, capsys):
    """By a hundredth of a per cent after every chunk; then the doctor ends with exit code 1."""
    step = engine.step

    def broken(*args):
        state = step(*args)
        return dataclasses.replace(state, params=jax.tree.map(lambda x: 1.0001 * x, state.params))

    monkeypatch.setattr(engine, "step", broken)
    found = selftest.selftest()
    assert not found.agrees
    assert 5e-5 < found.difference < 5e-4
    assert found.problems[0].startswith("quadratic with momentum, late gradients dropped, lanes=1: parameters differ by ")
    monkeypatch.setattr(doctor, "selftest", lambda: found)
    assert doctor.doctor(doctor.DoctorCommand()) == 1
    out = capsys.readouterr().out
    assert "WRONG engine agrees with the slow event loop: no" in out
    assert out.endswith("1 wrong, see above.\n")


def test_the_self_test_notices_a_wrong_schedule(one_case, monkeypatch):
    """One that drops late gradients an update later."""
    name, problem, rule, _, slow = one_case
    schedule = protocols.asynchronous(jasgd.fleet.exponential([1.0, 1.5, 2.0, 6.0]), 60, max_delay=4, seed=1)
    monkeypatch.setattr(selftest, "_cases", lambda: [(name, problem, rule, schedule, slow)])
    found = selftest.selftest()
    assert "quadratic with momentum, late gradients dropped: the schedule differs." in found.problems


def test_an_engine_that_does_not_run_is_wrong(monkeypatch, capsys):
    """Its traceback is for us."""

    def crash():
        raise RuntimeError("miscompiled")

    monkeypatch.setattr(doctor, "selftest", crash)
    check, details = doctor.engine_check()
    assert (check.status, details["agrees"]) == ("wrong", False)
    assert "engine does not run: RuntimeError, see above" in check.text
    assert "miscompiled" in capsys.readouterr().err
