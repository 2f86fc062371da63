"""Studies of scans: what ``densecl.studies`` has to be told about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.engine.config import config_text
from densecl.engine.resume import LOCATIONS
from densecl.errors import UsageError
from densecl.models.frozen import frozen
from densecl.studies.kind import FINETUNE, PROBE, Cached, StudyKind
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.study import RowSpec, Study
from densecl.transfer.task import Task
from densecl.weights.export import ExportReport
from pointcl.data.posed_pairs import PosedPairs
from pointcl.models import build_backbone
from pointcl.models.teacher import RANDOM, Teacher
from pointcl.transfer.clouds import LabelledScans, whole_scans
from pointcl.transfer.controls import POINTWISE, POINTWISE_BARE, random_reestimated
from pointcl.transfer.cost import pretraining_cost
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.initialisation import check_voxels, input_of_config
from pointcl.transfer.of_scans import SCANS as TRANSFER
from pointcl.transfer.probe import FrozenSpec
from pointcl.weights import export, load_backbone

TRAIN = 3
"""Forward passes that a step costs: a backward pass is two."""


class _Scans(StudyKind):
    transfer, items = TRANSFER, "scans"
    templates = {  # noqa: RUF012
        "unlabelled": {"type": "ScanFolder"},
        "labelled": {"type": "ScanFolder"},
    }
    controls = {  # noqa: RUF012
        FINETUNE: TRANSFER.controls,
        PROBE: tuple(name for name in TRANSFER.controls if name != "scratch-long"),
    }
    reserved = (POINTWISE, POINTWISE_BARE)
    probe_fields = ("strides", "mode", "points", "max_points", "iterations")
    weights = ("method.teacher",)

    def names(self, dataset: Any) -> Iterator[str]:
        return scan_names(dataset)

    def without_places(self, section: Mapping[str, Any]) -> dict[str, Any]:
        return {
            key: self.without_places(value) if isinstance(value, Mapping) else value
            for key, value in section.items()
            if key not in LOCATIONS
        }

    def input_of(self, config: Mapping[str, Any], row: str) -> dict[str, Any]:
        if not isinstance(config["method"].get("backbone"), Mapping):
            raise UsageError(
                f"row {row!r}: the config names no backbone",
                needed="method.backbone = dict(type=...)",
            )
        return input_of_config(config)

    def note(self, config: Mapping[str, Any]) -> str:
        method = config["method"]
        if "teacher" not in method:
            return ""
        if method["teacher"] == RANDOM:
            return "teacher: untrained"
        backbone = method.get("teacher_backbone")
        return f"teacher: {_teacher(str(method['teacher']), repr(backbone))}"

    def finetune(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> Task:
        check_voxels(known["voxels"], protocol)
        return self.transfer.task_for(protocol, known, num_classes, device)

    def probe(
        self,
        protocol: ProtocolFile,
        known: Mapping[str, Any],
        num_classes: int,
        settings: Mapping[str, Any],
    ) -> FrozenSpec:
        check_voxels(known["voxels"], protocol)
        chosen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()
        }
        return FrozenSpec(num_classes=num_classes, **known, **chosen)

    def reestimated(
        self, task: Task, train: Any, unlabelled: Callable[[], Any]
    ) -> tuple[list[Any], Callable[[int], dict[str, Tensor]]]:
        assert isinstance(task, (FinetuneSpec, FrozenSpec))
        return [dict(task.backbone), dict(task.voxels)], random_reestimated(task, unlabelled)

    def pretraining_cost(self, config: Mapping[str, Any], steps: int) -> float:
        cost = pretraining_cost({"config": config_text(config), "step": steps})
        if cost is None:
            raise UsageError(
                "the cost of a pretraining step cannot be counted: its data cannot be read",
                fix="leave the control scratch-long out: controls=('batchnorm', ...)",
            )
        return cost

    def keep(self, checkpoint: Path, out: Path) -> ExportReport:
        return export(checkpoint, "safetensors", out)

    def load(self, path: Path) -> nn.Module:
        return load_backbone(path)

    def pretraining_work(self, config: Mapping[str, Any], steps: int, cached: Cached) -> float:
        views = config["views"].get("num_views", 2)
        scans = config["loader"]["batch_size"] * config["train"]["accumulate"] * views
        return float(TRAIN * steps * scans)

    def transfer_work(self, study: Study, row: RowSpec, position: int, cached: Cached) -> float:
        task = study.spec(row, 0.0)
        scans = len(study.val)
        if isinstance(task, FinetuneSpec):
            return float(TRAIN * task.steps * task.batch_size + scans)
        return float(len(study.pairs[position][1].items) + scans)

    def pace(self, kind: str, row: str) -> str:
        # Work is counted in scans: teachers, segments and pairs make a method's own scans dear.
        return kind if kind in (FINETUNE, PROBE) else f"{kind} {row}"

    def speed(self, known: Mapping[str, Any], train: Any, cached: Cached) -> float:
        decides = ["speed", known["backbone"], known["voxels"]]
        return cached(decides, lambda: _speed(known["backbone"], known["voxels"], train))


SCANS: StudyKind = _Scans()


def scan_names(dataset: Any) -> Iterator[str]:
    """What tells the scans of a data set apart from any other's: folder and name.

    Of pairs of scans the names of both.
    """
    if isinstance(dataset, PosedPairs):
        inner: Any = dataset.dataset
        numbers = sorted({k for pair in dataset.pairs for k in (pair.first, pair.second)})
    else:
        inner, numbers = dataset, list(range(len(dataset)))
    # A wrapper passes on the names of what it wraps.
    holder = inner
    while getattr(holder, "root", None) is None and hasattr(holder, "dataset"):
        holder = holder.dataset
    root = getattr(holder, "root", None)
    resolved = None if root is None else Path(root).resolve()
    for number in numbers:
        name = inner.name(number)
        yield name if resolved is None else (resolved / name).as_posix()


@lru_cache
def _teacher(path: str, backbone: str) -> str:
    """Its name."""
    import ast

    return Teacher(path, ast.literal_eval(backbone)).name


def _speed(backbone: Mapping[str, Any], voxels: Mapping[str, Any], train: Any) -> float:
    """Scans a second of a forward pass."""
    with torch.random.fork_rng(devices=[]):
        module = build_backbone(dict(backbone))
    scans = LabelledScans(train, range(min(2, len(train))))
    batches = [batch for _, batch in whole_scans(scans, voxels)]
    with frozen(module):
        module(batches[0].voxels.tensor)
        # processor time: other programs on the machine are not part of the guess
        began = time.process_time()
        for batch in batches:
            module(batch.voxels.tensor)
        seconds = (time.process_time() - began) / torch.get_num_threads()
    return len(batches) / max(seconds, 1e-6)
