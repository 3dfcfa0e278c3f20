"""A curve in a terminal, in braille characters of 2 x 4 dots each."""

from collections.abc import Sequence

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # bits of a braille character by column and row


def curve_lines(values: Sequence[float], width: int, height: int, *, unicode: bool = True) -> list[str]:
    """Returns a plot of finite values over their index, without axes.

    Args:
        values: at least one.
        width, height: in characters.
        unicode: whether the terminal has braille characters; else the plot has one asterisk per column.
    """
    columns, rows = (2 * width, 4 * height) if unicode else (width, height)
    low, high = min(values), max(values)
    dots: list[tuple[int, int]] = []
    for column in range(columns):
        position = column * (len(values) - 1) / max(columns - 1, 1)
        first = int(position)
        last = min(first + 1, len(values) - 1)
        value = values[first] + (position - first) * (values[last] - values[first])
        dots.append((column, round((high - value) / ((high - low) or 1.0) * (rows - 1))))
    if not unicode:
        text = [[" "] * width for _ in range(height)]
        for column, row in dots:
            text[row][column] = "*"
        return ["".join(line).rstrip() for line in text]
    cells = [[0x2800] * width for _ in range(height)]
    for column, row in dots:
        cells[row // 4][column // 2] |= DOTS[column % 2][row % 4]
    return ["".join(map(chr, line)).rstrip("\u2800") for line in cells]
