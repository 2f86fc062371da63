"""A folder of images, read as it is: no labels, no preparation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from densecl.data.base import ImageDataset, fingerprint_files, require_folder
from densecl.data.decode import IMAGE_EXTENSIONS, read_rgb
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS


def scan(root: Path, extensions: Sequence[str], recursive: bool = True) -> list[str]:
    """Files below ``root`` with one of the extensions, sorted, relative, with forward slashes.

    Hidden files and folders are left out; links are followed, each folder once.
    """
    wanted = tuple(extension.lower() for extension in extensions)
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, children, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen or (not recursive and folder != str(root)):
            children.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        children[:] = sorted(child for child in children if not child.startswith("."))
        prefix = Path(folder).relative_to(root)
        found.extend(
            (prefix / file).as_posix()
            for file in files
            if file.lower().endswith(wanted) and not file.startswith(".")
        )
    return sorted(found)


def no_images(root: Path, extensions: Sequence[str]) -> UsageError:
    """The error for a folder without a single image."""
    others = sorted({p.suffix for p in list(root.rglob("*"))[:1000] if p.is_file()})
    return UsageError(
        f"no images in {root}" + (f"; it holds {', '.join(map(repr, others))}" if others else ""),
        needed="files ending in " + ", ".join(extensions),
        fix="check data.root, or name the endings in data.extensions",
    )


@DATASETS.register_module()
class ImageFolder(ImageDataset):
    """All images of a folder, sorted by name.

    Args:
        root: the folder.
        recursive: also its sub-folders.
        extensions: file endings that count as images, any case.
        on_error: "raise" or "skip", see ``ImageDataset``.

    Raises:
        UsageError: no such folder, or no image in it.
    """

    def __init__(
        self,
        root: str | Path,
        recursive: bool = True,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        on_error: str = "raise",
    ) -> None:
        self.root = require_folder(root, "data.root")
        files = scan(self.root, extensions, recursive)
        if not files:
            raise no_images(self.root, extensions)
        self._names = Names.of(files)
        super().__init__(len(self._names), on_error)

    def name(self, index: int) -> str:
        """Path of an image relative to the folder."""
        return self._names[index]

    def load(self, index: int) -> Sample:
        """Read one image."""
        image = read_rgb(self.root / self._names[index])
        return Sample((Frame(image),), source=index, name=self._names[index])

    def fingerprint(self) -> str:
        """Hash of the names and of some file sizes."""
        return fingerprint_files(self.root, self._names)
