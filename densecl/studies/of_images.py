"""Studies of pictures: what ``densecl.studies`` has to be told about them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.engine.device import pick_amp, pick_device
from densecl.engine.resume import LOCATIONS
from densecl.errors import UsageError
from densecl.models.build import build_backbone
from densecl.models.frozen import frozen
from densecl.studies.kind import FINETUNE, PROBE, Cached, StudyKind
from densecl.transfer.compute import forward_flops, pretraining_flops
from densecl.transfer.finetuning import FinetuneSpec, segmentor_of
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.kind import CONTROLS
from densecl.transfer.of_images import PICTURES as TRANSFER
from densecl.transfer.of_images import random_reestimated, step_flops
from densecl.transfer.probe import ProbeSpec
from densecl.transfer.protocol_file import ProtocolFile
from densecl.transfer.study import RowSpec, Study
from densecl.transfer.task import Task
from densecl.weights import export, load_backbone
from densecl.weights.export import ExportReport


class _Pictures(StudyKind):
    transfer, items = TRANSFER, "images"
    templates = {  # noqa: RUF012
        "unlabelled": {"type": "ImageList"},
        "labelled": {"type": "LabelledList"},
    }
    controls = {FINETUNE: CONTROLS, PROBE: ("batchnorm", "permuted")}  # noqa: RUF012
    probe_fields = ("resize", "strides", "grid", "solver", "iterations")

    def names(self, dataset: Any) -> Iterator[str]:
        return image_names(dataset)

    def without_places(self, section: Mapping[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in section.items() if k not in LOCATIONS}

    def input_of(self, config: Mapping[str, Any], row: str) -> dict[str, Any]:
        backbone = config["method"].get("backbone")
        if not isinstance(backbone, dict):
            raise UsageError(
                f"row {row!r}: the config names no backbone",
                needed="method.backbone = dict(type=...)",
            )
        return {
            "backbone": {k: v for k, v in backbone.items() if k != "grad_checkpoint"},
            "mean": tuple(config["input"]["mean"]),
            "std": tuple(config["input"]["std"]),
            "channel_order": config["input"]["channel_order"],
        }

    def finetune(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> FinetuneSpec:
        chosen = dict(protocol.finetune)
        chosen["amp"] = pick_amp(chosen.get("amp", "off"), pick_device(device))
        return FinetuneSpec(num_classes=num_classes, **known, **chosen)

    def probe(
        self,
        protocol: ProtocolFile,
        known: Mapping[str, Any],
        num_classes: int,
        settings: Mapping[str, Any],
    ) -> FrozenSpec:
        settings, shared = dict(settings), dict(known)
        backbone, resize = shared.pop("backbone"), settings.pop("resize", None)
        spec = ProbeSpec(num_classes=num_classes, **shared, **settings)
        return FrozenSpec(backbone, spec, None if resize is None else tuple(resize))

    def reestimated(
        self, task: Task, train: Any, unlabelled: Callable[[], Any]
    ) -> tuple[list[Any], Callable[[int], dict[str, Tensor]]]:
        if isinstance(task, FinetuneSpec):
            spec = task
        else:
            assert isinstance(task, FrozenSpec)
            probe = task.probe
            spec = FinetuneSpec(
                task.backbone,
                probe.num_classes,
                crop=task.resize or _size(train, None),
                mean=probe.mean,
                std=probe.std,
                channel_order=probe.channel_order,
            )
        decides = [dict(spec.backbone), spec.crop, spec.mean, spec.std, spec.channel_order]
        return decides, random_reestimated(spec, unlabelled)

    def pretraining_cost(self, config: Mapping[str, Any], steps: int) -> float:
        return pretraining_flops(config, steps)

    def keep(self, checkpoint: Path, out: Path) -> ExportReport:
        return export(checkpoint, "safetensors", out)

    def load(self, path: Path) -> nn.Module:
        return load_backbone(path)

    def pretraining_work(self, config: Mapping[str, Any], steps: int, cached: Cached) -> float:
        decides = [config[name] for name in ("method", "views", "loader", "train")]
        return steps * cached(decides, lambda: pretraining_flops(config, 1))

    def transfer_work(self, study: Study, row: RowSpec, position: int, cached: Cached) -> float:
        task = study.protocol.spec
        assert isinstance(task, (FinetuneSpec, FrozenSpec))
        size = _size(study.val, task.resize)
        if isinstance(task, FinetuneSpec):
            steps = study.spec(row, 0.0).steps
            spec = task.at(0.0, 0)
            each = cached(["step", spec.to_dict()], lambda: step_flops(spec))
            whole = cached(
                ["image", spec.to_dict(), size],
                lambda: float(forward_flops(segmentor_of(spec), size)),
            )
            return steps * each + len(study.val) * whole
        images = len(study.pairs[position][1].items) + len(study.val)
        backbone = dict(task.backbone)
        return images * cached(
            ["frozen", backbone, size],
            lambda: float(forward_flops(build_backbone(backbone), size)),
        )

    def speed(self, known: Mapping[str, Any], train: Any, cached: Cached) -> float:
        backbone = dict(known["backbone"])
        return cached(["speed", backbone], lambda: _speed(backbone))


PICTURES: StudyKind = _Pictures()


def image_names(dataset: Any) -> Iterator[str]:
    """What tells the images of a data set apart from any other's: their files, or their names.

    Lists and folders are compared by the images' paths, whatever the roots that they are named
    from; other data sets by the names of their items.
    """
    root = getattr(dataset, "images", None) or getattr(dataset, "root", None)
    files = getattr(dataset, "_image_files", None)
    resolved = Path(root).resolve() if root is not None else None
    for index in range(len(dataset)):
        name = dataset.name(index) if files is None else files[index]
        yield name if resolved is None else (resolved / name).as_posix()


def _size(dataset: Any, resize: tuple[int, int] | None) -> tuple[int, int]:
    if resize is not None:
        return resize
    height, width = dataset[0].frames[0].image.shape[:2]
    return height, width


def _speed(backbone: Mapping[str, Any], size: int = 96, batch: int = 4) -> float:
    """Operations a second of a short forward pass."""
    with torch.random.fork_rng(devices=[]):
        module = build_backbone(backbone)
    images = torch.zeros(batch, 3, size, size)
    with frozen(module):
        module(images)
        # processor time: other programs on the machine are not part of the guess
        began = time.process_time()
        module(images)
        seconds = (time.process_time() - began) / torch.get_num_threads()
    return batch * float(forward_flops(module, (size, size))) / seconds
