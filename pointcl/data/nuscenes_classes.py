"""nuScenes' splits and the classes of its lidarseg labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from densecl.errors import UsageError
from pointcl.data.classes import ClassMap
from pointcl.data.nuscenes_json import read_table
from pointcl.data.scan import IGNORE

_VAL = "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 \
632-638 770-771 775 777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073"
VAL = frozenset(
    f"scene-{number:04d}"
    for part in _VAL.split()
    for number in range(int(part.split("-")[0]), int(part.split("-")[-1]) + 1)
)
"""The 150 scenes of v1.0-trainval kept for validation; the other 700 are for training."""

MINI_VAL = frozenset(["scene-0103", "scene-0916"])
SPLITS = {
    "train": "v1.0-trainval",
    "val": "v1.0-trainval",
    "test": "v1.0-test",
    "mini_train": "v1.0-mini",
    "mini_val": "v1.0-mini",
}

_CLASSES: dict[str, tuple[tuple[str, ...], tuple[int, int, int]]] = {
    "barrier": (("movable_object.barrier",), (112, 128, 144)),
    "bicycle": (("vehicle.bicycle",), (220, 20, 60)),
    "bus": (("vehicle.bus.bendy", "vehicle.bus.rigid"), (255, 127, 80)),
    "car": (("vehicle.car",), (255, 158, 0)),
    "construction_vehicle": (("vehicle.construction",), (233, 150, 70)),
    "motorcycle": (("vehicle.motorcycle",), (255, 61, 99)),
    "pedestrian": (
        (
            "human.pedestrian.adult",
            "human.pedestrian.child",
            "human.pedestrian.construction_worker",
            "human.pedestrian.police_officer",
        ),
        (0, 0, 230),
    ),
    "traffic_cone": (("movable_object.trafficcone",), (47, 79, 79)),
    "trailer": (("vehicle.trailer",), (255, 140, 0)),
    "truck": (("vehicle.truck",), (255, 99, 71)),
    "driveable_surface": (("flat.driveable_surface",), (0, 207, 191)),
    "other_flat": (("flat.other",), (175, 0, 75)),
    "sidewalk": (("flat.sidewalk",), (75, 0, 75)),
    "terrain": (("flat.terrain",), (112, 180, 60)),
    "manmade": (("static.manmade",), (222, 184, 135)),
    "vegetation": (("static.vegetation",), (0, 175, 0)),
}
CLASSES = tuple(_CLASSES)
PALETTE = np.array([colour for _, colour in _CLASSES.values()], np.uint8)
CLASS_OF = {
    category: label
    for label, (categories, _) in enumerate(_CLASSES.values())
    for category in categories
}
"""Category -> class; every other category is ignored."""

CATEGORIES = (
    "noise",
    "animal",
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.police_officer",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.barrier",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "movable_object.trafficcone",
    "static_object.bicycle_rack",
    "vehicle.bicycle",
    "vehicle.bus.bendy",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
    "flat.driveable_surface",
    "flat.other",
    "flat.sidewalk",
    "flat.terrain",
    "static.manmade",
    "static.other",
    "static.vegetation",
    "vehicle.ego",
)
"""The categories of the raw ids 0 to 31."""


def lidarseg_map(folder: Path) -> ClassMap:
    """The map of the 32 raw ids to 16 classes.

    A ``category.json`` with an ``index`` says what each raw id is; it must agree with the known
    order for every category that is a class, so that labels of another order are not misread.

    Raises:
        UsageError: it does not agree.
    """
    known = {CATEGORIES.index(name): label for name, label in CLASS_OF.items()}
    learning_map = {raw: known.get(raw, IGNORE) for raw in range(len(CATEGORIES))}
    for row in read_table(folder, "category", "name"):
        name, index = row["name"], row.get("index")
        if index is None or name not in CLASS_OF:
            continue
        if learning_map.get(int(index)) != CLASS_OF[name]:
            raise UsageError(
                f"{folder / 'category.json'} gives {name} the index {index}",
                needed=f"{CATEGORIES.index(name)}, as nuScenes-lidarseg does",
                fix="unpack the category.json of nuScenes-lidarseg below data.root",
            )
    return ClassMap(CLASSES, learning_map, PALETTE)


def choose_scenes(split: str, version: str, folder: Path) -> set[str] | None:
    """Names of the scenes of an official split.

    Raises:
        UsageError: no such split, or it is not of this version.
    """
    if split not in SPLITS:
        raise UsageError(
            f"data.split={split!r}",
            needed=f"one of {', '.join(SPLITS)}",
            fix="or leave it None and list data.scenes",
        )
    if version != SPLITS[split] and version in SPLITS.values():
        raise UsageError(
            f"data.split={split!r} with data.version={version!r}",
            needed=f"data.version={SPLITS[split]!r}",
        )
    if split == "test":
        return None
    held_out = MINI_VAL if split.startswith("mini") else VAL
    names = {row["name"] for row in read_table(folder, "scene", "name")}
    return names & held_out if split.endswith("val") else names - held_out
