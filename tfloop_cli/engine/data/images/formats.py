"""Reads the first bytes of an image file: its format, size, channels and orientation.

TensorFlow decodes most files correctly as they are. It ignores the orientation of cameras (EXIF), transparency and the
palettes of BMP files, and it cannot decode TIFF, AVIF, HEIC, PNM and ICO; `ImageInfo.plain` is false for all of these.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEAD_BYTES = 64 * 2**10  # of a file, which nearly always have all that `describe` needs
_BRANDS = {
    b"avif": "avif", b"avis": "avif", b"heic": "heic", b"heix": "heic", b"hevc": "heic", b"heim": "heic",
    b"heis": "heic", b"mif1": "heic", b"msf1": "heic",
}  # fmt: skip
PILLOW_FORMATS = ("tiff", "avif", "heic", "pnm", "ico")  # which TensorFlow cannot decode
_PNM_HEADER = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s")  # a text may begin with "P1 "
_ORIENTATION = 0x0112  # the number of the EXIF tag


@dataclass(frozen=True)
class ImageInfo:
    """A description of an image file.

    Attributes:
        format: png, jpeg, webp, bmp, gif, tiff, avif, heic, pnm or ico.
        height, width: of the image as it is displayed, in pixels; 0 if they are unknown.
        plain: whether TensorFlow decodes the file to the pixels as they are displayed, whatever the channels.
        bits: per channel.
        alpha: whether pixels may be transparent.
        orientation: as in EXIF: 1 to 8; 1 changes nothing.
    """

    format: str
    height: int = 0
    width: int = 0
    plain: bool = False
    bits: int = 8
    alpha: bool = False
    orientation: int = 1


def format_of(head: bytes) -> str | None:
    """Returns the format of a file by its first bytes; None for no image."""
    for magic, name in ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp")):
        if head.startswith(magic):
            return name
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if head[:4] == b"\0\0\1\0":
        return "ico"
    if _PNM_HEADER.match(head):
        return "pnm"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


def describe(content: bytes) -> ImageInfo | None:
    """Returns a description of an image file; None if it is no image, or damaged at the beginning.

    Args:
        content: of the file, or its beginning; EXIF data at the end of a file is missed then.
    """
    name = format_of(content)
    readers = {"png": _png, "jpeg": _jpeg, "webp": _webp, "bmp": _bmp, "gif": _gif}
    try:
        return readers[name](content) if name in readers else ImageInfo(name) if name else None
    except (struct.error, IndexError):
        return None


def orientation_of(exif: bytes) -> int:
    """Returns the orientation in EXIF data, 1 to 8; 1 if there is none."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    try:
        if order:
            (start,) = struct.unpack_from(f"{order}I", exif, 4)
            (count,) = struct.unpack_from(f"{order}H", exif, start)
            for number in range(count):
                tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
                if tag == _ORIENTATION:
                    return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _info(name: str, height: int, width: int, orientation: int, plain: bool, **more: int) -> ImageInfo:
    size = (width, height) if orientation > 4 else (height, width)  # 5 to 8 swap rows and columns
    return ImageInfo(name, *size, plain=plain and orientation == 1, orientation=orientation, **more)


def _png(content: bytes) -> ImageInfo:
    width, height, bits, color = struct.unpack_from(">IIBB", content, 16)
    alpha, orientation, place = bool(color & 4), 1, 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"tRNS":
            alpha = True
        elif kind == b"eXIf":
            orientation = orientation_of(content[place + 8 : place + 8 + length])
        place += 12 + length
    return _info("png", height, width, orientation, not alpha and bits < 16, bits=max(bits, 8), alpha=alpha)


def _jpeg(content: bytes) -> ImageInfo:
    orientation = 1
    for marker, start, length in _segments(content):
        if marker == 0xE1 and content[start : start + 6] == b"Exif\0\0":
            orientation = orientation_of(content[start : start + length])
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # the header of the frame
            height, width, channels = struct.unpack_from(">HHB", content, start + 1)
            return _info("jpeg", height, width, orientation, channels in (1, 3))
    return ImageInfo("jpeg")


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the marker, the start and the length of each segment of a JPEG before its pixels."""
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        yield marker, place + 4, length - 2
        place += 2 + length


def _webp(content: bytes) -> ImageInfo:
    kind = content[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return _info("webp", height & 0x3FFF, width & 0x3FFF, 1, True)
    if kind == b"VP8L":
        (packed,) = struct.unpack_from("<I", content, 21)
        alpha = bool(packed >> 28 & 1)
        return _info("webp", (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1, 1, not alpha, alpha=alpha)
    flags, sides = content[20], content[24:30] + b"\0"
    width, height = (int.from_bytes(sides[first : first + 3], "little") + 1 for first in (0, 3))
    orientation, place = 1, 12
    while place + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, place)
        if name == b"EXIF":
            orientation = orientation_of(content[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    if flags & 2:  # animated: only Pillow decodes the first frame
        return ImageInfo("webp (animated)", height, width)
    alpha = bool(flags & 16)
    return _info("webp", height, width, orientation, not alpha, alpha=alpha)


def _bmp(content: bytes) -> ImageInfo:
    if struct.unpack_from("<I", content, 14)[0] < 40:
        return ImageInfo("bmp (OS/2)")  # only Pillow decodes it
    width, height = struct.unpack_from("<ii", content, 18)
    bits, compression = struct.unpack_from("<HI", content, 28)
    return _info("bmp", abs(height), width, 1, bits == 24 and compression == 0)


def _gif(content: bytes) -> ImageInfo:
    width, height = struct.unpack_from("<HH", content, 6)
    transparent = transparency_of_gif(content) is not None
    return _info("gif", height, width, 1, not transparent, alpha=transparent)


def transparency_of_gif(content: bytes) -> tuple[int, int] | None:
    """Returns where the first frame says that it is transparent, and where its transparent color is; None if opaque."""
    place = 13 + _palette_bytes(content[10])
    while content[place] == 0x21:  # an extension
        if content[place + 1] == 0xF9 and content[place + 3] & 1:
            control, color = place + 3, content[place + 6]
            place = _after_blocks(content, place + 2)
            while content[place] == 0x21:
                place = _after_blocks(content, place + 2)
            local = content[place + 9]  # of the image descriptor
            start, flags = (place + 10, local) if local & 0x80 else (13, content[10])
            return (control, start + 3 * color) if 3 * color < _palette_bytes(flags) else None
        place = _after_blocks(content, place + 2)
    return None


def _palette_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, place: int) -> int:
    while content[place]:
        place += content[place] + 1
    return place + 1
