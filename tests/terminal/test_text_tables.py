"""Tables of text and byte sizes."""

import pytest

from tfloop_cli.terminal.tables import aligned, byte_size


def test_columns_are_aligned_by_width_on_screen() -> None:
    rows = [["class", "recall"], ["猫", "0.5"], ["cafe\u0301", "1.0"]]  # a wide and a combining character
    assert aligned(rows, left=1) == ["class  recall", "猫        0.5", "cafe\u0301      1.0"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (3 * 2**40, "3,072.0 GiB")],
)
def test_byte_size(count: int, text: str) -> None:
    assert byte_size(count) == text
