"""Lay out real sweeps for the study `real_drives`: `python tools/prepare_drives.py SWEEPS OUT`.

SWEEPS holds sweeps of three drives, none with poses:

    kitti_raw/                    a drive of KITTI raw with image_02 and calib.txt; no labels
    semantic_kitti/dataset/       a labelled drive in SemanticKITTI's layout (sequences/00)
    nuscenes_seg/{points,labels}  NUMBER.bin each: float32 x y z intensity (0 to 255), and uint8
                                  ids of the study's ten classes, 10 = ignore

OUT, the study's --data-root, gets

    kitti_raw                     a link
    semantic_kitti/, nuscenes/    both in SemanticKITTI's layout, with train.txt, val.txt, test.txt
    unlabelled/*.bin              every sweep of kitti_raw and of the training parts, intensities
                                  in [0, 1]: one folder has one scale

A labelled drive is cut in time: the first half trains, the next fifth validates, the rest tests,
and the two sweeps after each cut are in no part, since neighbours are near copies.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densecl.errors import UsageError
from densecl.files import write_atomically
from pointcl.data import SemanticKITTI
from pointcl.data.subset import write_time_split

SHARES, GAP = {"train": 0.5, "val": 0.2, "test": 0.3}, 2
IGNORED = 10
"""Id of points without a class in the labels of nuScenes; lower ids are classes."""
TOP = 255.0
"""Full intensity of nuScenes' sensor."""


def sweeps(folder: Path) -> list[Path]:
    """The .bin files of a folder, in time order.

    Raises:
        UsageError: there is none, or one is not named by a number.
    """
    files = list(folder.glob("*.bin"))
    odd = [file.name for file in files if not file.stem.isdigit()]
    if odd or not files:
        raise UsageError(
            f"{folder}: {f'a file {odd[0]}' if odd else 'no sweeps'}", needed="NUMBER.bin files"
        )
    return sorted(files, key=lambda file: int(file.stem))


def lay_out_nuscenes(source: Path, out: Path) -> set[Path]:
    """Points and ids as a drive in SemanticKITTI's layout; the files written.

    Raises:
        UsageError: sweeps are missing, or ids do not fit theirs.
    """
    written = set()
    for file in sweeps(source / "points"):
        points, number = _read(file), f"{int(file.stem):06d}"
        labels = source / "labels" / file.name
        if not labels.is_file():
            raise UsageError(f"there is no {labels}", needed="ids for every sweep")
        ids = np.fromfile(labels, np.uint8)
        if len(ids) != len(points):
            raise UsageError(
                f"{labels}: {len(ids)} ids, {len(points)} points",
                needed="one uint8 for each point",
            )
        drive = out / "sequences" / "00"
        written |= {
            _write(drive / "velodyne" / f"{number}.bin", points),
            _write(drive / "labels" / f"{number}.label", ids.astype(np.uint32)),
        }
    return written


def prepare(source: Path, out: Path) -> dict[str, dict[str, int]]:
    """Write all of it; drive -> part -> number of sweeps.

    Raises:
        UsageError: a drive is missing or malformed, or ``out`` holds other sweeps too.
    """
    camera = sweeps(source / "kitti_raw" / "velodyne_points" / "data")
    _link(out / "kitti_raw", source / "kitti_raw")
    _link(out / "semantic_kitti" / "sequences", source / "semantic_kitti/dataset/sequences")
    written = lay_out_nuscenes(source / "nuscenes_seg", out / "nuscenes")
    refuse_others(out / "nuscenes" / "sequences", written)
    identity = {**{label: label for label in range(IGNORED)}, IGNORED: 255}
    labelled = {
        "semantic_kitti": (SemanticKITTI(out / "semantic_kitti", ["00"]), 1.0),
        "nuscenes": (
            SemanticKITTI(
                out / "nuscenes",
                ["00"],
                classes=list(map(str, range(IGNORED))),
                learning_map=identity,
                intensity_top=TOP,
            ),
            TOP,
        ),
    }
    unlabelled = {_write(out / "unlabelled" / file.name, _read(file)) for file in camera}
    counts = {"kitti_raw": {"unlabelled": len(camera)}}
    for name, (dataset, top) in labelled.items():
        lists = write_time_split(dataset, out / name, SHARES, gap=GAP)
        parts = {part: path.read_text().split() for part, path in lists.items()}
        for scan in parts["train"]:
            drive, number = scan.split("/")
            points = _read(out / name / "sequences" / drive / "velodyne" / f"{number}.bin")
            points[:, 3] /= top
            unlabelled.add(_write(out / "unlabelled" / f"{name}_{number}.bin", points))
        counts[name] = {part: len(names) for part, names in parts.items()}
    refuse_others(out / "unlabelled", unlabelled)
    return counts


def refuse_others(folder: Path, written: set[Path]) -> None:
    """Refuse files that an earlier layout left: they would be read with the new ones.

    Raises:
        UsageError: there is one.
    """
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path not in written)
    if others:
        raise UsageError(
            f"{others[0]} is not of these sweeps ({len(others)} such files)",
            needed="a folder that holds nothing else",
            fix="give an empty OUT",
        )


def _read(file: Path) -> np.ndarray:
    numbers = np.fromfile(file, np.float32)
    if len(numbers) % 4:
        raise UsageError(f"{file}: {len(numbers)} numbers", needed="four float32 a point")
    return numbers.reshape(-1, 4)


def _write(path: Path, rows: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: rows.tofile(temporary))
    return path


def _link(link: Path, target: Path) -> None:
    if not target.is_dir():
        raise UsageError(f"there is no {target}", fix="see the first lines of this file")
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError as error:
        raise UsageError(
            f"cannot link {link} to {target}: {error}", fix="choose another OUT, or copy it there"
        ) from error


def main(argv: Sequence[str] | None = None) -> None:
    """Lay out the drives and say how many sweeps each part has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args(argv)
    try:
        counts = prepare(args.sweeps, args.out)
    except UsageError as error:
        raise SystemExit(f"error: {error}") from error
    for drive, parts in counts.items():
        print(f"{drive}: " + ", ".join(f"{count} {part}" for part, count in parts.items()))
    print(
        f"next: pointcl study real_drives --data-root {args.out} --cfg-options files.teacher=FILE"
    )


if __name__ == "__main__":
    main()
