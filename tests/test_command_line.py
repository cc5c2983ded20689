"""The command line as a whole: help, examples, exit codes, JSON, completion."""

import importlib.util
import inspect
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jasgd
from jasgd import cli
from jasgd.checkout import checkout

pytestmark = pytest.mark.compiled_quickly
ROOT = Path(jasgd.__file__).parent.parent
COMMAND = [sys.executable, "-c", "from jasgd.cli import main; main()"]

STUDY = """
seeds = 2
key = 3
every = 50
problem = {name = "quadratic", dim = 6, noise = 0.1}
fleet = {name = "power_law", num_workers = 4, exponent = 1.0}
[[sweep]]
label = "plain"
protocol = {name = "asynchronous", updates = 100}
rule = {name = "sgd"}
grid = {learning_rate = [0.05, 1e30]}
[[sweep]]
label = "too large"
protocol = {name = "asynchronous", updates = 100}
rule = {name = "sgd"}
grid = {learning_rate = [1e30]}
"""

SEARCH = """
key = 0
budget = 4
backend = "random"
seconds = 30.0
metric = "gap"
problem = {name = "quadratic", dim = 10}
fleet = {name = "equal", num_workers = 4}
[space]
learning_rate = {low = 1e-3, high = 1.0, log = true}
[space.method.asynchronous_sgd]
"""


@pytest.fixture
def jasgd_command(monkeypatch, capsys, tmp_path):
    """The command in this process, in an empty folder: its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["jasgd", *arguments])
        monkeypatch.setattr(os, "_exit", sys.exit)
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        return (0 if code is None else code), *capsys.readouterr()

    return run


def outside(folder, *arguments):
    """The command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run([*COMMAND, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


def examples(name):
    """The example command lines of a command's help, as lists of words, without what the shell does with the output."""
    lines = re.findall(r"^ *(jasgd .*)$", inspect.getdoc(cli.load(name)[0]), re.MULTILINE)
    return [shlex.split(re.split(" [>|]", line)[0])[1:] for line in lines]


# Help.


def test_help_names_every_command_with_a_line_and_says_where_to_start(jasgd_command):
    """Within 80 columns; exit codes and tab completion are there, too."""
    code, out, err = jasgd_command("--help")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Exact simulation of asynchronous SGD with many virtual workers."
    where = [next(i for i, line in enumerate(lines) if line.startswith(f"  {name} ")) for name in cli.COMMANDS]
    assert where == sorted(where), "the order of a user's work"
    assert max(map(len, lines)) <= 95
    for words in ("Start with `jasgd doctor`", "exit codes:", "  130  ", "jasgd completion bash"):
        assert words in out


def test_the_command_alone_shows_the_help_and_is_no_success(jasgd_command):
    """A script that forgets the command should notice."""
    _, helped, _ = jasgd_command("--help")
    assert jasgd_command() == (2, "", helped)


def test_version(jasgd_command):
    """One line."""
    assert jasgd_command("--version") == (0, f"jasgd {jasgd.__version__}\n", "")


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_says_what_it_does_and_how(name, jasgd_command):
    """The first words after the usage are those of its docstring; there is an example."""
    code, out, _ = jasgd_command(name, "--help")
    assert code == 0
    assert out.startswith(f"usage: jasgd {name} ")
    assert inspect.getdoc(cli.load(name)[0]).splitlines()[0] in out
    assert f"  jasgd {name}" in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_examples_in_the_help_are_command_lines_that_are_understood(name):
    """And the files that they name are there, unless they are a user's own."""
    found = examples(name)
    assert found
    for command, *words in found:
        options = cli.parsed(command, cli.load(command)[0], words)
        assert type(options) is cli.load(command)[0]
        for word in words:
            assert not word.startswith("experiments/") or (checkout() / word).exists()


def test_an_option_that_no_command_has_is_refused_in_examples():
    """The test above can fail."""
    with pytest.raises(SystemExit):
        cli.parsed("run", cli.load("run")[0], ["--no-such-option"])


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["reprodice"], 2, "there is no command 'reprodice'; did you mean `jasgd reproduce`?"),
        (["xyz"], 2, "there is no command 'xyz'; there are doctor, run, "),
        (["run", "--worker", "3"], 2, "--workers INT"),
        (["reproduce", "--figur", "2"], 2, "--figure"),
        (["run", "--workers", "many"], 2, "Error parsing --workers"),
        (["sweep"], 2, "jasgd sweep --help"),
        (["completion", "tcsh"], 2, "('bash', 'zsh', 'fish')"),
        (["reproduce", "mishchenko2022", "--data", "mnits"], 2, "invalid choice 'mnits' for argument '--data'"),
        (["bench", "--device", "abacus"], 2, "invalid choice 'abacus' for argument '--device'"),
        (["reproduce", "mishchenko2021"], 1, "no experiment 'mishchenko2021'; did you mean 'mishchenko2022'?"),
        (["reproduce", "mishchenko2022", "--figure", "9"], 1, "has the figures 1, 2, 3, got 9"),
        (["bench", "--only", "resnet2"], 1, "jasgd: there is no case 'resnet2'; did you mean 'resnet20'?"),
        (["bench", "--repeats", "0"], 1, "jasgd: `repeats` must be at least 1, got 0."),
        (["bench", "--device", "tpu"], 1, "jasgd: there is no tpu here, JAX computes on the cpu: "),
        (["sweep", "missing.toml"], 1, "jasgd: there is no configuration missing.toml."),
        (["tune", "missing.toml"], 1, "jasgd: there is no configuration missing.toml; it must be a .toml file."),
        (["run", "--seconds", "1"], 1, "must reach the slowest worker's 1000 s"),
        (["run", "--asynchronous-steps"], 1, "need at least one step size each"),
        (["run", "--out", "/dev/null/x"], 1, "/dev/null/x"),
    ],
)
def test_mistakes_get_a_sentence_and_the_exit_code_of_the_help(arguments, code, sentence, jasgd_command):
    """2 for the command line, 1 for what it asks for; nothing on stdout, no traceback."""
    found, out, err = jasgd_command(*arguments)
    assert found == code
    assert out == ""
    assert sentence in re.sub(r"[\s│]+", " ", err)


def test_a_bug_keeps_its_traceback(jasgd_command, monkeypatch):
    """Errors that nobody has written for users: of a wrong type, or raised below this project."""

    def broken(what):
        monkeypatch.setattr("jasgd.race.race", what)
        jasgd_command("run")

    with pytest.raises(ZeroDivisionError):
        broken(lambda _: 1 / 0)
    with pytest.raises(ValueError, match="reshape"):
        broken(lambda _: np.zeros(3).reshape(2))
    with pytest.raises(ValueError, match="invalid literal"):
        broken(lambda _: int("x"))


def test_a_missing_package_is_named(jasgd_command, monkeypatch):
    """And who says what to install."""

    def lacking(_):
        import no_such_package  # noqa: F401

    monkeypatch.setattr("jasgd.race.race", lacking)
    said = "jasgd: No module named 'no_such_package'; `jasgd doctor` says what to install\n"
    assert jasgd_command("run") == (1, "", said)


def test_without_tyro_only_the_doctor_works(jasgd_command, monkeypatch):
    """And all other commands say what to install."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tyro" else find(name))
    code, out, err = jasgd_command("run")
    assert (code, out) == (1, "")
    assert 'pip install "jasgd[experiments]"' in err
    monkeypatch.setattr("jasgd.doctor.doctor", lambda command: print(command.json))
    assert jasgd_command("doctor", "--json") == (0, "True\n", "")


@pytest.mark.parametrize(("kind", "code"), [(KeyboardInterrupt, 130), (cli.Terminated, 143)])
def test_a_stop_says_what_is_kept(kind, code, jasgd_command, monkeypatch):
    """The exit code of shells: 128 and the number of the signal."""

    def stopped(*_):
        raise kind

    monkeypatch.setattr("jasgd.race._race", stopped)
    assert jasgd_command("run") == (code, "", "\njasgd: interrupted; a race is too short to be kept half way, so the same "
                                    "command begins anew\n")  # fmt: skip
    monkeypatch.setattr("jasgd.reproduce.reproduce", stopped)
    _, _, err = jasgd_command("reproduce", "mishchenko2022", "--out", "my results")
    assert "kept in my results. To go on: jasgd reproduce mishchenko2022 --out 'my results'" in err


# JSON.


def the_document(done):
    """The one JSON document on stdout; no NaN in it."""
    assert done.returncode == 0, done.stderr

    def forbidden(word):
        raise AssertionError(word)

    return json.loads(done.stdout, parse_constant=forbidden)


def are_there(folder, files):
    return all((folder / path).stat().st_size > 0 for path in files.values())


def test_json_of_sweep(tmp_path):
    """What most runs diverge from has no best point, and null for a loss."""
    (tmp_path / "study.toml").write_text(STUDY)
    found = the_document(outside(tmp_path, "sweep", "study.toml", "--devices", "1", "--json"))
    assert set(found) == {"sweeps", "files"}
    plain, large = found["sweeps"]["plain"], found["sweeps"]["too large"]
    assert (plain["runs"], plain["diverged"], plain["best"]) == (4, 2, {"learning_rate": 0.05})
    assert plain["final_loss"]["low"] <= plain["final_loss"]["median"] <= plain["final_loss"]["high"]
    assert (large["best"], large["final_loss"]["median"]) == (None, None)
    assert are_there(tmp_path, found["files"])


def test_json_of_tune(tmp_path):
    """Every evaluation and the best of them."""
    (tmp_path / "search.toml").write_text(SEARCH)
    found = the_document(outside(tmp_path, "tune", "search.toml", "--json"))
    assert set(found) == {"best", "evaluations", "backend", "seed", "files"}
    assert found["best"] == min(found["evaluations"], key=lambda one: one["value"])
    assert are_there(tmp_path, found["files"])


def test_json_of_reproduce(tmp_path, jasgd_command):
    """The list, and that nothing has been computed; `test_reproduce.py` computes."""
    papers = the_document(outside(tmp_path, "reproduce", "--list", "--json"))["papers"]
    assert set(papers["mishchenko2022"]) == {"title", "figures"}
    assert set(papers["mishchenko2022"]["figures"]["1"]) == {"shows", "takes", "faithful"}
    code, out, _ = jasgd_command("reproduce", "--claims", "--json", "--out", str(tmp_path))
    assert (code, json.loads(out)) == (0, {"figures": []})


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_completion_know_commands_and_options(shell, jasgd_command):
    """Nothing else is printed."""
    code, out, err = jasgd_command("completion", shell)
    assert (code, err) == (0, "")
    assert set(cli.COMMANDS) <= set(re.findall(r"\w+", out))
    assert "save-every" in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [("re", ["reproduce"]), ("sweep --sa", ["--save-every"]), ("reproduce --data m", ["mnist"]), ("sweep sw", [])],
)
def test_bash_completes(words, completed, tmp_path, jasgd_command):
    """As if TAB had been pressed behind the words."""
    (tmp_path / "script").write_text(jasgd_command("completion", "bash")[1])
    typed = ["jasgd", *words.split()]
    press = (
        f"source ./script; COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; "
        "$(complete -p jasgd | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", press], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line in completed] == completed
    assert all(done.stdout.splitlines()) or not completed
    assert all(line.startswith(typed[-1]) for line in done.stdout.splitlines() if line)
    listed = subprocess.run(
        ["bash", "--norc", "-c", "source ./script; complete -p jasgd"], cwd=tmp_path, capture_output=True
    )
    assert b"-o default" in listed.stdout, "where there is nothing to say, files are completed"
