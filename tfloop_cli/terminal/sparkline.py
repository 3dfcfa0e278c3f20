"""A curve on one line of text."""

import math
from collections.abc import Sequence

_BLOCKS, _ASCII = "▁▂▃▄▅▆▇█", "_.-~=*#@"


def sparkline(values: Sequence[float | None], width: int, *, unicode: bool = True) -> str:
    """Returns one character per value, from the lowest to the highest; a space is a value that is not finite.

    Args:
        values: of a metric, one per epoch. If there are more than `width`, the last one of each part is shown.
        width: the largest number of characters.
        unicode: whether to use block characters.
    """
    if len(values) > width:
        values = [values[(number + 1) * len(values) // width - 1] for number in range(width)]
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return ""
    levels, lowest, span = _BLOCKS if unicode else _ASCII, min(known), max(known) - min(known)

    def level(value: float) -> str:
        position = (value - lowest) / span if 0 < span < math.inf else 0.5
        return levels[min(int(position * len(levels)), len(levels) - 1)]

    return "".join(level(one) if one is not None and math.isfinite(one) else " " for one in values)
