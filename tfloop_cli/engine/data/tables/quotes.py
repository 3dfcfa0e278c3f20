"""Quotation marks that follow spaces: a, "b"."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace

from tfloop_cli.engine.data.tables.dialect import SAMPLE_BYTES, DialectOptions
from tfloop_cli.engine.data.tables.encodings import find_encoding
from tfloop_cli.engine.data.tables.files import TableFile
from tfloop_cli.engine.data.tables.surroundings import CONSISTENT

_SPACED = re.compile(r'[,;|] +"[^"]*"')


def without_spaces_before_quotes(file: TableFile, sample: bytes, options: DialectOptions) -> TableFile:
    """Returns a file in which quotation marks follow their separators: a,"b" for a, "b".

    A mark only encloses a cell if it is its first character. The file itself if not most lines of the sample are so, or
    if the marks are in texts or lists: they enclose no whole cells, or rows have other numbers of cells than the first.
    """
    if options.quote not in ("auto", '"') or options.free_text or (b', "' not in sample and b'; "' not in sample):
        return file
    encoding = find_encoding(sample) if options.encoding == "auto" else options.encoding
    text = sample.decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = text.splitlines(keepends=True)[: -1 if len(sample) >= SAMPLE_BYTES else None]
    lines = [line for line in lines if line.strip()]
    found = [_SPACED.search(line) for line in lines[1:]]
    marks = [one[0][0] for one in found if one]
    if 2 * len(marks) < len(lines) or len(set(marks)) > 1 or not _fits(lines, marks[0]):
        return file
    with file.text(encoding) as stream:
        rows = csv.reader(stream, delimiter=marks[0], skipinitialspace=True)
        written = io.StringIO()
        csv.writer(written, delimiter=marks[0], lineterminator="\n").writerows(rows)
    return replace(file, content=written.getvalue().encode(encoding))


def _fits(lines: Sequence[str], separator: str) -> bool:
    """Whether quotation marks enclose whole cells, of which nearly all lines have as many as the first one."""
    reader, counts = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True), []
    try:
        for row in reader:
            counts.append(len(row))
    except csv.Error:
        if reader.line_num < len(lines):  # else a cell of several lines that the sample ends in
            return False
    return len(counts) > 1 < counts[0] and counts.count(counts[0]) >= CONSISTENT * len(counts)
