"""Images named by a text file: opens at once, however many there are."""

from __future__ import annotations

from pathlib import Path

from densecl.data.base import ImageDataset, require_file, require_folder
from densecl.data.decode import read_rgb
from densecl.data.names import Names
from densecl.data.sample import Frame, Sample
from densecl.errors import UsageError
from densecl.registry import DATASETS


@DATASETS.register_module()
class ImageList(ImageDataset):
    """One image per line. The list is read, the images are not looked at before they are needed.

    Args:
        path: text file, one path a line; empty lines are left out.
        root: what relative paths start from; None = the list's own folder.
        labels: True = the last word of each line is a whole-image label and not part of the path;
            ``label(i)`` gives it.
        on_error: "raise" or "skip", see ``ImageDataset``.

    Raises:
        UsageError: no such file, or it is empty.
    """

    def __init__(
        self,
        path: str | Path,
        root: str | Path | None = None,
        labels: bool = False,
        on_error: str = "raise",
    ) -> None:
        self.path = require_file(path, "data.path")
        self.root = self.path.parent if root is None else require_folder(root, "data.root")
        self._lines = Names.lines(self.path.read_bytes())
        self._labels = labels
        if not len(self._lines):
            raise UsageError(
                f"{self.path} is empty", needed="one image path a line", fix="write the list"
            )
        super().__init__(len(self._lines), on_error)

    def name(self, index: int) -> str:
        """Path of an image as the list gives it."""
        return self._split(index)[0]

    def label(self, index: int) -> int:
        """The whole-image label of a line.

        Raises:
            UsageError: the list was opened without labels, or the line has none.
        """
        text = self._split(index)[1]
        try:
            return int(text)
        except ValueError:
            raise UsageError(
                f"{self.path}, image {index}: {self._lines[index]!r} has no label",
                needed="`path label` with a whole number",
                fix="" if self._labels else "open the list with labels=True",
            ) from None

    def load(self, index: int) -> Sample:
        """Read one image."""
        name = self.name(index)
        return Sample((Frame(read_rgb(self.root / name)),), source=index, name=name)

    def fingerprint(self) -> str:
        """Hash of the list; the images are not touched."""
        return self._lines.digest()

    def _split(self, index: int) -> tuple[str, str]:
        line = self._lines[index]
        if not self._labels:
            return line, ""
        words = line.rsplit(maxsplit=1)
        return (words[0], words[1]) if len(words) == 2 else (line, "")
