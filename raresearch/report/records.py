"""TensorBoard's record format for many events at once: the bytes of its `RecordWriter`, whose checksums go byte by byte in Python.

A record is its length (8 bytes, little-endian), the masked CRC-32C of that, the event, and the masked CRC-32C of the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from raresearch.types import Array

POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed (RFC 3720, appendix B.4)
MASK = 0xA282EAD8  # TensorFlow's `crc32c::Mask`: a checksum is stored turned by 15 bits, with this added


def records(events: Sequence[bytes]) -> bytes:
    """``events``, of at least 4 bytes each, as records in their order. For short ones: a kilobyte of memory a byte of an event."""
    parts: list[bytes] = [b""] * len(events)
    for length in {len(event) for event in events}:
        numbers = [n for n, event in enumerate(events) if len(event) == length]
        bytes_NL = np.frombuffer(b"".join(events[n] for n in numbers), np.uint8).reshape(-1, length)
        head = length.to_bytes(8, "little")
        head += _masked(np.frombuffer(head, np.uint8)[None]).tobytes()
        sums = _masked(bytes_NL).tobytes()
        for place, number in enumerate(numbers):
            parts[number] = head + events[number] + sums[4 * place : 4 * place + 4]
    return b"".join(parts)


def _masked(bytes_NL: Array) -> Array:
    """(N,) masked checksums of rows of L >= 4 bytes.

    The checksum is linear over exclusive or: that of a row is the exclusive or of what each byte adds at its distance from the end.
    It begins with 32 ones, which is the same as turning over the first 32 bits of the row.
    """
    turned = bytes_NL.copy()
    turned[:, :4] ^= 0xFF
    length = turned.shape[1]
    crc = ~np.bitwise_xor.reduce(_table(length)[np.arange(length), turned], axis=1)
    return np.asarray(((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(MASK), dtype="<u4")


@lru_cache(maxsize=16)
def _table(length: int) -> Array:
    """(L, 256) what a byte adds to the checksum at each of ``length`` places."""
    byte = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        byte = np.where(byte & 1, (byte >> np.uint32(1)) ^ np.uint32(POLYNOMIAL), byte >> np.uint32(1))
    rows = [byte]
    for _ in range(length - 1):
        rows.append((rows[-1] >> np.uint32(8)) ^ byte[rows[-1] & np.uint32(0xFF)])
    return np.stack(rows[::-1])
