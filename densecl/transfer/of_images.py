"""Transfer on pictures: what ``densecl.transfer`` has to be told about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from densecl.engine.config import parse_config_text
from densecl.engine.device import pick_amp, pick_device
from densecl.engine.domain import IMAGES
from densecl.engine.names import registered
from densecl.errors import UsageError
from densecl.registry import DATASETS
from densecl.transfer.compute import TRAIN, forward_flops, pretraining_flops
from densecl.transfer.controls import reestimated_batchnorm
from densecl.transfer.features import FrozenInput
from densecl.transfer.finetuning import FinetuneSpec, segmentor_of
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.input import to_input
from densecl.transfer.kind import Checkpoints, Kind, Run
from densecl.transfer.probe import ProbeSpec
from densecl.transfer.task import Task
from densecl.transfer.weight_file import Told, WeightFile, inspect_file, told_input
from densecl.weights import load_backbone
from densecl.weights.load import read_backbone

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile

PATHS = ("images", "labels", "root", "path", "annotation", "names")
"""Arguments of data sets that are looked up under ``data_root``."""
INPUT = frozenset({"backbone", "mean", "std", "channel_order"})
"""Fields of a run that come from the checkpoint."""
GIVEN = INPUT | {"num_classes", "lr"}
FROZEN = frozenset({"input", "num_classes"})
READING = frozenset(item.name for item in fields(FrozenInput)) - INPUT
"""Fields that say how a frozen backbone is read: every section of a frozen run may have them."""
BATCHNORM_IMAGES, BATCHNORM_BATCH = 512, 32


def _frozen(home: str, *, learns: bool = True) -> Run:
    """A run on frozen features that has nothing to choose."""
    return Run(f"densecl.transfer.{home}", FROZEN, READING, learns=learns)


class _Pictures(Kind):
    domain = IMAGES
    runs = {  # noqa: RUF012
        "finetune": Run("densecl.transfer.finetuning:FinetuneSpec", GIVEN, rate="lr"),
        "probe": Run(
            "densecl.transfer.probe:ProbeSpec",
            INPUT | {"num_classes", "decay"},
            frozenset({"resize"}),
            rate="decay",
        ),
        "detection": Run("densecl.transfer.detection.task:DetectionSpec", GIVEN, rate="lr"),
        "retrieval": _frozen("retrieval.task:RetrievalSpec"),
        "overclustering": _frozen("clustering.task:OverclusteringSpec", learns=False),
        "prompts": _frozen("prompts.task:PromptSpec", learns=False),
        "propagation": _frozen("propagation.task:PropagationSpec", learns=False),
        "correspondence": _frozen("correspondence_task:CorrespondenceSpec", learns=False),
        "measures": _frozen("measures.task:MeasuresSpec", learns=False),
    }

    def resolve(self, section: Mapping[str, Any], root: Path | None, where: str) -> dict[str, Any]:
        return resolve(section, root, where)

    def own_run(self, home: str, *, learns: bool) -> Run:
        return Run(home, FROZEN | INPUT, READING, learns=learns)

    def common(self, protocol: ProtocolFile, checkpoints: Checkpoints) -> dict[str, Any]:
        return common_input(checkpoints)

    def task_for(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> Task:
        cls = protocol.how.settings()
        names = {item.name for item in fields(cls)}
        settings = dict(protocol.settings)
        if "amp" in names:
            settings["amp"] = pick_amp(settings.get("amp", "off"), pick_device(device))
        if "num_classes" in names:
            settings["num_classes"] = num_classes
        if cls is ProbeSpec:
            resize = settings.pop("resize", None)
            given = {name: value for name, value in known.items() if name != "backbone"}
            return FrozenSpec(known["backbone"], ProbeSpec(**given, **settings), resize)
        if "input" in names:
            reading = {name: settings.pop(name) for name in READING - names if name in settings}
            return cls(FrozenInput(**known, **reading), **settings)
        return cls(**known, **settings)

    def inspect(self, path: Path, told: Told) -> WeightFile:
        return inspect_file(path, told, read_backbone, load_backbone)

    def known_for(self, file: WeightFile, told: Told, protocol: ProtocolFile) -> dict[str, Any]:
        return {"backbone": dict(file.backbone), **told_input(file, told)}

    def load(self, path: Path) -> nn.Module:
        return load_backbone(path)

    def random(self, known: Mapping[str, Any], seed: int) -> nn.Module:
        return random_backbone(known["backbone"], seed)

    def random_reestimated(
        self, task: Task, unlabelled: Callable[[], Any]
    ) -> Callable[[int], dict[str, Tensor]]:
        return random_reestimated(bare_run(task, unlabelled), unlabelled)

    def pretraining_cost(self, checkpoint: Mapping[str, Any]) -> float:
        return pretraining_flops(parse_config_text(checkpoint["config"]), checkpoint["step"])

    def step_cost(self, task: Task, train: Any) -> float | None:
        if isinstance(task, FinetuneSpec):
            return step_flops(task)
        from densecl.transfer.detection import DetectionSpec
        from densecl.transfer.detection.finetuning import step_flops as detection_flops

        return detection_flops(task) if isinstance(task, DetectionSpec) else None


PICTURES: Kind = _Pictures()


def resolve(section: Mapping[str, Any], root: Path | None, where: str) -> dict[str, Any]:
    """A data set's config with its paths below ``root``.

    Args:
        section: ``dict(type=..., ...)``.
        root: what relative paths start from; None leaves them.
        where: the section's place, for messages.

    Raises:
        UsageError: no data set of that type.
    """
    section = dict(section)
    registered(DATASETS, section.get("type"), f"{where}.type")
    for key in PATHS:
        value = section.get(key)
        if root is not None and isinstance(value, str) and not Path(value).is_absolute():
            section[key] = str(root / value)
    return section


def finetune_spec(
    protocol: ProtocolFile, checkpoints: Checkpoints, num_classes: int, device: str = "auto"
) -> FinetuneSpec:
    """The fine-tuning run that fits the checkpoints' backbone and input.

    Raises:
        UsageError: the checkpoints' backbones or inputs differ.
    """
    return cast("FinetuneSpec", PICTURES.task(protocol, checkpoints, num_classes, device))


def common_input(checkpoints: Checkpoints) -> dict[str, Any]:
    """Backbone and input of all checkpoints.

    Raises:
        UsageError: two of them differ, or one does not say its input.
    """
    first: str | None = None
    known: dict[str, Any] = {}
    for name, files in checkpoints.items():
        for path in dict.fromkeys(files.values()):
            backbone = load_backbone(path)
            meta = cast("dict[str, Any]", backbone.meta)
            found = {"backbone": dict(meta["backbone"]), **_input_of(backbone, path)}
            first, known = (name, found) if first is None else (first, known)
            if found != known:
                raise UsageError(
                    f"rows {first!r} and {name!r} differ in backbone or input:\n"
                    f"  {known}\n  {found}",
                    needed="one backbone in one table, so that the rows differ in weights alone",
                    fix="compare them in two tables",
                )
    return known


def _input_of(backbone: nn.Module, path: Path) -> dict[str, Any]:
    """How the file's input is normalised.

    Raises:
        UsageError: the file cannot tell, as those in detectron2's names.
    """
    if backbone.mean is None:
        raise UsageError(
            f"{path} does not say how its input is normalised",
            needed="mean, std and channel order of the pretraining",
            fix='densecl.weights.export(FILE, "safetensors", OUT, meta=dict(mean=..., std=..., '
            'channel_order="RGB")) writes a file that says so',
        )
    return {
        "mean": tuple(backbone.mean),  # type: ignore[arg-type]
        "std": tuple(backbone.std),  # type: ignore[arg-type]
        "channel_order": backbone.channel_order,
    }


def bare_run(task: Task, unlabelled: Callable[[], Any]) -> FinetuneSpec:
    """Backbone, input and size of a run of any kind, as ``random_reestimated`` takes them."""
    if isinstance(task, FinetuneSpec):
        return task
    read: Any = getattr(task, "input", None) or getattr(task, "probe", None) or task
    size = next(
        (
            tuple(value)
            for holder, name in ((task, "crop"), (task, "resize"), (read, "resize"))
            if (value := getattr(holder, name, None)) is not None
        ),
        None,
    )
    if size is None:
        size = unlabelled()[0].frames[0].image.shape[:2]
    return FinetuneSpec(
        task.backbone,
        num_classes=1,
        crop=size,
        mean=read.mean,
        std=read.std,
        channel_order=read.channel_order,
    )


def step_flops(spec: FinetuneSpec) -> float:
    """Operations of one fine-tuning step."""
    return float(TRAIN * spec.batch_size * forward_flops(segmentor_of(spec), spec.crop))


def random_reestimated(
    spec: FinetuneSpec, unlabelled: Callable[[], Any]
) -> Callable[[int], dict[str, Tensor]]:
    """Random weights of a seed, their batch-norm statistics re-estimated from unlabelled images.

    Args:
        spec: says the backbone, its input, and the size that images are cut to.
        unlabelled: opens the data set.
    """

    @cache
    def weights(seed: int) -> dict[str, Tensor]:
        backbone = random_backbone(spec.backbone, seed)
        return reestimated_batchnorm(backbone, _unlabelled(spec, unlabelled()))

    return weights


def _unlabelled(spec: FinetuneSpec, dataset: Any) -> Iterator[Tensor]:
    """Normalised batches of unlabelled images, evenly spread over the data set."""
    from densecl.views import ViewGenerator

    count = min(BATCHNORM_IMAGES, len(dataset))
    cut = ViewGenerator("none", size=spec.crop, num_views=1)
    chosen = torch.linspace(0, len(dataset) - 1, count).round().long().tolist()
    for start in range(0, count, BATCHNORM_BATCH):
        images = [
            cut(dataset[i], epoch=0)[0].image.permute(1, 2, 0)
            for i in chosen[start : start + BATCHNORM_BATCH]
        ]
        yield to_input(torch.stack(images).numpy(), spec, torch.device("cpu"))
