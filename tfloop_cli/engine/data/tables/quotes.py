"""Quotation marks that follow spaces: a, "b"."""

import csv
import io
import re
from dataclasses import replace

from tfloop_cli.engine.data.tables.dialect import DialectOptions
from tfloop_cli.engine.data.tables.encodings import find_encoding
from tfloop_cli.engine.data.tables.files import TableFile

_SPACED = re.compile(r'[,;|] +"[^"]*"')


def without_spaces_before_quotes(file: TableFile, sample: bytes, options: DialectOptions) -> TableFile:
    """Returns a file in which quotation marks follow their separators: a,"b" for a, "b".

    A mark only encloses a cell if it is its first character. The file itself if not most lines of the sample are so.
    """
    lines = [line for line in sample.splitlines()[1:] if line.strip()]
    if options.quote not in ("auto", '"') or options.free_text or (b', "' not in sample and b'; "' not in sample):
        return file
    encoding = find_encoding(sample) if options.encoding == "auto" else options.encoding
    found = [_SPACED.search(line.decode(encoding, errors="replace")) for line in lines]
    marks = [one[0][0] for one in found if one]
    if 2 * len(marks) <= len(lines) or len(set(marks)) > 1:
        return file
    with file.text(encoding) as stream:
        rows = csv.reader(stream, delimiter=marks[0], skipinitialspace=True)
        written = io.StringIO()
        csv.writer(written, delimiter=marks[0], lineterminator="\n").writerows(rows)
    return replace(file, content=written.getvalue().encode(encoding))
