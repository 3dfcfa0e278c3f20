"""Makes the page: one self-contained HTML file with the same bytes for the same run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from tfloop_cli import __version__
from tfloop_cli.report import charts
from tfloop_cli.report.blocks import Figure, Figures, Omitted, Section, Table, Text, number
from tfloop_cli.report.comparison import comparison_sections
from tfloop_cli.report.facts import fact_sections
from tfloop_cli.report.importance import PART, REPEATS, Importance
from tfloop_cli.report.mistakes import mistakes_section
from tfloop_cli.report.reading import ReportedRun
from tfloop_cli.report.results import curves_section, result_section, samples_section, status_lines
from tfloop_cli.report.test_split import test_sections
from tfloop_cli.runs.records import RunRecord, mapping
from tfloop_cli.terminal.tables import duration

MARK = b"<!-- report of tfloop -->"  # what may be written over
TEMPLATES = Path(__file__).parent / "templates"
MAX_BARS = 30  # columns whose importance is shown
FINGERPRINT = 12  # characters


@dataclass(frozen=True)
class Page:
    """A page, and what it does not have.

    Attributes:
        html: UTF-8.
        omitted: parts that it does not have.
    """

    html: bytes
    omitted: Sequence[Omitted]


def one_run(run: ReportedRun, importance: Importance | Omitted) -> Page:
    """Returns the report of a run.

    Args:
        run: the run.
        importance: of the columns of a table, or why it is not known.
    """
    parts = [
        result_section(run), curves_section(run), *samples_section(run), *test_sections(run), mistakes_section(run),
        _importance(importance, run), *fact_sections(run),
    ]  # fmt: skip
    facts = [*_facts(run.record), *([f"data: {run.other.name}"] if run.other else [])]
    return _page(run.record.name, facts, [*status_lines(run.record), *_data_line(run)], parts)


def several_runs(runs: Sequence[ReportedRun]) -> Page:
    """Returns the report of runs beside each other."""
    lines = [Text(f"{run.record.name}: {line.text}", line.style) for run in runs for line in status_lines(run.record)]
    return _page(f"{len(runs)} runs", [run.record.name for run in runs], lines, list(comparison_sections(runs)))


def _data_line(run: ReportedRun) -> list[Text]:
    """Returns which data the page shows if it is not the test split."""
    if not run.other:
        return []
    count, fingerprint = run.other.metrics["examples"], run.other.fingerprint[:FINGERPRINT]
    about = f"{run.other.name} ({count:,} examples, fingerprint {fingerprint})"
    return [Text(f"Classes, mistakes and everything else about examples are those of {about}, not of the test split.")]


def _importance(importance: Importance | Omitted, run: ReportedRun) -> Section | Omitted:
    if isinstance(importance, Omitted):
        return importance
    shown = dict(list(importance.columns.items())[:MAX_BARS])
    count, error = f"{importance.examples:,} kept examples", importance.error
    text = Text(
        f"How much the {error} grows if the values of one column are exchanged between examples (permutation "
        f"importance), on {count}, which stand for the {number(run.metrics.get('examples'))} of {run.shown}. "
        f"Lines are standard deviations over {REPEATS} repetitions: a bar shorter than its line is noise. "
        "Columns with the same information share their importance."
    )
    more = len(importance.columns) - len(shown)
    rest = [Text(f"{more} less important columns are not shown.", "note")] if more else []
    figure = Figure("", charts.bars(shown, importance.error))
    rows = [(name, f"{mean:.4g}", f"{deviation:.2g}") for name, (mean, deviation) in shown.items()]
    table = Table(("column", f"increase of the {error} ({count})", "standard deviation"), rows, "importance of columns")
    return Section("importance", PART, [text, Figures([figure]), table, *rest])


def _facts(record: RunRecord) -> list[str]:
    """Returns what is known of a run, for the line below its name."""
    names = [mapping(record.config.get(key)).get("name") for key in ("task", "model", "dataset")]
    facts = [record.status, *(str(name) for name in names if name), record.started[:16].replace("T", " ")]
    seconds = record.summary.get("seconds")
    return [*filter(None, facts), *([duration(seconds)] if isinstance(seconds, int | float) else [])]


def _page(title: str, facts: Sequence[str], status: Sequence[Text], parts: Sequence[Section | Omitted]) -> Page:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    omitted = [part for part in parts if isinstance(part, Omitted)]
    values: dict[str, Any] = {
        "mark": Markup(MARK.decode()),
        "style": Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        "title": title,
        "facts": facts,
        "status": status,
        "sections": [part for part in parts if isinstance(part, Section)],
        "omitted": omitted,
        "version": __version__,
    }
    html = environment.get_template("report.html").render(values)
    return Page(html.encode("utf-8", "backslashreplace"), omitted)
