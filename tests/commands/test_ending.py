"""How the ``vimnp`` command ends: signals that come while it works, and streams that are closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.commands import Command, Run
from tests.support.digits import SCANS
from tests.support.processes import is_ours
from vimnp import cli
from vimnp.commands import info

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
    pytest.mark.usefixtures("signals_as_usual"),
]


# Stops in the middle of the work, and says so on stdout.
STOPPING = """
import sys, time
import vimnp.weights.writing
from vimnp import cli
from vimnp.models.vim.model import VisionMamba

def stop(*_, **__):
    print("here", flush=True)
    time.sleep(100)

{name} = stop
sys.exit(cli.main())
"""
LOADING, WRITING = "VisionMamba.from_npz", "vimnp.weights.writing._to_stored"


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not is_ours(name)}


def interrupted(number: signal.Signals, code: str, *arguments: object) -> Run:
    """What a command leaves that gets a signal where it says that it stops."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "here\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return Run(process.returncode, out, err)


COMMANDS = [
    ("predict", ["predict", "{png}", "--weights", "{npz}"], LOADING),
    ("eval", ["eval", "{dir}", "--weights", "{npz}"], LOADING),
    ("bench", ["bench", "--weights", "{npz}", "--json", "{new}"], LOADING),
    ("profile", ["profile", "--weights", "{npz}", "--trace", "{new}"], LOADING),
    ("info", ["info", "{npz}"], "vimnp.weights.WeightsFile.__enter__"),
    ("convert", ["convert", "{pth}", "{new}"], WRITING),
]
ENDINGS = {
    "interrupted": (signal.SIGINT, 130),
    "SIGTERM": (signal.SIGTERM, 143),
    "SIGHUP": (signal.SIGHUP, 129),
}


@pytest.mark.parametrize(
    ("arguments", "name", "word"),
    [
        pytest.param(arguments, name, word, id=f"{command}-{word}")
        for command, arguments, name in COMMANDS
        for word in ENDINGS
        if word == "interrupted" or command == "convert"  # the others end in one place
    ],
)
def test_a_signal_ends_a_command_in_one_line_and_leaves_nothing_behind(
    arguments: list[str],
    name: str,
    word: str,
    micro_npz: Path,
    micro_pth: Path,
    tmp_path: Path,
) -> None:
    number, code = ENDINGS[word]
    names = {"npz": micro_npz, "pth": micro_pth, "png": SCANS[3], "new": tmp_path / "new"}
    before = sorted(tmp_path.iterdir())
    given = [text.format(dir=tmp_path, **names) for text in arguments]
    run = interrupted(number, STOPPING.format(name=name), *given)
    assert (run.code, run.out) == (code, "")
    (line,) = run.err.splitlines()
    assert line.startswith("vimnp: ")
    assert word in line
    assert sorted(tmp_path.iterdir()) == before


def test_a_signal_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    """As under ``nohup``: the command goes on to its end."""
    code = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from vimnp import cli
from vimnp.commands import info
def run(options):
    signal.raise_signal(signal.SIGHUP)
    print("went on")
    return 0
info.run = run
sys.exit(cli.main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "info"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What is done about SIGTERM while ``vimnp info`` runs; and nothing is changed afterwards."""
    seen: dict[str, object] = {}

    def run(options: object) -> int:
        seen["during"] = signal.getsignal(signal.SIGTERM)
        return 0

    monkeypatch.setattr(info, "run", run)
    before = signal.getsignal(signal.SIGTERM)
    yield seen
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_process_s_command_takes_signals_for_its_time_only(
    handlers: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vimnp", "info"])
    monkeypatch.setattr(cli, "occupy_closed_streams", lambda: None)
    assert cli.main() == 0
    assert callable(handlers["during"])


def test_a_call_from_python_leaves_signals_alone(handlers: dict[str, object]) -> None:
    assert cli.main(["info"]) == 0
    assert handlers["during"] == signal.getsignal(signal.SIGTERM)


def test_a_command_in_another_thread_leaves_signals_alone(
    handlers: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vimnp", "info"])
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main()))
    thread.start()
    thread.join()
    assert codes == [0]
    assert handlers["during"] == signal.getsignal(signal.SIGTERM)


def test_ctrl_c_while_a_command_loads_is_one_line_too(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", load)
    assert command("info") == (130, "", "vimnp: interrupted\n")


# Stops where NumPy begins to load.
LOADING_NUMPY = """
import sys, time

class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            print("here", flush=True)
            time.sleep(100)

sys.meta_path.insert(0, Stop())
from {module} import main
sys.exit(main())
"""


def test_ctrl_c_while_numpy_loads_is_one_line_too() -> None:
    (script,) = metadata.distribution("vimnp").entry_points.select(name="vimnp")
    code = LOADING_NUMPY.format(module=script.module)
    assert script.attr == "main"
    assert interrupted(signal.SIGINT, code) == (130, "", "vimnp: interrupted\n")


def test_the_installed_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (script,) = metadata.distribution("vimnp").entry_points.select(name="vimnp")
    before = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vimnp", "--version"])
        with pytest.raises(SystemExit) as ended:
            script.load()()
    assert (ended.value.code, capsys.readouterr().out.split()[0]) == (0, "vimnp")
    assert signal.getsignal(signal.SIGINT) == before


# ---- Closed streams ------------------------------------------------------------------------------


def in_shell(redirection: str, *arguments: object, code: str = "", **variables: str) -> Run:
    """A command with streams as the shell makes them."""
    python = [sys.executable, *(["-c", code] if code else ["-m", "vimnp"])]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *python, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment() | variables,
        check=False,
        timeout=60,
    )
    return Run(done.returncode, done.stdout, done.stderr)


EVERY_BUFFER = pytest.mark.parametrize("unbuffered", ["", "1"])


@EVERY_BUFFER
@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_without_stderr_errors_are_not_told_on_stdout(
    closed: str, unbuffered: str, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    bad = tmp_path / "bad.png"
    run = in_shell(closed, "predict", bad, SCANS[3], "--top-k", 1, PYTHONUNBUFFERED=unbuffered)
    assert (run.code, run.err) == (2, "")
    name, answer = run.out.splitlines()
    assert (name, answer.split()[-1]) == (str(SCANS[3]), "3")


@pytest.mark.parametrize("arguments", [["predict"], ["bench", "--img-size", "x"]])
def test_without_stderr_nothing_is_told_of_wrong_use(arguments: list[str]) -> None:
    assert in_shell("2>&-", *arguments) == (2, "", "")


def test_a_bar_is_not_drawn_where_there_is_no_stderr(micro_npz: Path) -> None:
    run = in_shell("2>&-", "bench", "--weights", micro_npz, "--rounds", 1, "--threads", 1)
    assert run.code == 0
    assert "| native" in run.out or "| numpy" in run.out


@pytest.mark.parametrize(
    "arguments", [["predict", "{png}"], ["convert", "{pth}", "{new}"]], ids=["predict", "convert"]
)
def test_without_stdout_a_command_says_that_it_cannot_answer(
    arguments: list[str], micro_pth: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.npz"
    given = [text.format(png=SCANS[3], pth=micro_pth, new=new) for text in arguments]
    run = in_shell(">&-", *given)
    assert (run.code, run.out) == (2, "")
    assert len(run.err.splitlines()) == 1
    assert run.err.startswith("vimnp: stdout is closed; expected ")
    assert not new.exists()
    assert in_shell(">&- 2>&-", *given) == (2, "", "")


def test_a_file_does_not_take_the_place_of_a_closed_stream() -> None:
    """Descriptor 2 would be the next file opened, and get what libraries write to stderr."""
    code = """
import os, sys
from vimnp import cli
from vimnp.commands import info
def run(options):
    print(all(os.path.samestat(os.fstat(n), os.stat(os.devnull)) for n in (0, 2)))
    return 0
info.run = run
sys.exit(cli.main())
"""
    assert in_shell("<&- 2>&-", "info", code=code) == (0, "True\n", "")


@EVERY_BUFFER
def test_a_full_disk_under_stdout_is_one_line(unbuffered: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    run = in_shell(">/dev/full", "info", PYTHONUNBUFFERED=unbuffered)
    assert (run.code, run.out) == (2, "")
    name = "" if unbuffered else "stdout: "  # it is print() that fails, and names nothing
    assert run.err == f"vimnp: {name}No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "unbuffered", "code"),
    [
        (["info"], "", 141),
        (["info"], "1", 141),
        (["predict", "{png}"], "", 141),
        (["--help"], "", 0),
    ],
    ids=["info", "info, unbuffered", "predict", "help"],
)
def test_a_reader_that_leaves_early_ends_a_command_as_it_ends_other_tools(
    arguments: list[str], unbuffered: str, code: int
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "vimnp", *(text.format(png=SCANS[3]) for text in arguments)],
        stdout=writer,
        stderr=subprocess.PIPE,
        env=environment() | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
        timeout=60,
    )
    os.close(writer)
    told = done.stderr.decode().splitlines()
    assert [line for line in told if "bundled model" not in line] == []
    assert done.returncode == code
