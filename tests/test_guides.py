"""Every guide runs from top to bottom and prints what it shows; its commands are those that there are."""

import contextlib
import re
import shlex
import socket
import subprocess
import sys
import types

import numpy as np
import pytest
import xarray
from pages import ROOT, blocks, command_lines, parse, run, save_files

pytestmark = pytest.mark.compiled_quickly
DOCS = ROOT / "docs"
GUIDES = sorted(DOCS.glob("*.md"))
OF_THEIR_OWN = ("many-hosts", "tracking")  # which need more than an empty folder
MARKDOWN = [ROOT / "README.md", *sorted((ROOT / "experiments").rglob("README.md")), *GUIDES]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", [page for page in GUIDES if page.stem not in OF_THEIR_OWN], ids=lambda page: page.stem)
def test_a_guide_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    """Its Python in one namespace, in an empty folder with the files that it shows; what it prints is what it says."""
    monkeypatch.chdir(tmp_path)
    run(page)


def test_the_guide_to_trackers_logs_every_run(tmp_path, monkeypatch):
    """Stand-ins for both trackers are told all numbers, at their versions, and that every run is over."""
    monkeypatch.chdir(tmp_path)
    tracked, written = [], []

    class Tracked:
        def __init__(self, **settings):
            self.settings, self.rows, self.ended = settings, {}, False
            tracked.append(self)

        def log(self, values, step):
            assert all(isinstance(value, float) for value in values.values())
            self.rows[step] = values

        def finish(self, exit_code=0):
            self.ended = exit_code == 0

    class SummaryWriter(contextlib.nullcontext):
        def add_scalar(self, tag, scalar_value, global_step, walltime):
            written.append((tag, global_step, walltime))

        def __enter__(self):
            return self

    for name in ("torch", "torch.utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Tracked))
    names = run(DOCS / "tracking.md")
    history, versions = names["run"].history, [0, 100, 200, 300, 400, 500]
    assert len(tracked) == 1 + 4
    assert all(one.ended and list(one.rows) == versions for one in tracked)
    assert tracked[0].rows[500]["loss"] == pytest.approx(history["loss"][-1])
    assert {(one.settings["config"]["learning_rate"], one.settings["config"]["seed"]) for one in tracked[1:]} == {
        (rate, seed) for rate in (0.03, 0.1) for seed in (0, 1)
    }
    assert written[-1] == ("grad_norm", 500, history["time"][-1])
    assert len(written) == 3 * len(versions)


@pytest.mark.slow
def test_the_guide_to_many_hosts_runs_with_two_processes(tmp_path, monkeypatch):
    """Its two commands, and its script, at a free port of this machine; then its Python."""
    monkeypatch.chdir(tmp_path)
    page = DOCS / "many-hosts.md"
    save_files(page)
    for command in ("jasgd sweep", "python train.py"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            here = f"127.0.0.1:{free.getsockname()[1]}"
        text = "\n".join(block.text for block in blocks(page) if block.language == "sh")
        lines = re.findall(f"{command}.*?(?=$|  #)", text.replace("node0:5000", here), re.MULTILINE)
        assert len(lines) == 2
        started = [subprocess.Popen(process_line(line)) for line in lines]
        assert [process.wait(timeout=200) for process in started] == [0, 0]
    run(page)
    with xarray.open_dataset("result.nc") as mine, xarray.open_datatree("jasgd-results/rates/results.nc") as theirs:
        np.testing.assert_allclose(mine["gap"], theirs["asynchronous"]["gap"], rtol=1e-3)


def process_line(line):
    """A command of a page with this Python."""
    program, *words = shlex.split(line)
    start = ["-c", "from jasgd.cli import main; main()"] if program == "jasgd" else []
    return [sys.executable, *start, *words]


def test_the_commands_of_the_guides_are_understood(monkeypatch):
    """By the parser of the command line itself."""
    lines = [words for page in GUIDES for words in command_lines(page)]
    assert len(lines) >= 4
    for words in lines:
        assert parse(words, monkeypatch) is not None


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: f"{page.parent.name}/{page.stem}")
def test_the_links_of_a_page_lead_somewhere(page):
    """Files in this checkout exist, and so do the headings within them."""
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if not link.startswith(("http:", "https:", "mailto:")):
            path, _, heading = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not heading or heading in anchors(target), f"{page.name} links to {link}"


def test_the_index_lists_every_guide():
    """Nothing is hidden."""
    index = (ROOT / "docs" / "README.md").read_text()
    assert [page.name for page in GUIDES if page.stem != "README" and f"({page.name})" not in index] == []


def test_scripts_for_the_shell_are_correct():
    """As far as bash can say without running them."""
    scripts = [block.text for page in GUIDES for block in blocks(page) if block.language == "bash"]
    assert scripts
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def anchors(page):
    """The names by which headings are linked."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
