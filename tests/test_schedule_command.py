"""``jasgd schedule``, tried as a user would."""

import gzip
import json
import sys

import pytest

import jasgd
from jasgd.cli import main
from jasgd.schedule_command import Import, Make, ScheduleCommand, Show, Summary, Trace, schedule_command

FLEET, PROTOCOL = "power_law, num_workers=12, exponent=0.8", "ringmaster, updates=60, threshold=4, stop=true"


@pytest.fixture
def jasgd_command(monkeypatch, tmp_path, capsys):
    """The command as `jasgd ARGUMENTS` starts it, in an empty folder: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["jasgd", *arguments])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def run(job):
    schedule_command(ScheduleCommand(job))


@pytest.fixture
def stored(tmp_path):
    run(Make(fleet=FLEET, protocol=PROTOCOL, out=tmp_path / "ring.npz"))
    return tmp_path / "ring.npz"


def test_a_schedule_is_made_without_python(tmp_path, jasgd_command):
    """What the functions of these names compute; where it is and what it looks like is said."""
    code, told, _ = jasgd_command("schedule", "make", "--fleet", FLEET, "--protocol", PROTOCOL)
    assert code == 0
    assert "60 gradients in 60 updates by 3 of 12 workers, 34.4082 s" in told
    assert "jasgd schedule show jasgd-results/schedule/ringmaster.npz" in told
    made = jasgd.Schedule.load(tmp_path / "jasgd-results/schedule/ringmaster.npz")
    assert made == jasgd.protocols.ringmaster(jasgd.fleet.power_law(12, exponent=0.8), 60, threshold=4, stop=True)


def test_a_schedule_is_made_from_a_file(tmp_path, stored):
    """Tables as in a configuration of a sweep."""
    (tmp_path / "ring.toml").write_text(
        f"fleet = {{name = {FLEET.replace('power_law', chr(34) + 'power_law' + chr(34))}}}\n"
        '[protocol]\nname = "ringmaster"\nupdates = 60\nthreshold = 4\nstop = true\n'
    )
    run(Make(config=tmp_path / "ring.toml", out=tmp_path / "again.npz"))
    assert jasgd.Schedule.load(tmp_path / "again.npz") == jasgd.Schedule.load(stored)


def test_show_draws_everything_and_says_where(stored, tmp_path, capsys):
    """Three pictures and a page, the summary, and what the timeline shows."""
    run(Show(schedule=stored, window=(0.0, 12.0), out=tmp_path / "shown"))
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {
        "timeline.png",
        "delays.png",
        "utilisation.png",
        "timeline.html",
    }
    told = capsys.readouterr().out
    assert "60 gradients in 60 updates" in told
    count = int((jasgd.Schedule.load(stored).start < 12).sum())
    assert f"timeline.png shows ringmaster: all 12 workers, 0 to 12 of 34.4082 s, {count} of 60 deliveries" in told
    assert all(path.stat().st_size > 10_000 for path in (tmp_path / "shown").iterdir())


def test_summary_prints_the_summary(stored, capsys):
    """And nothing else."""
    capsys.readouterr()
    run(Summary(schedule=stored))
    assert capsys.readouterr().out == f"{jasgd.Schedule.load(stored).summary()}\n"


def test_trace_writes_a_trace(stored, tmp_path):
    """Compressed by its name."""
    run(Trace(schedule=stored, window=(0.0, 5.0), workers=3, out=tmp_path / "trace.json.gz"))
    content = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    assert content["otherData"]["schedule"].startswith("ringmaster: 3 of 12 workers, 0 to 5 of 34.4082 s")


@pytest.mark.parametrize("version", [True, False])
def test_a_log_is_imported(tmp_path, version):
    """What `Schedule.from_events` makes of its columns."""
    made = jasgd.protocols.asynchronous(jasgd.fleet.fixed([1.0, 1.7, 2.3]), 9)
    header = "worker, start, finish" + (", version" if version else "")
    rows = zip(made.worker, made.start, made.time, *([made.read] if version else []), strict=True)
    (tmp_path / "log.csv").write_text("\n".join([header, *(", ".join(map(str, row)) for row in rows)]) + "\n")
    run(Import(log=tmp_path / "log.csv", out=tmp_path / "log.npz"))
    assert jasgd.Schedule.load(tmp_path / "log.npz") == made


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Make(), "give a `--protocol`, and a `--fleet` if it takes one"),
        (Make(protocol="ringmaster, updates=5, threshold=2"), "the protocol 'ringmaster' needs a `fleet`"),
        (Make(fleet="equal, num_workers=2", protocol="delays, num_workers=2, updates=5, delays=1"), "takes no `fleet`"),
        (Make(fleet=FLEET, protocol="ringmaster, updates=5, treshold=2"), "did you mean 'threshold'"),
        (Make(fleet="equal, 3", protocol="asynchronous, updates=5"), "expected a name and arguments, .* got 'equal, 3'"),
        (Make(fleet="equal, num_workers=2", protocol="asynchronous"), "the protocol 'asynchronous' needs `updates`"),
    ],
)
def test_wrong_words_are_refused(job, message):
    """One sentence with what was expected."""
    with pytest.raises(ValueError, match=message):
        run(job)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("worker,begin,end\n0,1,2\n", "must have the columns worker, start and finish, got"),
        ("worker,start,finish\n0,1,2\n0,x,3\n", "line 3: expected one number for each of .*, got 0, x, 3"),
        ("worker,start,finish\n0,0,1,5\n", "line 2: expected one number for each of .*, got 0, 0, 1, 5"),
        ("worker,start,finish\n0,3,2\n", r"log.csv: event 0 must have 0 <= start <= finish, got 3.0 and 2.0"),
    ],
)
def test_a_wrong_log_is_refused_with_its_line(tmp_path, content, message):
    """Or with the event that cannot be."""
    (tmp_path / "log.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        run(Import(log=tmp_path / "log.csv"))


@pytest.mark.parametrize("name", ["make", "import", "summary", "show", "trace"])
def test_every_subcommand_has_an_example_in_its_help(name, jasgd_command):
    """A whole command line."""
    code, told, _ = jasgd_command("schedule", name, "--help")
    assert code == 0
    assert f"For example: jasgd schedule {name} " in " ".join(told.split())


def test_every_subcommand_prints_one_json_document_on_request(stored, tmp_path, jasgd_command):
    """With what the words say, and the files that were written."""
    (tmp_path / "log.csv").write_text("worker,start,finish\n0,0,1\n1,0,2\n")
    summary = jasgd.Schedule.load(stored).summary()
    for words, updates in (
        (["make", "--fleet", FLEET, "--protocol", PROTOCOL], 60),
        (["import", "log.csv"], 2),
        (["summary", "ring.npz"], 60),
        (["show", "ring.npz", "--window", "0", "5"], 60),
    ):
        code, told, _ = jasgd_command("schedule", *words, "--json")
        assert code == 0
        document = json.loads(told)
        assert document["summary"]["updates"] == updates
        assert all((tmp_path / path).exists() for path in document.get("files", {}).values())
    assert document["summary"]["cancelled_seconds"] == summary.cancelled_seconds
    code, told, _ = jasgd_command("schedule", "trace", "ring.npz", "--json")
    assert (code, json.loads(told)) == (0, {"files": {"trace": "jasgd-results/schedule/ring/trace.json.gz"}})


def test_a_window_on_the_command_line_is_two_numbers(stored, tmp_path, jasgd_command):
    """Begin and end, in seconds."""
    code, told, _ = jasgd_command("schedule", "trace", str(stored), "--window", "0", "5", "--out", "trace.json")
    assert code == 0
    assert "trace  trace.json\n" in told
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert max(event["ts"] for event in events if event.get("cat") == "used") == 4e6  # worker 0's job until second 5


def test_a_file_that_is_no_schedule_ends_with_one_sentence(tmp_path, jasgd_command):
    """Nothing is written, and the command fails."""
    (tmp_path / "log.csv").write_text("worker,start,finish\n")
    code, told, complaint = jasgd_command("schedule", "summary", "log.csv")
    assert code != 0
    assert not told
    sentence = "jasgd: log.csv cannot be read as a schedule: it is damaged or another kind of file."
    assert sentence in f"{code}{complaint}"  # Python prints an exit code that is a sentence
