"""Pascal VOC's layout: images, an XML file with boxes for each, lists of names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from densecl.data.base import require_file, require_folder
from densecl.data.boxes import BoxDataset, BoxRow, BoxTable, check_degenerate, clip_box
from densecl.data.decode import IMAGE_EXTENSIONS, UnreadableFileError
from densecl.data.folder import no_images, scan
from densecl.data.names import Names
from densecl.errors import UsageError
from densecl.registry import DATASETS

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@DATASETS.register_module()
class VocBoxes(BoxDataset):
    """Images with the boxes of VOC's XML files, which are all read at the start.

    VOC counts pixels from 1 and a box's corners are pixels that still belong to it; here boxes are
    edges, so 1 is taken from ``xmin`` and ``ymin`` and ``xmax`` and ``ymax`` stay: the box of the
    first pixel, (1, 1, 1, 1), would become (0, 0, 1, 1). Boxes are cut at the image's border. An
    object marked ``difficult`` is ignored.

    Args:
        root: holds both folders.
        classes: names of the classes; the id of an object is its name's position here.
        names: file with one stem a line, as those in ``ImageSets/Main``; without it all images.
        image_folder, box_folder: their names.
        degenerate: what to do with a box whose corners are one pixel or in the wrong order, or
            that lies outside its image: "raise" names them all, "drop" leaves them out and lists
            them in ``dropped``.
        on_error: what an unreadable image does; a bad XML file is always an error.

    Attributes:
        dropped: file, object and corners of each box that was left out.

    Raises:
        UsageError: a missing folder or file, a class that is not listed, a degenerate box.
        UnreadableFileError: an XML file that cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        classes: Sequence[str],
        names: str | Path | None = None,
        image_folder: str = "JPEGImages",
        box_folder: str = "Annotations",
        degenerate: str = "raise",
        on_error: str = "raise",
    ) -> None:
        folder = require_folder(root, "data.root")
        pictures = require_folder(folder / image_folder, "data.image_folder")
        boxes = require_folder(folder / box_folder, "data.box_folder")
        if not classes:
            raise UsageError("data.classes is empty", needed="the names of the classes")
        files = {str(Path(file).with_suffix("")): file for file in scan(pictures, IMAGE_EXTENSIONS)}
        if not files:
            raise no_images(pictures, IMAGE_EXTENSIONS)
        stems = sorted(files) if names is None else _listed(names)
        missing = [stem for stem in stems if stem not in files]
        if missing:
            raise UsageError(
                f"{len(missing)} names, e.g. {missing[0]!r}, have no image in {pictures}",
                fix="correct data.names or data.image_folder",
            )
        rows, self.dropped = [], []
        for stem in stems:
            file = boxes / f"{stem}.xml"
            found, bad = read_voc(file, classes)
            rows.append(found)
            self.dropped += [f"{file.name}, {each}" for each in bad]
        check_degenerate(self.dropped, boxes, degenerate)
        names_of, files_of = Names.of(stems), Names.of(files[stem] for stem in stems)
        super().__init__(pictures, names_of, files_of, BoxTable.of(rows), classes, on_error)


def read_voc(file: Path, classes: Sequence[str]) -> tuple[list[BoxRow], list[str]]:
    """The objects of one XML file, and a description of each whose box has no area.

    Raises:
        UnreadableFileError: no XML, or an object or size that lacks a number.
        UsageError: a class that is not listed.
    """
    try:
        tree = ElementTree.parse(file).getroot()
    except OSError as error:
        raise UnreadableFileError(file, error.strerror or str(error)) from error
    except ElementTree.ParseError as error:
        raise UnreadableFileError(file, f"not XML: {error}") from error
    width, height = (_number(tree, f"size/{side}", file) for side in ("width", "height"))
    rows, bad = [], []
    for place, each in enumerate(tree.findall("object"), start=1):
        name = (each.findtext("name") or "").strip()
        if name not in classes:
            raise UsageError(
                f"{file}: object {place} is a {name!r}",
                needed=f"one of data.classes, {', '.join(classes)}",
                fix="correct the file, or list the class",
            )
        corners = [_number(each, f"bndbox/{side}", file, place) for side in _SIDES]
        box = clip_box((corners[0] - 1, corners[1] - 1, corners[2], corners[3]), width, height)
        degenerate = corners[2] <= corners[0] or corners[3] <= corners[1]
        if degenerate or box[2] <= box[0] or box[3] <= box[1]:
            written = ", ".join(f"{s} {c:g}" for s, c in zip(_SIDES, corners, strict=True))
            bad.append(f"object {place} ({name}): {written}")
            continue
        difficult = (each.findtext("difficult") or "0").strip() not in ("", "0")
        rows.append(BoxRow(box, classes.index(name), ignore=difficult))
    return rows, bad


def _number(tree: ElementTree.Element, path: str, file: Path, place: int | None = None) -> float:
    text = tree.findtext(path)
    try:
        return float(text or "")
    except ValueError:
        where = path if place is None else f"object {place}, {path}"
        raise UnreadableFileError(file, f"{where} is {text!r}, not a number") from None


def _listed(names: str | Path) -> list[str]:
    file = require_file(names, "data.names")
    listed = Names.lines(file.read_bytes())
    if not len(listed):
        raise UsageError(f"{file} is empty", needed="one name a line")
    return [listed[index] for index in range(len(listed))]
