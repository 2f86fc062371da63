"""A million file names in two arrays instead of a million Python strings."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


class Names:
    """An immutable list of byte strings in one buffer.

    Python strings cost about 90 bytes each and are copied into every worker as their reference
    counts are touched; one buffer costs its text and is shared.

    Args:
        buffer: all the text.
        start, stop: (N,) int64, where each entry lies in it.
    """

    def __init__(self, buffer: bytes, start: np.ndarray, stop: np.ndarray) -> None:
        self._buffer, self._start, self._stop = buffer, start, stop

    @classmethod
    def of(cls, items: Iterable[str | bytes]) -> Names:
        """Pack strings, or bytes as they are."""
        encoded = [
            item.encode(errors="surrogateescape") if isinstance(item, str) else item
            for item in items
        ]
        stop = np.cumsum([len(item) for item in encoded], dtype=np.int64)
        return cls(b"".join(encoded), np.concatenate(([0], stop[:-1])).astype(np.int64), stop)

    @classmethod
    def lines(cls, text: bytes) -> Names:
        """The lines of a text without their ends, surrounding blanks cut, empty ones dropped."""
        codes = np.frombuffer(text, dtype=np.uint8)
        stop = np.flatnonzero(codes == ord("\n")).astype(np.int64)
        if len(codes) and (not len(stop) or stop[-1] != len(codes) - 1):
            stop = np.append(stop, len(codes))
        start = np.concatenate(([0], stop[:-1] + 1)).astype(np.int64)[: len(stop)]
        blank = np.array([ord(c) for c in " \t\r"])
        # a few rounds, each over the lines that still have a blank at that end
        for edge, step in ((start, 1), (stop, -1)):
            active = np.flatnonzero(stop > start)
            while len(active):
                at = edge[active] if step == 1 else edge[active] - 1
                active = active[np.isin(codes[at], blank)]
                edge[active] += step
                active = active[stop[active] > start[active]]
        keep = stop > start
        return cls(text, start[keep], stop[keep])

    def __len__(self) -> int:
        return len(self._stop)

    def raw(self, index: int) -> bytes:
        """Entry ``index`` as bytes."""
        return self._buffer[self._start[index] : self._stop[index]]

    def __getitem__(self, index: int) -> str:
        return self.raw(index).decode(errors="surrogateescape")

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return len(self._buffer) + self._start.nbytes + self._stop.nbytes

    def digest(self) -> str:
        """A hash of all entries in order."""
        state = blake2b((self._stop - self._start).tobytes(), digest_size=16)
        state.update(self._buffer)
        return state.hexdigest()
