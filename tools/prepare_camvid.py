"""Write lists that part CamVid by drive: `python tools/prepare_camvid.py CAMVID OUT`.

CAMVID holds train/, val/ and test/, each with images/ and labels/. CamVid is a handful of drives,
and its official split cuts through them: the validation clip lies inside a training drive, and
half of the test split continues one. So for each drive there is a fold that is tested on all of it
and never saw it before:

    OUT/test_<drive>/unlabelled.txt   every photo of the other drives
    OUT/test_<drive>/train.txt        photos of the other drives to fine-tune on
    OUT/test_<drive>/val.txt          photos of the other drives to choose a learning rate on
    OUT/test_<drive>/test.txt         every photo of the drive
    OUT/test_<drive>/{train,val}_<other>.txt    those of train.txt and val.txt that are of one drive
    OUT/official/*.txt                the official split; unlabelled.txt lists all photos
    OUT/camvid                        a link to CAMVID: OUT is the --data-root of the studies
    OUT/lists.json                    how many photos each list holds, and the rule

The rule for train and val: photos closer than a second to the one before are left out (one clip is
dense video). Each drive is cut into blocks of 20 seconds; the third of every five validates.
Photos within 5 seconds of a validation block are in neither list: neighbours are near copies.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from densecl.errors import UsageError
from densecl.files import write_atomically, write_json

SPLITS = ("train", "val", "test")
RATE = 30
"""Frames a second; names end in the frame's number."""
BLOCK, GROUP, CHOSEN, GAP = 20.0, 5, 2, 5.0
"""Seconds of a block; blocks of a group; which one validates; seconds kept free around it."""
FRAME = re.compile(r"(?P<drive>[^_]+)_f?(?P<number>\d+)$")


def drive_of(name: str) -> str:
    """The drive that a photo belongs to, told by its file name.

    Raises:
        UsageError: not a name of CamVid's.
    """
    return _parse(name)[0]


def second_of(name: str) -> float:
    """When the photo was taken, in seconds of its drive's clock."""
    return _parse(name)[1] / RATE


def _parse(name: str) -> tuple[str, int]:
    found = FRAME.fullmatch(Path(name).stem)
    if found is None:
        raise UsageError(f"photo {name!r}", needed="a name such as 0016E5_07959.jpg")
    return found["drive"], int(found["number"])


def thinned(names: Sequence[str]) -> list[str]:
    """Photos at least a second apart, of one drive, in time order."""
    kept: list[str] = []
    for name in names:
        if not kept or second_of(name) - second_of(kept[-1]) >= 1:
            kept.append(name)
    return kept


def train_and_val(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cut one drive into photos to train on and to validate on, with a gap between.

    Args:
        names: of one drive, in time order.
    """
    kept = thinned(names)
    start = second_of(kept[0])

    def validates(name: str) -> bool:
        return int((second_of(name) - start) // BLOCK) % GROUP == CHOSEN

    def near(name: str) -> bool:
        time = second_of(name) - start
        group = GROUP * BLOCK
        inside = (time - CHOSEN * BLOCK + GAP) % group
        return inside < BLOCK + 2 * GAP

    val = [name for name in kept if validates(name)]
    return [name for name in kept if not near(name)], val


def folds(names: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Fold -> list -> photos.

    Args:
        names: every photo, as ``split/images/file``.

    Raises:
        UsageError: fewer than two drives.
    """
    drives: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: (drive_of(name), second_of(name), name)):
        drives.setdefault(drive_of(name), []).append(name)
    if len(drives) < 2:
        raise UsageError(f"photos of {len(drives)} drives", needed="at least two")
    parted = {}
    for held_out, test in drives.items():
        others = {drive: own for drive, own in drives.items() if drive != held_out}
        pairs = {drive: train_and_val(own) for drive, own in others.items()}
        parted[f"test_{held_out}"] = {
            "unlabelled": [name for own in others.values() for name in own],
            "train": [name for train, _ in pairs.values() for name in train],
            "val": [name for _, val in pairs.values() for name in val],
            "test": test,
            **{f"train_{drive}": train for drive, (train, _) in pairs.items()},
            **{f"val_{drive}": val for drive, (_, val) in pairs.items()},
        }
    return parted


def photos(root: Path) -> dict[str, list[str]]:
    """Official split -> photos as ``split/images/file``, in time order.

    Raises:
        UsageError: a folder is missing or empty.
    """
    found = {}
    for split in SPLITS:
        folder = root / split / "images"
        files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".png"))
        if not files:
            raise UsageError(
                f"no photos in {folder}", needed="train/, val/ and test/, each with images/"
            )
        names = [p.relative_to(root).as_posix() for p in files]
        found[split] = sorted(names, key=lambda name: (drive_of(name), second_of(name)))
    return found


def write_names(path: Path, names: Sequence[str]) -> None:
    """One name a line."""
    text = "\n".join(names) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_lists(camvid: Path, out: Path) -> dict[str, dict[str, int]]:
    """Write every list and the link; fold -> list -> number of photos.

    Raises:
        UsageError: not CamVid, or no link can be made.
    """
    official = photos(camvid)
    every = [name for names in official.values() for name in names]
    lists = {"official": {"unlabelled": every, **official}, **folds(every)}
    for fold, parts in lists.items():
        for part, names in parts.items():
            write_names(out / fold / f"{part}.txt", names)
    counts = {fold: {p: len(names) for p, names in parts.items()} for fold, parts in lists.items()}
    rule = {"seconds_of_a_block": BLOCK, "validates": f"block {CHOSEN + 1} of {GROUP}"}
    write_json(out / "lists.json", {"counts": counts, "rule": rule | {"seconds_of_a_gap": GAP}})
    _link(out / "camvid", camvid)
    return counts


def _link(link: Path, target: Path) -> None:
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        if link.resolve() == target.resolve():
            return
        raise UsageError(f"{link} is there already", fix="choose another OUT")
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError as error:
        raise UsageError(
            f"cannot link {link} to {target}: {error}", fix=f"copy {target} there"
        ) from error


def main() -> None:
    """Write the lists and say what is in them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("camvid", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    try:
        counts = write_lists(args.camvid, args.out)
    except UsageError as error:
        raise SystemExit(f"error: {error}") from error
    for fold, parts in counts.items():
        print(f"{fold}: " + ", ".join(f"{count} {part}" for part, count in parts.items()))


if __name__ == "__main__":
    main()
