"""Charts as SVG elements within a page: colors are those of the page's style, so that they suit light and dark."""

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup

Points = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 360, 230  # of a chart, pixels
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 10, 38  # margins
TICKS = 5


def tag(name: str, content: str = "", **attributes: object) -> Markup:
    """Returns an element; `class_` is the attribute `class`, and an underscore elsewhere is a hyphen."""
    written = [(key.rstrip("_").replace("_", "-"), _text(value)) for key, value in attributes.items() if value != ""]
    text = Markup("").join(Markup(' {}="{}"').format(key, value) for key, value in written)
    return Markup("<{0}{1}>{2}</{0}>").format(name, text, content)


class Chart:
    """A chart with two axes.

    Args:
        label: what it shows, for those who do not see it.
        x, y: the ranges of the axes.
        x_name, y_name: what the axes show.
        whole_x: whether the x axis has whole numbers only.
    """

    def __init__(
        self, label: str, x: tuple[float, float], y: tuple[float, float], x_name: str, y_name: str = "",
        whole_x: bool = False,
    ) -> None:  # fmt: skip
        self._label, self._x, self._y = label, widened(x), widened(y)
        self._parts: list[Markup] = []
        self._axes(x_name, y_name, whole_x)

    def line(self, points: Points, style: str, name: str = "", dots: bool = False) -> None:
        """Adds a line; points that are not finite break it."""
        for part in _finite_parts(points):
            if len(part) > 1:
                places = " ".join(f"{_text(self._px(x))},{_text(self._py(y))}" for x, y in part)
                self._parts.append(tag("polyline", _title(name), class_=f"line {style}", points=places))
            if dots or len(part) == 1:
                self.dots(part, style, 2.5)

    def dots(self, points: Points, style: str, radius: float) -> None:
        """Adds a dot at each point that is finite."""
        for x, y in (point for part in _finite_parts(points) for point in part):
            self._parts.append(tag("circle", class_=f"dot {style}", cx=self._px(x), cy=self._py(y), r=radius))

    def bar(self, low: float, high: float, value: float, style: str, name: str) -> None:
        """Adds a bar from `low` to `high` on the x axis."""
        left, right, top, bottom = self._px(low), self._px(high), self._py(value), self._py(self._y[0])
        size = {"width": max(0.5, right - left - 1), "height": max(0.0, bottom - top)}
        self._parts.append(tag("rect", _title(name), class_=f"bar {style}", x=left, y=top, **size))

    def vertical(self, x: float, name: str) -> None:
        """Adds a marked place on the x axis."""
        place = self._px(x)
        self._parts.append(tag("line", _title(name), class_="mark", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM))

    def svg(self) -> Markup:
        """Returns the element."""
        return element(self._label, WIDTH, HEIGHT, self._parts)

    def _axes(self, x_name: str, y_name: str, whole_x: bool) -> None:
        bottom, right, add = HEIGHT - BOTTOM, WIDTH - RIGHT, self._parts.append
        for value in ticks(*self._y):
            place = self._py(value)
            add(tag("line", class_="grid", x1=LEFT, x2=right, y1=place, y2=place))
            add(text_element(LEFT - 6, place + 4, tick_text(value), anchor="end"))
        for value in ticks(*self._x):
            if not whole_x or value == int(value):
                add(text_element(self._px(value), bottom + 16, tick_text(value)))
        add(tag("line", class_="axis", x1=LEFT, x2=right, y1=bottom, y2=bottom))
        add(text_element((LEFT + right) / 2, HEIGHT - 5, x_name))
        if y_name:
            turned = f"translate(11 {(TOP + bottom) / 2:.0f}) rotate(-90)"
            add(tag("text", y_name, text_anchor="middle", transform=turned))

    def _px(self, value: float) -> float:
        return LEFT + (value - self._x[0]) / (self._x[1] - self._x[0]) * (WIDTH - LEFT - RIGHT)

    def _py(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self._y[0]) / (self._y[1] - self._y[0]) * (HEIGHT - TOP - BOTTOM)


def element(label: str, width: float, height: float, parts: Iterable[Markup], style: str = "chart") -> Markup:
    """Returns an SVG element with a label that is read aloud."""
    fixed = {"width": width, "height": height} if style != "chart" else {}  # charts are as wide as their column
    size = f"0 0 {_text(width)} {_text(height)}"
    return tag("svg", Markup("").join(parts), class_=style, role="img", aria_label=label, viewBox=size, **fixed)


def text_element(x: float, y: float, text: str, style: str = "", anchor: str = "middle", title: str = "") -> Markup:
    """Returns a text, with a longer one that is shown where it is pointed at."""
    return tag("text", Markup("{}{}").format(text, _title(title)), class_=style, x=x, y=y, text_anchor=anchor)


def ticks(low: float, high: float) -> list[float]:
    """Returns round numbers within a range, at most one more than `TICKS`."""
    power = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10, 20) if (high - low) / (power * factor) <= TICKS)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """Returns a number at an axis, in at most 7 characters."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:,.6g}" if abs(value) >= 10_000 else f"{value:.4g}"


def widened(limits: tuple[float, float]) -> tuple[float, float]:
    """Returns a range that is not empty, and can be divided."""
    low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low)):
        return 0.0, 1.0
    if high - low > 1e-9 * max(abs(low), abs(high), 1e-290):
        return low, high
    spread = abs(low) * 0.1 if abs(low) > 1e-290 else 1.0
    return low - spread, high + spread


def range_of(values: Iterable[float], pad: float = 0.05) -> tuple[float, float]:
    """Returns the range of the finite values, with some space around it; 0 to 1 if there are none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = widened((min(known), max(known)))
    return low - pad * (high - low), high + pad * (high - low)


def _finite_parts(points: Points) -> list[list[tuple[float, float]]]:
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _title(text: str) -> Markup:
    return tag("title", text) if text else Markup("")


def _text(value: object) -> str:
    """Returns the value of an attribute: numbers have one decimal at most."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)
