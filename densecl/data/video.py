"""Clips out of folders of frames."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from densecl.data.base import ImageDataset, fingerprint_files, require_folder
from densecl.data.decode import IMAGE_EXTENSIONS, read_rgb
from densecl.data.folder import no_images, scan
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS


@DATASETS.register_module()
class VideoFrames(ImageDataset):
    """Every clip of ``clip_length`` frames, ``gap`` apart, that a folder of frames holds.

    Each folder with images in it is one video. Frames are ordered by name with numbers compared
    as numbers (frame2 before frame10). Sample i is a fixed clip, so an epoch sees each once.

    Args:
        root: folder of folders of frames.
        gap: frames from one frame of a clip to the next.
        clip_length: frames per clip.
        stride: frames from the start of one clip to the start of the next.
        extensions: file endings that count as frames.
        on_error: "raise" or "skip", see ``ImageDataset``.

    Raises:
        UsageError: no such folder, no frames, or no video long enough.
    """

    def __init__(
        self,
        root: str | Path,
        gap: int = 1,
        clip_length: int = 2,
        stride: int = 1,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        on_error: str = "raise",
    ) -> None:
        for setting, value in (("gap", gap), ("clip_length", clip_length), ("stride", stride)):
            if value < 1:
                raise UsageError(f"data.{setting}={value!r}", needed="1 or more")
        self.root = require_folder(root, "data.root")
        files = scan(self.root, extensions)
        if not files:
            raise no_images(self.root, extensions)
        files.sort(key=lambda file: (str(Path(file).parent), _natural(Path(file).name)))
        videos = groupby(files, key=lambda file: str(Path(file).parent))
        lengths = [len(list(frames)) for _, frames in videos]
        span = (clip_length - 1) * gap
        starts, first = [], 0
        for length in lengths:
            starts.append(first + np.arange(0, max(0, length - span), stride))
            first += length
        self._starts = np.concatenate(starts).astype(np.int64)
        if not len(self._starts):
            raise UsageError(
                f"the longest video in {self.root} has {max(lengths)} frames",
                needed=f"{span + 1} frames for {clip_length} frames {gap} apart",
                fix="lower data.gap or data.clip_length",
            )
        self._names = Names.of(files)
        self.gap, self.clip_length, self.stride = gap, clip_length, stride
        super().__init__(len(self._starts), on_error)

    def name(self, index: int) -> str:
        """Path of a clip's first frame."""
        return self._names[int(self._starts[index])]

    def load(self, index: int) -> Sample:
        """Read one clip."""
        start = int(self._starts[index])
        paths = [self.root / self._names[start + t * self.gap] for t in range(self.clip_length)]
        frames = tuple(Frame(read_rgb(path)) for path in paths)
        return Sample(frames, source=index, name=self.name(index))

    def fingerprint(self) -> str:
        """Hash of the names, of some file sizes and of how clips are cut."""
        settings = (self.gap, self.clip_length, self.stride)
        return fingerprint_files(self.root, self._names, settings)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts)
