"""Results for CI systems: JUnit XML, and a Markdown table such as GitHub shows on the page of a workflow run."""

import math
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.etree import ElementTree

from tfloop_cli.errors import ExitCode, TfloopError
from tfloop_cli.events import Evaluated, Event, RunEnded, RunStarted
from tfloop_cli.files import disk_error, disk_errors, write_atomic
from tfloop_cli.thresholds import Threshold

GITHUB = "GITHUB_STEP_SUMMARY"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # in XML 1.0


class CiReport:
    """Writes the result of a command for CI systems when it ends, whether it succeeds or fails.

    A consumer of events, which give it the run and the metrics, and a context of the command. The files are opened when
    it is entered, so that a wrong path does not cost a training.

    Args:
        command: "tfloop train" or "tfloop evaluate".
        thresholds: one test case each.
        junit: the JUnit XML file, which is replaced; None for none.
        summaries: files that get a Markdown table at their end.

    Raises:
        TfloopError: a file cannot be written (exit code 2 or 75).
    """

    def __init__(
        self, command: str, thresholds: Sequence[Threshold], junit: Path | None = None, summaries: Sequence[Path] = ()
    ) -> None:
        self._command, self._thresholds = command, thresholds
        self._junit, self._summaries = junit, summaries
        self._started = time.monotonic()
        self._run = ""
        self._evaluated: Evaluated | None = None

    def handle(self, event: Event) -> None:
        """Keeps the name of the run and the metrics of the split that is checked."""
        if isinstance(event, RunStarted | RunEnded):
            self._run = event.run
        if isinstance(event, Evaluated):
            self._evaluated, self._run = event, self._run or event.checkpoint

    def __enter__(self) -> Self:
        for path in self._summaries:
            with disk_errors(path), open(path, "ab"):
                pass
        self._write_junit("it has not ended")  # what is left of a process that is killed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        problem = _problem(error)
        try:
            self._write_junit(problem)
            for path in self._summaries:
                with disk_errors(path), open(path, "a", encoding="utf-8") as file:
                    file.write(self._markdown(problem))
        except TfloopError as unwritable:
            if isinstance(error, TfloopError):
                error.add_hint(f"the result for CI is not written: {unwritable}")
            elif not getattr(error, "exit_code", ExitCode.DONE):
                raise  # the command has succeeded, but CI would see an old file, or none

    def _write_junit(self, problem: str | None) -> None:
        if self._junit:
            try:
                self._junit.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self._junit, self._xml(problem))
            except OSError as error:  # which may name the temporary file
                raise disk_error(OSError(error.errno, error.strerror), self._junit) from error

    def _xml(self, problem: str | None) -> bytes:
        """Returns the JUnit file: a test case for the command itself, and one for each threshold."""
        seconds = f"{time.monotonic() - self._started:.3f}"
        skipped = problem is not None and self._evaluated is None
        failures = [self._failure(one) for one in self._thresholds]
        counts = {
            "tests": len(failures) + 1,
            "failures": 0 if skipped else sum(map(bool, failures)),
            "errors": int(problem is not None),
            "skipped": len(failures) if skipped else 0,
        }
        attributes = {name: str(count) for name, count in counts.items()} | {"time": seconds}
        # The schema of Jenkins knows `skipped` of a suite alone.
        root = ElementTree.Element("testsuites", {name: one for name, one in attributes.items() if name != "skipped"})
        suite = ElementTree.SubElement(root, "testsuite", {"name": self._command, **attributes})
        properties = ElementTree.SubElement(suite, "properties")
        for name, value in self._facts():
            ElementTree.SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})
        case = ElementTree.SubElement(suite, "testcase", classname="tfloop", name=self._command, time=seconds)
        if problem is not None:
            ElementTree.SubElement(case, "error", message=_clean(problem), type="error").text = _clean(problem)
        for threshold, failure in zip(self._thresholds, failures, strict=True):
            name, group = _clean(threshold.rule), f"tfloop.{self._evaluated.split if self._evaluated else 'test'}"
            case = ElementTree.SubElement(suite, "testcase", classname=_clean(group), name=name, time="0")
            if skipped:
                ElementTree.SubElement(case, "skipped", message="not evaluated")
            elif failure:
                found = ElementTree.SubElement(case, "failure", message=_clean(failure), type=threshold.option)
                found.text = _clean(failure)
        ElementTree.indent(root)
        text = ElementTree.tostring(root, encoding="unicode")
        return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()

    def _failure(self, threshold: Threshold) -> str | None:
        return threshold.failure(self._evaluated.metrics if self._evaluated else {})

    def _facts(self) -> list[tuple[str, str]]:
        metrics = self._evaluated.metrics.items() if self._evaluated else ()
        split = self._evaluated.split if self._evaluated else ""
        return [("run", self._run), *((f"{split}/{name}", f"{value:.6g}") for name, value in metrics)]

    def _markdown(self, problem: str | None) -> str:
        """Returns a heading, a sentence about the run, and a table of the metrics with what was required of them."""
        failures = [failure for one in self._thresholds if (failure := self._failure(one))]
        result = "failed" if problem or failures else "passed" if self._thresholds else "done"
        lines = [f"### {self._command}: {result}", ""]
        if self._run:
            lines += [f"Run `{self._run}`", ""]
        if problem:
            lines += [*(f"> {line}" for line in problem.splitlines()), ""]
        if self._evaluated:
            metrics, split = self._evaluated.metrics, self._evaluated.split
            lines += [f"{self._evaluated.examples:,} examples of `{split}`", ""]
            lines += ["| metric | value | required | baseline | result |", "| --- | --- | --- | --- | --- |"]
            for name, value in metrics.items():
                checks = [one for one in self._thresholds if one.metric == name]
                lines += [_row(name, value, one, self._failure(one)) for one in checks] or [_row(name, value)]
            lines.append("")
        return "\n".join(lines) + "\n"


def report_for(
    command: str, thresholds: Sequence[Threshold], junit: Path | None, summary: Path | None, github: bool
) -> CiReport:
    """Returns the report that the options ask for.

    Args:
        command: see `CiReport`.
        thresholds: see `CiReport`.
        junit: the value of `--junit`.
        summary: the value of `--summary`.
        github: whether `--github-summary` is given.

    Raises:
        TfloopError: `--github-summary` outside of GitHub Actions (exit code 2).
    """
    summaries = [summary] if summary else []
    if github:
        if not os.environ.get(GITHUB):
            hint = "outside of GitHub Actions, use `--summary FILE`"
            raise TfloopError(f"`--github-summary` needs the environment variable {GITHUB}", hint=hint)
        summaries.append(Path(os.environ[GITHUB]))
    return CiReport(command, thresholds, junit, summaries)


def _problem(error: BaseException | None) -> str | None:
    """Returns why the command could not do its work; None if it did, even if a threshold has failed."""
    code = getattr(error, "exit_code", ExitCode.DONE)  # of typer.Exit
    if isinstance(error, TfloopError):
        return None if error.code == ExitCode.THRESHOLD_FAILED else str(error)
    if error is None or hasattr(error, "exit_code"):
        return f"stopped: exit code {int(code)}" if code not in (ExitCode.DONE, ExitCode.THRESHOLD_FAILED) else None
    return f"{type(error).__name__}: {error}"


def _row(name: str, value: float, threshold: Threshold | None = None, failure: str | None = None) -> str:
    cells = [name, f"{value:.6g}", "", "", ""]
    if threshold:
        baseline = getattr(threshold, "baseline", math.nan)
        cells[2:] = [
            threshold.rule.removeprefix(f"{name} "),
            "" if math.isnan(baseline) else f"{baseline:.6g}",
            "**failed**" if failure else "passed",
        ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _clean(text: str) -> str:
    """Returns a text without the characters that XML does not allow."""
    return _FORBIDDEN.sub("?", text)
