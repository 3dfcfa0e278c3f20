"""The console: what goes where, what is kept quiet, and how errors and closed pipes end."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tfloop_cli.errors import ExitCode, Problem, TfloopError
from tfloop_cli.terminal.console import CLOSED_PIPE, Console

ERROR = TfloopError(
    code=ExitCode.DATA,
    problems=[
        Problem("unknown optimizer `adm`", "mnist.yaml", 3, 8, "did you mean `adam`?"),
        Problem("no network"),
    ],
)


def run(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, since file descriptors 1 and 2 are at stake."""
    code = "import os, sys\nfrom tfloop_cli.terminal.console import Console\n" + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_results_and_progress_part_ways(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.result("0.98")
    console.info("epoch 1")
    console.note("the shipped mnist.yaml")
    console.warn("slow disk")
    assert capsys.readouterr() == ("0.98\n", "epoch 1\nnote: the shipped mnist.yaml\nwarning: slow disk\n")


def test_quiet_keeps_results_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.info("no")
    console.note("no")
    console.result("0.98")
    console.warn("slow disk")
    console.error(TfloopError("bad"))
    assert capsys.readouterr() == ("0.98\n", "warning: slow disk\nerror: bad\n")


def test_errors_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error(ERROR)
    assert capsys.readouterr() == (
        "",
        "mnist.yaml:3:8: unknown optimizer `adm`\n  did you mean `adam`?\nerror: no network\n",
    )


def test_errors_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=True)
    console.result("nothing but documents on stdout")
    console.error(ERROR)
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["event"], told["code"], len(told["errors"])) == ("error", 4, 2)
    assert told["errors"][0] == {
        "message": "unknown optimizer `adm`",
        "file": "mnist.yaml",
        "line": 3,
        "column": 8,
        "hint": "did you mean `adam`?",
    }
    assert "no network" in captured.err


def test_documents_are_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json=True).document(
        {"event": "x", "loss": float("nan"), "deep": [{"inf": float("-inf"), "exact": 0.1 + 0.2}]}
    )
    line = capsys.readouterr().out
    assert line == '{"event": "x", "loss": null, "deep": [{"inf": null, "exact": 0.30000000000000004}]}\n'


@pytest.mark.parametrize("variable", ["CI", "NO_COLOR", "TERM"])
def test_color_only_on_a_terminal_that_wants_it(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CI": "", "NO_COLOR": "", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Console().interactive
    monkeypatch.setenv(variable, "dumb")
    assert not Console().interactive


def test_errors_are_bold_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    monkeypatch.setattr(console, "interactive", True)
    console.error(ERROR)
    assert capsys.readouterr().err.startswith("\x1b[1mmnist.yaml:3:8: unknown optimizer `adm`\x1b[0m\n  did you")


def test_quiet_stderr_hides_chatter_but_not_our_own_words() -> None:
    done = run("""
        console = Console()
        with console.quiet_stderr():
            os.write(2, b"chatter from C++")
            print("chatter from Python", file=sys.stderr)
            os.system("echo chatter from a child >&2")
            console.info("ours")
        print("after", file=sys.stderr)
    """)
    assert (done.stderr, done.stdout, done.returncode) == ("ours\nafter\n", "", 0)


def test_quiet_stderr_shows_what_was_written_when_loading_fails() -> None:
    done = run("""
        with Console().quiet_stderr():
            os.write(2, b"libcudart.so: wrong version\\n")
            raise ImportError("no tensorflow")
    """)
    assert done.stderr.startswith("libcudart.so: wrong version\nTraceback")
    assert done.stderr.endswith("ImportError: no tensorflow\n")


def test_quiet_stderr_stays_quiet_on_an_error_of_the_user() -> None:
    done = run("""
        from tfloop_cli.errors import TfloopError
        console = Console()
        try:
            with console.quiet_stderr():
                os.write(2, b"chatter")
                raise TfloopError("no such device")
        except TfloopError as error:
            console.error(error)
    """)
    assert done.stderr == "error: no such device\n"


def test_verbose_lets_chatter_through() -> None:
    done = run("""
        with Console(verbose=True).quiet_stderr():
            os.write(2, b"chatter")
    """)
    assert done.stderr == "chatter"


@pytest.mark.parametrize("redirection", ["", "2>&1"])
def test_a_closed_pipe_ends_quietly(redirection: str) -> None:
    code = (
        "from tfloop_cli.terminal.console import Console\n"
        "console = Console()\n"
        "for line in range(100_000): console.result('x' * 100) if line % 2 else console.info('y')\n"
    )
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection} | head -n 1; exit ${{PIPESTATUS[0]}}', sys.executable, code],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == CLOSED_PIPE
    assert set(done.stdout + done.stderr) <= set("xy\n")


def test_what_the_encoding_cannot_hold_is_escaped() -> None:
    done = run('Console().result("Ωmega")\nConsole().say("★")', PYTHONIOENCODING="ascii")
    assert (done.stdout, done.stderr) == ("\\u03a9mega\n", "\\u2605\n")


def test_nothing_heavy_is_imported() -> None:
    done = run('print([name for name in ("rich", "tensorflow", "numpy", "typer", "pydantic") if name in sys.modules])')
    assert done.stdout == "[]\n"
