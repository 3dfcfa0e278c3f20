"""The console: stdout and stderr, quiet and JSON output, errors, the spinner, and closed pipes."""

import io
import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest

from tfloop_cli.errors import ExitCode, Problem, TfloopError
from tfloop_cli.terminal.console import Console

ERROR = TfloopError(
    code=ExitCode.DATA,
    problems=[
        Problem("unknown optimizer `adm`", "mnist.yaml", 3, 8, "did you mean `adam`?"),
        Problem("no network"),
    ],
)


def run(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a separate process, because it redirects file descriptors 1 and 2."""
    code = "import os, sys\nfrom tfloop_cli.terminal.console import Console\n" + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_results_go_to_stdout_and_messages_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.result("0.98")
    console.info("epoch 1")
    console.note("a new run")
    console.warn("slow disk")
    assert capsys.readouterr() == ("0.98\n", "epoch 1\nnote: a new run\nwarning: slow disk\n")


def test_quiet_prints_only_results_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.info("no")
    console.note("no")
    console.result("0.98")
    console.warn("slow disk")
    console.error(TfloopError("bad"))
    assert capsys.readouterr() == ("0.98\n", "warning: slow disk\nerror: bad\n")


def test_errors_are_printed_with_place_and_hint(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error(ERROR)
    assert capsys.readouterr() == (
        "",
        "mnist.yaml:3:8: unknown optimizer `adm`\n  did you mean `adam`?\nerror: no network\n",
    )


def test_json_errors_are_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=True)
    console.result("only documents go to stdout")
    console.error(ERROR)
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["event"], document["code"], len(document["errors"])) == ("error", 4, 2)
    assert document["errors"][0] == {
        "message": "unknown optimizer `adm`",
        "file": "mnist.yaml",
        "line": 3,
        "column": 8,
        "hint": "did you mean `adam`?",
    }
    assert "no network" in captured.err


def test_documents_replace_nan_and_infinity_by_null(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json=True).document(
        {"event": "x", "loss": float("nan"), "deep": [{"inf": float("-inf"), "exact": 0.1 + 0.2}]}
    )
    line = capsys.readouterr().out
    assert line == '{"event": "x", "schema": 1, "loss": null, "deep": [{"inf": null, "exact": 0.30000000000000004}]}\n'


@pytest.mark.parametrize("variable", ["CI", "NO_COLOR", "TERM"])
def test_console_is_interactive_only_on_terminal_with_colors(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CI": "", "NO_COLOR": "", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Console().interactive
    monkeypatch.setenv(variable, "dumb")
    assert not Console().interactive


def test_errors_are_bold_on_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    monkeypatch.setattr(console, "interactive", True)
    console.error(ERROR)
    assert capsys.readouterr().err.startswith("\x1b[1mmnist.yaml:3:8: unknown optimizer `adm`\x1b[0m\n  did you")


def test_quiet_stderr_hides_other_output_and_keeps_own_messages() -> None:
    completed = run("""
        console = Console()
        with console.quiet_stderr():
            os.write(2, b"noise from C++")
            print("noise from Python", file=sys.stderr)
            os.system("echo noise from a child >&2")
            console.info("own message")
        print("after", file=sys.stderr)
    """)
    assert (completed.stderr, completed.stdout, completed.returncode) == ("own message\nafter\n", "", 0)


def test_quiet_stderr_prints_captured_output_on_exception() -> None:
    completed = run("""
        with Console().quiet_stderr():
            os.write(2, b"libcudart.so: wrong version\\n")
            raise ImportError("no tensorflow")
    """)
    assert completed.stderr.startswith("libcudart.so: wrong version\nTraceback")
    assert completed.stderr.endswith("ImportError: no tensorflow\n")


def test_quiet_stderr_hides_captured_output_on_tfloop_error() -> None:
    completed = run("""
        from tfloop_cli.errors import TfloopError
        console = Console()
        try:
            with console.quiet_stderr():
                os.write(2, b"noise")
                raise TfloopError("no such device")
        except TfloopError as error:
            console.error(error)
    """)
    assert completed.stderr == "error: no such device\n"


def test_quiet_stderr_without_a_folder_for_temporary_files() -> None:
    completed = run("""
        import tempfile
        tempfile.tempdir = "/no/such/folder"
        console = Console()
        with console.quiet_stderr():
            os.write(2, b"noise")
            console.info("message")
    """)
    assert (completed.returncode, completed.stderr) == (0, "message\n")


def test_verbose_prints_noise() -> None:
    completed = run("""
        with Console(verbose=True).quiet_stderr():
            os.write(2, b"noise")
    """)
    assert completed.stderr == "noise"


@pytest.mark.parametrize("redirection", ["", "2>&1"])
def test_closed_pipe_ends_process_quietly(redirection: str) -> None:
    code = (
        "from tfloop_cli.terminal.console import Console\n"
        "console = Console()\n"
        "for line in range(100_000): console.result('x' * 100) if line % 2 else console.info('y')\n"
    )
    completed = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {redirection} | head -n 1; exit ${{PIPESTATUS[0]}}', sys.executable, code],
        check=False,
        capture_output=True,
        text=True,
    )
    assert completed.returncode == ExitCode.CLOSED_PIPE
    assert set(completed.stdout + completed.stderr) <= set("xy\n")


def test_characters_outside_of_encoding_are_escaped() -> None:
    completed = run('Console().result("Ωmega")\nConsole().info("★")', PYTHONIOENCODING="ascii")
    assert (completed.stdout, completed.stderr) == ("\\u03a9mega\n", "\\u2605\n")


def test_console_imports_no_large_packages() -> None:
    completed = run("print({'rich', 'tensorflow', 'numpy', 'typer', 'pydantic'} & set(sys.modules) or 'none')")
    assert completed.stdout == "none\n"


def test_status_prints_one_line_without_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().status("loading TensorFlow"):
        assert capsys.readouterr() == ("", "loading TensorFlow ...\n")
    assert capsys.readouterr() == ("", "")


def test_status_prints_nothing_if_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(quiet=True)
    for interactive in (False, True):
        monkeypatch.setattr(console, "interactive", interactive)
        with console.status("loading TensorFlow"):
            pass
    assert capsys.readouterr() == ("", "")


class Stream(io.TextIOWrapper):
    """A text stream in memory that counts the frames of a spinner."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)
        self.text = ""
        self.spinning = threading.Event()

    def write(self, text: str) -> int:
        self.text += text
        if self.text.count("\r") >= 3:
            self.spinning.set()
        return super().write(text)


def interactive_console(stream: Stream) -> Console:
    console = Console()
    console.interactive, console.stderr = True, stream
    return console


@pytest.mark.parametrize(("encoding", "frames"), [("utf-8", "⠋⠙⠹"), ("ascii", "|/-")])
def test_status_shows_spinner_on_terminal_and_erases_it(encoding: str, frames: str) -> None:
    stream = Stream(encoding)
    with interactive_console(stream).status("loading TensorFlow"):
        assert stream.spinning.wait(timeout=10)
    assert stream.text.startswith("".join(f"\r{frame} loading TensorFlow " for frame in frames))
    assert stream.text.endswith("\r\x1b[K")
    assert "\n" not in stream.text


def test_progress_of_slow_work_has_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, seconds = Stream("utf-8"), iter([0.0, 0.05, 10.0, 20.0])
    monkeypatch.setattr("tfloop_cli.terminal.console.time.monotonic", lambda: next(seconds))
    console = interactive_console(stream)
    for done in (0, 1, 250, 1000):
        console.show_progress("decoding images", done, 1000)
    assert stream.text == "\rdecoding images: 250 of 1,000 (25%), 0:30 left\x1b[K\r\x1b[K"


def test_progress_is_one_line_without_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for done in (0, 5, 10):
        console.show_progress("decoding images", done, 10)
    assert capsys.readouterr().err == "decoding images ...\n"
    Console(quiet=True).show_progress("decoding images", 0, 10)
    assert capsys.readouterr().err == ""


def test_status_erases_spinner_if_body_raises() -> None:
    stream = Stream("utf-8")
    with pytest.raises(TfloopError, match="no such device"), interactive_console(stream).status("loading TensorFlow"):
        raise TfloopError("no such device")
    assert stream.text.endswith("\r\x1b[K")
    assert "tfloop-spinner" not in [thread.name for thread in threading.enumerate()]
