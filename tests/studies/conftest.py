from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from densecl.files import write_json
from densecl.studies import pretraining, read_study, run_study
from densecl.transfer.cells import digest, init_fingerprint
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.initialisation import random_backbone

STUDY = """
unlabelled = dict(type="ImageList", root=".")
labelled = dict(type="LabelledList", root=".", classes=["left", "right"])
folds = [
    dict(name=_f, unlabelled=f"{_f}/unlabelled.txt", train=f"{_f}/train.txt",
         val=f"{_f}/val.txt", test=f"{_f}/test.txt")
    for _f in ("a", "b")
]
_small = {
    "method.backbone.width": 4, "method.queue_size": 8, "views.size": 32,
    "loader.batch_size": 4, "loader.num_workers": 0, "train.amp": "off",
    "train.threads": 1, "checkpoint.every": 1, "log.tensorboard": False,
}
_moco = "mocov2_r18w32_1xb32-500s_streets-64px"
rows = [
    dict(name="MoCo v2", pretrain=_moco, options=_small),
    dict(name="shuffled", pretrain=_moco, options={**_small, "method.shuffle_pairs": True}),
]
seeds = (0, 1)
budgets = (4,)
_probe = dict(name="probe", type="probe", fractions=(0.5,), iterations=5)
protocols = [dict(controls=(), **_probe)]
"""
BUDGETS = "budgets = (2, 4)"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Two folds of small pictures whose left half is bright, with labels and lists."""
    root = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    label = np.zeros((32, 48), np.uint8)
    label[:, 24:] = 1
    for split in "pqrs":
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for k in range(6):
            image = noise.integers(0, 120, (32, 48, 3), np.uint8)
            image[:, :24] += 100
            cv2.imwrite(str(root / split / "images" / f"{k}.png"), image)
            cv2.imwrite(str(root / split / "labels" / f"{k}.png"), label)
    for fold, (first, second, third, fourth) in {"a": "pqrs", "b": "qpsr"}.items():
        parts = {"unlabelled": first + second, "train": first, "val": third, "test": fourth}
        (root / fold).mkdir()
        for part, splits in parts.items():
            lines = [f"{split}/images/{k}.png\n" for split in splits for k in range(6)]
            (root / fold / f"{part}.txt").write_text("".join(lines))
    return root


@pytest.fixture
def write_study(tmp_path):
    """Writes a study file: the small one, with lines added."""

    def write(*lines: str) -> Path:
        path = tmp_path / "tiny.py"
        path.write_text("\n".join([STUDY, *lines]))
        return path

    return write


@pytest.fixture
def quick(monkeypatch):
    """Stands for every run: instant, each result a function of all that a real one depends on."""
    calls: list[str] = []

    def run(self, max_minutes=None):
        calls.append(f"pretrain {self.row.name} {self.steps} {self.seed} {self.fold.name}")
        record = {"row": self.row.name, "steps": self.steps, "seconds": 2.0}
        write_json(self.folder / pretraining.RECORD, {**record, "weights": f"state:{self.key}"})
        return True

    def state(self):
        seed = int(self.key[:6], 16)
        return random_backbone(dict(self.config["method"]["backbone"]), seed).state_dict()

    def probe(self, init, train, evaluation, *, seed, device):
        names = [train.name(i) for i in range(len(train))]
        decided = digest([self.to_dict(), init_fingerprint(init), names, seed])
        calls.append(f"probe {decided}")
        trained = SimpleNamespace(state_dict=lambda: {"salt": torch.tensor(int(decided[:6], 16))})
        result = {
            **score(self, trained.state_dict()["salt"], evaluation, device),
            "seconds": {"train": 1.0, "evaluate": 1.0},
            "feature_difference": 0.0,
            "diverged": False,
        }
        return result, trained

    def restore(self, state, init, *, seed, device):
        return state["salt"]

    def score(self, trained, images, device):
        salt = trained if isinstance(trained, torch.Tensor) else trained.state_dict()["salt"]
        names = [images.name(i) for i in range(len(images))]
        value = int(digest([int(salt), names])[:4], 16)
        table = np.array([[value, 1000], [0, 1000]])
        return {"miou": miou_of(table), "iou": [0.5, None], "confusion": table.tolist()}

    monkeypatch.setattr(pretraining.Pretraining, "run", run)
    monkeypatch.setattr(pretraining.Pretraining, "state", state)
    monkeypatch.setattr("densecl.studies.report.draw_curve", lambda path, *rest: path)
    for name, stand_in in (("run", probe), ("restore", restore), ("score", score)):
        monkeypatch.setattr(FrozenSpec, name, stand_in)
    return calls


def miou_of(confusion: np.ndarray) -> float:
    """Mean over the classes of hits over union, by hand."""
    scores = []
    for k in range(len(confusion)):
        union = confusion[k].sum() + confusion[:, k].sum() - confusion[k, k]
        scores.append(confusion[k, k] / union)
    return float(np.mean(scores))


@pytest.fixture
def study(write_study, pictures, tmp_path):
    """Runs the small study; ``lines`` change its file, the rest are arguments."""
    said: list[str] = []

    def run(*lines: str, out: Path | None = None, **options):
        said.clear()
        methods = options.pop("methods", ())
        config = read_study(write_study(*lines), (), pictures, methods)
        folder = out or tmp_path / "out"
        return run_study(config, folder, log=said.append, device="cpu", **options)

    run.said, run.out = said, tmp_path / "out"
    return run
