"""TensorBoard's event files, without TensorFlow: records of protocol buffers, each with two checksums (CRC-32C).

Sources in TensorFlow: core/lib/io/record_writer.cc, core/util/event.proto, core/framework/summary.proto.
"""

import struct
from collections.abc import Mapping

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reversed
_TABLE: list[int] = []
_STRING = 7  # DT_STRING


def record(event: bytes) -> bytes:
    """Returns a record of an event file: length, checksum of the length, event, checksum of the event."""
    length = struct.pack("<Q", len(event))
    return length + _masked_crc(length) + event + _masked_crc(event)


def version_event(time: float) -> bytes:
    """Returns the first event of a file."""
    return _double(1, time) + _field(3, b"brain.Event:2")


def scalars_event(time: float, step: int, scalars: Mapping[str, float]) -> bytes:
    """Returns an event with a number per tag, which the file keeps as float32."""
    values = [_field(1, _field(1, tag.encode()) + _float(2, value)) for tag, value in scalars.items()]
    return _double(1, time) + _integer(2, step) + _field(5, b"".join(values))


def text_event(time: float, tag: str, text: str) -> bytes:
    """Returns an event with a text (Markdown) at step 0."""
    tensor = _integer(1, _STRING) + _field(2, _field(2, _integer(1, 1))) + _field(8, text.encode())
    metadata = _field(1, _field(1, b"text"))
    return _double(1, time) + _field(5, _field(1, _field(1, tag.encode()) + _field(8, tensor) + _field(9, metadata)))


def _masked_crc(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    table = _table()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _table() -> list[int]:
    for byte in range(256) if not _TABLE else ():
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        _TABLE.append(crc)
    return _TABLE


# The wire format of protocol buffers: a key (number and type of the field), then the value.


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    try:
        packed = struct.pack("<f", value)
    except OverflowError:  # beyond float32
        packed = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return _varint(number << 3 | 5) + packed


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value
