"""ScanNet's recordings: ``.sens`` files of version 4, read frame by frame."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from densecl.data.decode import UnreadableFileError, decode_rgb

_VERSION = 4
_FRAME = struct.Struct("<16f4Q")
_COLOUR_CODECS = {0: "raw", 1: "png", 2: "jpeg"}
_DEPTH_CODECS = {0: "raw_ushort", 1: "zlib_ushort"}


class SensFile:
    """A recording; opening it reads the headers of its frames, not their pictures.

    Args:
        path: the ``.sens`` file.

    Attributes:
        sensor: name of the sensor.
        colour_intrinsics, depth_intrinsics: (4, 4) float32, pixel centres are whole numbers.
        colour_extrinsics, depth_extrinsics: (4, 4) float32.
        colour_size, depth_size: (H, W).
        depth_shift: depth values per metre.
        poses: (F, 4, 4) float32 camera -> world; not finite where tracking was lost.
        timestamps: (F, 2) uint64 microseconds of colour and depth, 0 = not recorded.

    Raises:
        UnreadableFileError: missing, truncated, of another version, or with a codec that is not
            read.

    Source: Dai et al. 2017 (ScanNet), its SensReader.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                self._read_header(file)
                self._index(file, self.path.stat().st_size)
        except OSError as error:
            raise UnreadableFileError(path, error.strerror or str(error)) from error

    def __len__(self) -> int:
        return len(self.poses)

    def colour(self, frame: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a frame.

        Raises:
            UnreadableFileError: it cannot be decoded, or has another size.
        """
        data = self._blob(frame, 0)
        name = f"{self.path}, frame {frame}"
        if self._colour_codec:
            image = decode_rgb(data, name)
        elif len(data) == 3 * self.colour_size[0] * self.colour_size[1]:
            image = np.frombuffer(data, np.uint8).reshape(*self.colour_size, 3)
        else:
            raise UnreadableFileError(name, f"{len(data)} bytes of colour for {self.colour_size}")
        if image.shape[:2] != self.colour_size:
            raise UnreadableFileError(name, f"a picture of {image.shape[:2]}: {self.colour_size}")
        return image

    def depth(self, frame: int) -> np.ndarray:
        """(H, W) uint16 of a frame, ``depth_shift`` values per metre, 0 = none.

        Raises:
            UnreadableFileError: it cannot be unpacked, or has another size.
        """
        data = self._blob(frame, 1)
        name = f"{self.path}, frame {frame}"
        if self._depth_codec:
            try:
                data = zlib.decompress(data)
            except zlib.error as error:
                raise UnreadableFileError(name, f"damaged depth ({error})") from error
        if len(data) != 2 * self.depth_size[0] * self.depth_size[1]:
            raise UnreadableFileError(name, f"{len(data)} bytes of depth for {self.depth_size}")
        return np.frombuffer(data, "<u2").reshape(self.depth_size)

    def _read_header(self, file: BinaryIO) -> None:
        (version,) = self._unpack(file, "<I")
        if version != _VERSION:
            raise UnreadableFileError(
                self.path, f"version {version} of the .sens format; only {_VERSION} is read"
            )
        (length,) = self._unpack(file, "<Q")
        self.sensor = self._take(file, min(length, 1 << 16)).decode("utf-8", errors="replace")
        matrices = np.array(self._unpack(file, "<64f"), np.float32).reshape(4, 4, 4)
        self.colour_intrinsics, self.colour_extrinsics = matrices[0], matrices[1]
        self.depth_intrinsics, self.depth_extrinsics = matrices[2], matrices[3]
        self._colour_codec, self._depth_codec = self._unpack(file, "<2i")
        if self._colour_codec not in _COLOUR_CODECS or self._depth_codec not in _DEPTH_CODECS:
            raise UnreadableFileError(
                self.path,
                f"codecs {self._colour_codec} of colour and {self._depth_codec} of depth; read are "
                f"{_COLOUR_CODECS} and {_DEPTH_CODECS}",
            )
        colour_w, colour_h, depth_w, depth_h = self._unpack(file, "<4I")
        self.colour_size, self.depth_size = (colour_h, colour_w), (depth_h, depth_w)
        (self.depth_shift,) = self._unpack(file, "<f")
        if not self.depth_shift > 0:
            raise UnreadableFileError(self.path, f"depth_shift is {self.depth_shift}")

    def _index(self, file: BinaryIO, size: int) -> None:
        (frames,) = self._unpack(file, "<Q")
        if frames * _FRAME.size > size:
            raise UnreadableFileError(self.path, f"truncated: {size} bytes for {frames} frames")
        self.poses = np.empty((frames, 4, 4), np.float32)
        self.timestamps = np.empty((frames, 2), np.uint64)
        self._start = np.empty((frames, 2), np.int64)
        self._bytes = np.empty((frames, 2), np.int64)
        at = file.tell()
        for frame in range(frames):
            file.seek(at)
            head = file.read(_FRAME.size)
            values = _FRAME.unpack(head) if len(head) == _FRAME.size else (0,) * 20
            end = at + _FRAME.size + values[18] + values[19]
            if len(head) < _FRAME.size or end > size:
                raise UnreadableFileError(self.path, f"truncated in frame {frame} of {frames}")
            self.poses[frame] = np.reshape(values[:16], (4, 4))
            self.timestamps[frame] = values[16:18]
            self._start[frame] = at + _FRAME.size, at + _FRAME.size + values[18]
            self._bytes[frame] = values[18:]
            at = end

    def _blob(self, frame: int, which: int) -> bytes:
        if not 0 <= frame < len(self):
            raise IndexError(f"frame {frame} of {len(self)}")
        try:
            with self.path.open("rb") as file:
                file.seek(int(self._start[frame, which]))
                return self._take(file, int(self._bytes[frame, which]))
        except OSError as error:
            raise UnreadableFileError(self.path, error.strerror or str(error)) from error

    def _unpack(self, file: BinaryIO, layout: str) -> tuple:
        return struct.unpack(layout, self._take(file, struct.calcsize(layout)))

    def _take(self, file: BinaryIO, count: int) -> bytes:
        data = file.read(count)
        if len(data) < count:
            raise UnreadableFileError(self.path, f"truncated at byte {file.tell()}")
        return data
