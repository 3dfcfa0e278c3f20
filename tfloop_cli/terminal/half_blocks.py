"""Draws thumbnails in a terminal: each character is two pixels, one above the other."""

from tfloop_cli.data_summary import Thumbnails


def half_blocks(strip: Thumbnails, *, true_color: bool) -> list[str]:
    """Returns the lines of a strip, half as many as it has rows of pixels.

    Args:
        strip: of an even height.
        true_color: whether the terminal has 24-bit colors; else it has 256 colors.
    """
    size = 3 * strip.width
    rows = [strip.pixels[start : start + size] for start in range(0, len(strip.pixels), size)]
    code = _true_color if true_color else _color256
    return [
        "".join(f"\x1b[38;{code(*above[at : at + 3])};48;{code(*below[at : at + 3])}m▀" for at in range(0, size, 3))
        + "\x1b[0m"
        for above, below in zip(rows[::2], rows[1::2], strict=True)
    ]


def _true_color(red: int, green: int, blue: int) -> str:
    return f"2;{red};{green};{blue}"


def _color256(red: int, green: int, blue: int) -> str:
    """Returns the nearest of 24 shades of gray, or of a cube of 6 x 6 x 6 colors."""
    if max(red, green, blue) - min(red, green, blue) < 12:
        shade = round(((red + green + blue) / 3 - 8) / 10)
        return f"5;{16 if shade < 0 else 231 if shade > 23 else 232 + shade}"
    levels = [0 if value < 48 else 1 if value < 115 else (value - 35) // 40 for value in (red, green, blue)]
    return f"5;{16 + 36 * levels[0] + 6 * levels[1] + levels[2]}"
