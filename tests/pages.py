"""Pages of Markdown that tests run: their Python, what it prints, their files and their command lines."""

import contextlib
import doctest
import io
import re
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import tyro

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CLOSE_ENOUGH = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block: its language, the name of the file that it is, and where it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks(page):
    """All fenced blocks of a page."""
    text = page.read_text()
    return [Block(m[1], m[2] or "", m[3], text[: m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


def save_files(page):
    """Write the blocks that have a title to the current folder, as files of that name."""
    for block in blocks(page):
        if block.title:
            Path(block.title).write_text(block.text)


def run(page):
    """Run a page from top to bottom in the current folder, where its files are; returns its names.

    Python blocks share one namespace; a ``text`` block right behind one is what it prints, ``...`` stands for anything.
    """
    save_files(page)
    names = {"__name__": page.stem}
    printed = None
    for block in blocks(page):
        if block.language == "python" and not block.title:
            output = io.StringIO()
            # Padded, so that a traceback names the page and its line.
            code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
            with contextlib.redirect_stdout(output):
                exec(code, names)
            printed = output.getvalue()
        elif block.language == "text" and printed is not None:
            matches = doctest.OutputChecker().check_output(block.text, printed, CLOSE_ENOUGH)
            assert matches, f"{page.name}, line {block.line}: the page shows\n{block.text}but this was printed\n{printed}"
            printed = None
    return names


def command_lines(page):
    """What follows ``jasgd`` in every command of a page's shell blocks and scripts, as lists of words."""
    found = []
    for block in blocks(page):
        if block.language in ("sh", "bash"):
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in ("jasgd", "srun"):
                    found.append(words[words.index("jasgd") + 1 :])
    return found


class Parsed(BaseException):
    """Carries what the command line's parser has made out of the words."""


def parse(words, monkeypatch):
    """What the real command makes of its words, before it does anything."""

    def only(parser):
        def parse(*args, **options):
            raise Parsed(parser(*args, **options))

        return parse

    from jasgd.cli import main

    with monkeypatch.context() as patch:
        for module, name in ((tyro, "cli"), (tyro.extras, "subcommand_cli_from_dict")):
            patch.setattr(module, name, only(getattr(module, name)))
        patch.setattr(sys, "argv", ["jasgd", *words])
        try:
            main()
        except Parsed as parsed:
            return parsed.args[0]
    raise AssertionError("the command has not used its parser.")
