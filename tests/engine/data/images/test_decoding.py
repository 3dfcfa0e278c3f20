"""Pixels of image files in every format, as they are displayed, and how they are resized."""

import base64
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfloop_cli.engine.data.images import decoding, pixels
from tfloop_cli.engine.data.images.decoding import Background, Decoder, Fit
from tfloop_cli.engine.data.images.formats import describe, format_of
from tfloop_cli.engine.data.images.pixels import oriented
from tfloop_cli.engine.data.images.sizes import survey

# Files that Pillow 13 has written; TensorFlow does not write these formats.
CMYK_JPEG = (  # 8x8, red
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAbEhQXFBEbFxYXHhwbIChCKyglJShROj0wQmBVZWRfVV1baniZgWpxkHNbXYW1hpCeo6utq2eAvMm6pseZ"
    "qKuk/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAE"
    "EQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6"
    "g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkA"
    "SwAAPwDpq5muZrpq/9k="
)
ALPHA_WEBP = "UklGRjIAAABXRUJQVlA4TCYAAAAvA4AAEBcw/wKCIv9HExAU+T+agKDouuWCuScoBBAARZRNRP9jAA=="
TURNED_WEBP = (
    "UklGRlYAAABXRUJQVlA4WAoAAAAIAAAAAwAAAQAAVlA4TBYAAAAvA0AAAA9wCqgr+J7CY/6DBxMQ0f8IRVhJRhoAAABNTQAqAAAACAABARIAAwAA"
    "AAEABgAAAAAAAA=="
)
ANIMATED_WEBP = (
    "UklGRoIAAABXRUJQVlA4WAoAAAACAAAAAwAAAwAAQU5JTQYAAAAAAAAAAABBTk1GJgAAAAAAAAAAAAMAAAMAAAAAAAJWUDhMDgAAAC8DwAAABxAR"
    "/Q9ERP8DQU5NRigAAAAAAAAAAAADAAADAAAAAAAAVlA4TA8AAAAvA8AAAAcQJYv+ByKi/wEA"
)
GIF = "R0lGODlhAwACAIEAAP8AAAD/AAAA/wkJCSH5BAEAAAEALAAAAAADAAIAAAgJAAEEEDAgAICAADs="  # green is transparent
RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]
EXIF = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6
ASYMMETRIC = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2) * 40


def png(rows: list[bytes], width: int, bits: int, color: int, **chunks: bytes) -> bytes:
    """Returns a PNG file; `chunks` come before the pixels."""
    content = {"IHDR": struct.pack(">IIBBBBB", width, len(rows), bits, color, 0, 0, 0), **chunks}
    content["IDAT"] = zlib.compress(b"".join(b"\0" + row for row in rows))
    content["IEND"] = b""
    parts = (
        struct.pack(">I", len(data)) + name.encode() + data + struct.pack(">I", zlib.crc32(name.encode() + data))
        for name, data in content.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bmp(rows: list[bytes], width: int, height: int, bits: int, palette: list[list[int]]) -> bytes:
    colors = b"".join(bytes([*color[::-1], 0]) for color in palette)
    padded = b"".join(row.ljust((width * bits + 31) // 32 * 4, b"\0") for row in rows)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, len(palette), 0)
    start = 14 + 40 + len(colors)
    return struct.pack("<2sIII", b"BM", start + len(padded), 0, start) + header + colors + padded


def decode(
    content: bytes, path: Path, size: tuple[int, int], channels: int = 3, fit: Fit = "pad",
    background: Background = "white", max16: int = 65535,
) -> np.ndarray:  # fmt: skip
    (path / "image").write_bytes(content)
    return Decoder((*size, channels), fit, background, max16).decode(str(path / "image"))


def jpeg_with_orientation(value: int) -> bytes:
    """Returns a JPEG of 16x8 whose left half is white, with that EXIF orientation."""
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, :8] = 255
    plain = tf.io.encode_jpeg(image, quality=100).numpy()
    exif = b"Exif\0\0" + struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, value, 0, 0)
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]


@pytest.mark.parametrize(
    ("orientation", "size", "white"),
    [
        (1, (8, 16), np.s_[:, :8]),
        (2, (8, 16), np.s_[:, 8:]),
        (3, (8, 16), np.s_[:, 8:]),
        (4, (8, 16), np.s_[:, :8]),
        (5, (16, 8), np.s_[:8]),
        (6, (16, 8), np.s_[:8]),
        (7, (16, 8), np.s_[8:]),
        (8, (16, 8), np.s_[8:]),
    ],
)
def test_orientation_of_jpeg_is_applied(tmp_path: Path, orientation: int, size: tuple, white: tuple) -> None:
    content = jpeg_with_orientation(orientation)
    expected = np.zeros((*size, 1), np.uint8)
    expected[white] = 255
    assert np.abs(decode(content, tmp_path, size, 1).astype(int) - expected).max() <= 3
    (tmp_path / "image").rename(tmp_path / "image.jpg")
    assert survey([str(tmp_path / "image.jpg")]).size == size


def test_orientations_are_those_of_exif() -> None:
    image = np.array([[1, 2], [3, 4]])[..., None]
    found = [oriented(image, orientation)[..., 0].tolist() for orientation in range(1, 9)]
    assert found == [
        [[1, 2], [3, 4]], [[2, 1], [4, 3]], [[4, 3], [2, 1]], [[3, 4], [1, 2]],
        [[1, 3], [2, 4]], [[3, 1], [4, 2]], [[4, 2], [3, 1]], [[2, 4], [1, 3]],
    ]  # fmt: skip


def test_orientation_of_png_and_webp_is_applied(tmp_path: Path) -> None:
    content = png([bytes(row) for row in ASYMMETRIC[..., 0]], 3, 8, 0, eXIf=EXIF)
    assert decode(content, tmp_path, (3, 2), 1)[..., 0].tolist() == [[120, 0], [160, 40], [200, 80]]
    turned = decode(base64.b64decode(TURNED_WEBP), tmp_path, (4, 2))
    assert turned[0].tolist() == [[10, 20, 30], [200, 100, 50]]


def test_transparent_pixels_are_composed_over_the_background(tmp_path: Path) -> None:
    rgba = png([bytes([255, 0, 0, 255, 255, 0, 0, 0, 255, 0, 0, 51])], 3, 8, 6)
    assert decode(rgba, tmp_path, (1, 3)).tolist() == [[RED, WHITE, [255, 204, 204]]]
    assert decode(rgba, tmp_path, (1, 3), background="black").tolist() == [[RED, [0, 0, 0], [51, 0, 0]]]
    gray = png([bytes([100, 255, 100, 0])], 2, 8, 4)
    assert decode(gray, tmp_path, (1, 2), 1).tolist() == [[[100], [255]]]
    palette = png([bytes([0, 1])], 2, 8, 3, PLTE=bytes(RED + GREEN), tRNS=bytes([255, 0]))
    assert decode(palette, tmp_path, (1, 2)).tolist() == [[RED, WHITE]]
    key = png([bytes(RED + BLUE)], 2, 8, 2, tRNS=struct.pack(">HHH", 0, 0, 255))
    assert decode(key, tmp_path, (1, 2)).tolist() == [[RED, WHITE]]
    webp = decode(base64.b64decode(ALPHA_WEBP), tmp_path, (3, 4))
    assert webp[0].tolist() == [WHITE, [127, 255, 127], RED, RED]
    gif = decode(base64.b64decode(GIF), tmp_path, (2, 3))
    assert gif.tolist() == [[RED, WHITE, BLUE], [[9, 9, 9], WHITE, RED]]


def test_palettes_are_colors(tmp_path: Path) -> None:
    plain = png([bytes([0b01_00_10_00])], 3, 2, 3, PLTE=bytes(RED + GREEN + BLUE))
    assert decode(plain, tmp_path, (1, 3)).tolist() == [[GREEN, RED, BLUE]]
    for bits, row in ((8, bytes([1, 0, 2])), (4, bytes([0x10, 0x20]))):
        bottom_up = bmp([row, bytes(len(row))], 3, 2, bits, [RED, GREEN, BLUE])
        assert decode(bottom_up, tmp_path, (2, 3)).tolist() == [[RED] * 3, [GREEN, RED, BLUE]]
        top_down = bmp([row], 3, -1, bits, [RED, GREEN, BLUE])
        assert decode(top_down, tmp_path, (1, 3)).tolist() == [[GREEN, RED, BLUE]]


def test_fourth_byte_of_bmp_is_no_alpha(tmp_path: Path) -> None:
    content = bmp([bytes([0, 0, 255, 0, 255, 0, 0, 0])], 2, 1, 32, [])
    assert decode(content, tmp_path, (1, 2)).tolist() == [[RED, BLUE]]


def test_cmyk_is_converted(tmp_path: Path) -> None:
    content = base64.b64decode(CMYK_JPEG)
    assert np.abs(decode(content, tmp_path, (8, 8)).astype(int) - RED).max() <= 2
    assert np.abs(decode(content, tmp_path, (8, 8), 1).astype(int) - 76).max() <= 2


def test_16_bit_images_keep_their_range(tmp_path: Path) -> None:
    """12 bits of 16 are usual. The same divisor holds for all images of a set, so that they stay comparable."""
    for name, values in (("a", [0, 1000, 4000]), ("b", [0, 500, 2000])):
        content = png([np.array(values, ">u2").tobytes()], 3, 16, 0)
        (tmp_path / name).write_bytes(content)
    found = survey([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (found.max16, found.size) == (4095, (1, 3))
    assert decode(content, tmp_path, (1, 3), 1, max16=4095)[0, :, 0].tolist() == [0, 31, 125]
    assert decode(content, tmp_path, (1, 3), 1)[0, :, 0].tolist() == [0, 2, 8]
    rgba = png([np.array([4095, 0, 0, 65535, 0, 0, 0, 0], ">u2").tobytes()], 2, 16, 6)
    assert decode(rgba, tmp_path, (1, 2), max16=4095).tolist() == [[RED, WHITE]]


def test_formats_are_found_by_content() -> None:
    heads = {
        "tiff": b"II*\0" + bytes(8), "avif": b"\0\0\0\x1cftypavif", "heic": b"\0\0\0\x18ftypheic",
        "webp": base64.b64decode(ALPHA_WEBP), "gif": base64.b64decode(GIF), "jpeg": base64.b64decode(CMYK_JPEG),
    }  # fmt: skip
    assert {name: format_of(head) for name, head in heads.items()} == {name: name for name in heads}
    assert format_of(b"P5\n# by hand\n2 1\n255\n\0\xff") == "pnm"
    assert format_of(b"\0\0\1\0\1\0") == "ico"
    assert format_of(b"no image") is None
    assert format_of(b"P1 is the first point") is None
    assert describe(b"\x89PNG\r\n\x1a\n") is None


@pytest.mark.parametrize(
    ("content", "package"),
    [
        (b"II*\0" + bytes(8), "pip install pillow`"),
        (b"\0\0\0\x1cftypavif" + bytes(8), "pip install pillow`"),
        (b"\0\0\0\x18ftypheic" + bytes(8), "pip install pillow pillow-heif`"),
        (base64.b64decode(ANIMATED_WEBP), "pip install pillow`"),
    ],
)
def test_format_that_needs_pillow_names_the_command(tmp_path: Path, monkeypatch, content: bytes, package: str) -> None:
    monkeypatch.setattr(pixels, "Image", None)
    (tmp_path / "image").write_bytes(content)
    failure = Decoder((1, 1, 3)).failure([str(tmp_path / "image")])
    assert "this image cannot be used: TensorFlow cannot decode " in str(failure)
    assert package in str(failure)


def test_tiff_is_decoded_by_pillow(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    deep = np.array([[0, 1000], [2000, 4095]], np.uint16)
    image.fromarray(deep).save(tmp_path / "deep.tif")
    found = survey([str(tmp_path / "deep.tif")])
    assert (found.size, found.max16) == ((2, 2), 4095)
    content = (tmp_path / "deep.tif").read_bytes()
    assert decode(content, tmp_path, (2, 2), 1, max16=4095)[..., 0].tolist() == [[0, 62], [125, 255]]


def test_pgm_is_decoded_by_pillow(tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    content = b"P5\n# by hand\n3 1\n255\n\0\x80\xff"
    (tmp_path / "a.pgm").write_bytes(content)
    assert survey([str(tmp_path / "a.pgm")]).size == (1, 3)
    assert decode(content, tmp_path, (1, 3))[0].tolist() == [[0] * 3, [128] * 3, [255] * 3]


# Sizes


def test_fit_keeps_the_aspect_ratio_unless_stretched(tmp_path: Path) -> None:
    wide = np.zeros((10, 20, 3), np.uint8)
    wide[:, 5:15] = 200
    content = tf.io.encode_png(wide).numpy()
    assert (decode(content, tmp_path, (10, 10), fit="crop") == 200).all()
    padded = decode(content, tmp_path, (20, 20), fit="pad", background="gray")
    assert (padded[:5] == 128).all()
    assert (padded[15:] == 128).all()
    np.testing.assert_array_equal(padded[5:15], wide)
    stretched = decode(content, tmp_path, (10, 10), fit="stretch")
    assert stretched[:, 4:6].min() == 200
    assert stretched[:, 0].max() == 0


@pytest.mark.parametrize(
    ("color", "alpha", "background"),
    [(WHITE, 0, "black"), (WHITE, 255, "white"), (RED, 0, "white"), ([240, 240, 240], 128, "black")],
)
def test_white_drawings_on_transparent_pixels_have_a_black_background(
    tmp_path: Path, color: list[int], alpha: int, background: str
) -> None:
    pixels = np.full((8, 8, 4), [*color, 255], np.uint8)
    pixels[2:, :, 3] = alpha  # opaque images keep white borders
    (tmp_path / "image").write_bytes(tf.io.encode_png(pixels).numpy())
    assert survey([str(tmp_path / "image")]).background == background


def test_extreme_aspect_ratios_are_resized(tmp_path: Path) -> None:
    content = tf.io.encode_png(np.zeros((1, 300, 3), np.uint8)).numpy()
    for fit in ("crop", "pad", "stretch"):
        assert decode(content, tmp_path, (7, 5), fit=fit).shape == (7, 5, 3)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_images_of_a_block_equal_those_decoded_alone(tmp_path: Path, fit: str, monkeypatch) -> None:
    """Those of one size are resized together."""
    random, paths = np.random.default_rng(0), []
    for number, shape in enumerate([(9, 12, 3), (20, 11, 3), (6, 7, 3), (9, 12, 3), (20, 11, 3), (9, 12, 3)]):
        paths.append(str(tmp_path / f"{number}.png"))
        Path(paths[-1]).write_bytes(tf.io.encode_png(random.integers(0, 256, shape, np.uint8)).numpy())
    Path(paths[4]).write_bytes(b"no image")
    decoder = Decoder((6, 7, 3), fit)
    valid = [0, 1, 2, 3, 5]
    expected = np.stack([decoder.decode(paths[number]) for number in valid])
    for waiting in (2**20, 700):  # bytes: all images, or two
        monkeypatch.setattr(decoding, "MAX_WAITING", waiting)
        ((found, hashes),) = decoder.blocks(paths, skip=True)
        np.testing.assert_array_equal(found[valid], expected)
        assert hashes.astype(bool).tolist() == [True, True, True, True, False, True]
        assert not found[4].any()


def write_sizes(folder: Path, *sizes: tuple[int, int]) -> list[str]:
    for number, (height, width) in enumerate(sizes):
        (folder / str(number)).write_bytes(tf.io.encode_png(np.zeros((height, width, 1), np.uint8)).numpy())
    return [str(folder / str(number)) for number in range(len(sizes))]


@pytest.mark.parametrize(
    ("sizes", "size", "about"),
    [
        ([(28, 30)] * 2, (28, 30), "the size of the images"),
        ([(20, 40), (30, 50), (90, 60)], (30, 50), "the medians of 3 training images from 20x40 to 90x60"),
        ([(256, 512)], (64, 128), "the images have 256x512, scaled down to a side of 128"),
        ([(100, 1000)], (32, 320), "the images have 100x1000, scaled down to 10,240 pixels"),  # not to 13x128
        ([(1600, 12)], (1478, 11), "the images have 1600x12, scaled down to 16,258 pixels"),
        ([(10, 1200)], (10, 1200), "the size of the images"),
    ],
)
def test_auto_size_is_that_of_the_images_or_the_medians(tmp_path: Path, sizes: list, size: tuple, about: str) -> None:
    found = survey(write_sizes(tmp_path, *sizes))
    assert (found.size, found.about) == (size, about)
