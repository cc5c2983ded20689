"""The ``jasgd`` command, tried as a user would."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray

pytestmark = pytest.mark.compiled_quickly
SMALL = ["--workers", "5", "--dim", "20", "--seconds", "50", "--no-progress"]


def jasgd_command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from jasgd.cli import main; main()", *arguments], cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race")
    return folder, jasgd_command("run", *SMALL, cwd=folder)


def test_run_prints_a_table_and_says_where_results_are(race):
    """Both methods, their step sizes and gaps; the paths of the result and the picture."""
    folder, done = race
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("asynchronous  ", "synchronous  "))] == [
        "asynchronous",
        "synchronous",
    ]
    assert "jasgd-results/run/race.nc" in done.stdout
    assert (folder / "jasgd-results/run/race.png").stat().st_size > 10_000


def test_run_stores_a_labelled_result(race):
    """Dimensions with names, units, and where it came from."""
    folder, _ = race
    with xarray.open_dataset(folder / "jasgd-results/run/race.nc") as dataset:
        assert dataset["algorithm"].values.tolist() == ["asynchronous", "synchronous"]
        assert dataset["time"].attrs["units"] == "s"
        assert float(dataset["time"].max()) == 50.0
        assert {"jax", "device", "git_revision", "config_workers", "config_seed"} <= set(dataset.attrs)
        gap = dataset["gap"].sel(algorithm="asynchronous").values
        assert gap[-1] < gap[0]
        assert np.isfinite(dataset["learning_rate"].values).all()


@pytest.fixture(scope="module")
def race_for_programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("json")
    return folder, jasgd_command("run", *SMALL[:-1], "--out", "here", "--json", cwd=folder)


def test_the_progress_bar_is_not_part_of_the_output(race_for_programs):
    """The table, or the document, goes to stdout, progress to stderr."""
    folder, done = race_for_programs
    assert "%|" in done.stderr
    assert "%|" not in done.stdout
    assert (folder / "here" / "race.nc").exists()


def test_run_prints_one_json_document(race_for_programs):
    """Both algorithms, and the paths of what was written."""
    folder, done = race_for_programs
    found = json.loads(done.stdout)
    assert set(found) == {"configuration", "algorithms", "caught_up_at", "seconds", "files"}
    assert found["configuration"]["workers"] == 5
    assert set(found["algorithms"]) == {"asynchronous", "synchronous"}
    assert found["algorithms"]["synchronous"]["gradients"] == 50
    assert set(found["files"]) == {"result", "picture"}
    assert all((folder / path).stat().st_size > 0 for path in found["files"].values())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "--seconds", "1", "--no-progress"], "must reach the slowest worker's 1000 s"),
        (["run", "--workers", "0", "--no-progress"], "`num_workers` must be a positive whole number"),
        (["run", "--out", "/dev/null/x", "--no-progress"], "/dev/null/x"),
    ],
)
def test_bad_input_ends_with_one_sentence(arguments, sentence, tmp_path):
    """No traceback, an exit code that is not zero."""
    done = jasgd_command(*arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_commands(tmp_path):
    """`jasgd --help` lists what there is."""
    done = jasgd_command("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "run" in done.stdout
    assert "bench" in done.stdout
