"""DAVIS: videos with a mask of every object in every frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from densecl.data.base import ImageDataset, fingerprint_files, require_file, require_folder
from densecl.data.decode import UnreadableFileError, read_ids, read_rgb
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS

BACKGROUND, VOID = -1, -2
"""Ids of ``maps["instance"]`` that are no object; what is void is not scored."""
_KINDS = ("JPEGImages", "Annotations")
_IMAGES, _MASKS = (".jpg", ".jpeg", ".png"), (".png",)


@DATASETS.register_module()
class Davis(ImageDataset):
    """Whole videos, one a sample, from folders laid out as DAVIS 2016 and 2017 are.

    ``JPEGImages/<sequence>/00000.jpg`` and ``Annotations/<sequence>/00000.png``, or both with a
    folder for the resolution in between. Each frame carries ``maps["instance"]``: (H, W) int64, -1
    background, -2 void, else the object's id in the file.

    Args:
        root: folder that holds ``JPEGImages`` and ``Annotations``.
        edition: "2017": indexed PNG, 0 is background, 255 void, every other value an object; gaps
            in the ids are fine. "2016": one object, wherever the mask is not 0.
        resolution: folder between ``JPEGImages`` and the sequences, such as "480p"; None = none.
        names: sequences to take, in that order: a list, or a file with one a line such as
            ``ImageSets/2017/val.txt``; None = all, sorted.
        frames: take the first so many frames of each sequence; None = all.
        on_error: "raise" or "skip", see ``ImageDataset``.

    Raises:
        UsageError: folders, sequences or masks that are not there; all before the first read.
    """

    def __init__(
        self,
        root: str | Path,
        edition: Literal["2017", "2016"] = "2017",
        resolution: str | None = None,
        names: str | Path | Sequence[str] | None = None,
        frames: int | None = None,
        on_error: str = "raise",
    ) -> None:
        if edition not in ("2016", "2017"):
            raise UsageError(f"data.edition={edition!r}", needed='"2016" or "2017"')
        if frames is not None and frames < 1:
            raise UsageError(f"data.frames={frames}", needed="1 or more, or None")
        self.root, self.edition = require_folder(root, "data.root"), edition
        self.resolution, self.frames = resolution, frames
        images, masks = (self.root / kind / (resolution or "") for kind in _KINDS)
        for folder in (images, masks):
            if not folder.is_dir():
                raise UsageError(
                    f"{folder} does not exist",
                    needed="JPEGImages and Annotations, each with a folder a sequence",
                    fix="set data.root to the folder that holds both, or correct data.resolution",
                )
        self.sequences = _sequences(images, names)
        files = [self._files(images, masks, sequence) for sequence in self.sequences]
        self._images = [Names.of(images) for images, _ in files]
        self._masks = [Names.of(masks) for _, masks in files]
        super().__init__(len(self.sequences), on_error)

    def name(self, index: int) -> str:
        """The sequence."""
        return self.sequences[index]

    def load(self, index: int) -> Sample:
        """Read one sequence.

        Raises:
            UnreadableFileError: a file cannot be read, is no mask, or has another size.
        """
        images, masks = self._images[index], self._masks[index]
        frames: list[Frame] = []
        for t in range(len(images)):
            image = read_rgb(self.root / images[t])
            ids = self._ids(self.root / masks[t])
            for shape, path in ((ids.shape, masks[t]), (image.shape[:2], images[t])):
                size = frames[0].image.shape[:2] if frames else image.shape[:2]
                if shape != size:
                    raise UnreadableFileError(
                        self.root / path,
                        f"{shape[1]} x {shape[0]} pixels, its sequence has {size[1]} x {size[0]}",
                    )
            frames.append(Frame(image, {"instance": ids}))
        return Sample(tuple(frames), source=index, name=self.name(index))

    def fingerprint(self) -> str:
        """Hash of the names, of some sizes of masks, and of the settings."""
        names = Names.of(f for group in self._masks for f in (group[t] for t in range(len(group))))
        settings = (self.edition, self.resolution, self.frames, [n.digest() for n in self._images])
        return fingerprint_files(self.root, names, settings)

    def _ids(self, path: Path) -> np.ndarray:
        values = read_ids(path)
        if values.ndim != 2:
            # an old export may hold a grey mask as three equal channels
            if self.edition == "2017" or (values != values[..., :1]).any():
                raise UnreadableFileError(path, "a mask in colours without a palette")
            values = values[..., 0]
        if self.edition == "2016":
            return np.where(values > 0, 1, BACKGROUND).astype(np.int64)
        ids = values.astype(np.int64)
        return np.where(ids == 0, BACKGROUND, np.where(ids == 255, VOID, ids))

    def _files(self, images: Path, masks: Path, sequence: str) -> tuple[list[str], list[str]]:
        frame_of = _by_stem(images / sequence, _IMAGES)
        mask_of = _by_stem(masks / sequence, _MASKS)
        if not frame_of:
            nested = images.parent if self.resolution else images
            fix = f"set data.resolution to a folder of {nested}, or correct data.names"
            raise UsageError(f"no frames in {images / sequence}", needed="JPEG images", fix=fix)
        stems = list(frame_of)[: self.frames]
        missing = [stem for stem in stems if stem not in mask_of]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(stems)} frames of {sequence!r} have no mask, e.g."
                f" {masks / sequence / missing[0]}.png",
                needed="a mask for every frame: a video is scored on all of them",
                fix="take a split that is annotated throughout, or leave the sequence out of"
                " data.names",
            )
        taken = [[files[stem] for stem in stems] for files in (frame_of, mask_of)]
        below = [[str(file.relative_to(self.root)) for file in files] for files in taken]
        return below[0], below[1]


def _by_stem(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    files = (file for file in sorted(folder.iterdir()) if file.suffix.lower() in endings)
    return {file.stem: file for file in files}


def _sequences(folder: Path, names: str | Path | Sequence[str] | None) -> list[str]:
    """Names of the sequences.

    Raises:
        UsageError: none, one twice, or one that is not there.
    """
    there = sorted(item.name for item in folder.iterdir() if item.is_dir())
    if names is None:
        if not there:
            raise UsageError(f"no sequence in {folder}", needed="a folder of frames a sequence")
        return there
    if isinstance(names, (str, Path)):
        file = require_file(names, "data.names")
        lines = Names.lines(file.read_bytes())
        names = [lines[index] for index in range(len(lines))]
    unknown = [name for name in names if name not in there]
    if unknown or not names or len(set(names)) != len(names):
        given = f"sequence {unknown[0]!r} is not in {folder}" if unknown else f"names {list(names)}"
        raise UsageError(given, needed="sequences that are there, each once", fix="see data.names")
    return list(names)
