from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from camera_worlds import TEACHER, PaintedRooms

from densecl.models import build_backbone
from densecl.studies import plan_study, read_study
from pointcl.registry import DATASETS
from pointcl.studies.of_scans import SCANS

STUDY = """
_rooms = dict(type="Flats", count=200)
_posed = dict(length=8, views=2, **_rooms)
folds = [
    dict(
        name="flats",
        unlabelled=_posed,
        readings=dict(
            pairs=dict(type="PosedPairs", dataset=_posed),
            pictures=dict(length=4, views=2, **_rooms),
        ),
        train=dict(first=100, length=4, **_rooms),
        val=dict(first=200, length=2, **_rooms),
        test=dict(first=300, length=2, **_rooms),
    )
]
_small = {
    "method.backbone.width": 4, "method.dim": 8, "voxels.size": 0.6, "voxels.max_voxels": None,
    "loader.batch_size": 2, "loader.num_workers": 0, "schedule.warmup_steps": 0,
    "log.tensorboard": False, "train.threads": 1,
}
_pictures = {
    **_small, "views.pictures.size": (32, 48), "views.pictures.store": False,
    "views.pictures.min_links": 16,
}
_taught = {"method.teacher": "{teacher}", "method.teacher_backbone": None}
files = dict(teacher=None)
_tier = "unet14w8_1xb2-120s_streets-50cm"
rows = [
    dict(name="PointContrast", pretrain=f"pointcontrast_{_tier}", reads="pairs", options=_small),
    dict(name="SLidR", pretrain=f"slidr_{_tier}", reads="pictures",
         options={**_pictures, **_taught}),
    dict(name="SLidR, untrained teacher", pretrain=f"slidr_{_tier}", reads="pictures",
         options=_pictures),
]
seeds = (0, 1)
budgets = (2,)
_tune = dict(steps=2, batch_size=2, warmup=1)
protocols = [
    dict(name="tune", type="finetune", fractions=(0.5,), finetune=_tune, learning_rates=(0.01,)),
    dict(name="probe", type="probe", fractions=(0.5,), iterations=3, points=50),
]
"""


@DATASETS.register_module(force=True)
class Flats(PaintedRooms):
    """Rooms with classes, from a number on, so that parts share none."""

    classes = ("floor", "wall", "side", "box")

    def __init__(self, first=0, length=8, **options):
        super().__init__(length=length, **options)
        self.first = first
        self.every = PaintedRooms(length=first + length, **options)
        self.sequences = self.every.sequences[first:]

    def name(self, index):
        return self.every.name(index + self.first)

    def fingerprint(self):
        return f"{super().fingerprint()}-{self.first}"

    def __getitem__(self, index):
        return self.every[index + self.first]


@pytest.fixture(scope="session")
def make_teacher(tmp_path_factory):
    """Writes a network of pictures as ``densecl`` exports it, of a seed; returns the file."""
    from densecl.weights import export

    def make(seed: int = 0) -> Path:
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("teacher") / "net.safetensors"
        meta = {"method": "DenseCL", "mean": (124, 116, 104), "std": (58, 57, 57)}
        meta["channel_order"] = "RGB"
        assert export(build_backbone(dict(TEACHER)), "safetensors", path, meta=meta).path
        return path

    return make


@pytest.fixture(scope="session")
def teacher(make_teacher):
    return make_teacher()


@pytest.fixture
def read(tmp_path, teacher):
    """Reads the small study: lines are added to its file, options override it."""

    def make(*lines, file=teacher, methods=()):
        path = tmp_path / "rooms.py"
        path.write_text("\n".join([STUDY, *lines]))
        given = [] if file is None else [f"files.teacher={file}"]
        return read_study(path, given, None, methods, kind=SCANS)

    return make


@pytest.fixture
def plan(read, tmp_path):
    """Plans it."""

    def make(*lines, out="out", **options):
        return plan_study(read(*lines, **options), tmp_path / out, "cpu")

    return make
