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
from densecl.transfer.finetuning import FinetuneSpec, segmentor_of, to_input
from densecl.transfer.initialisation import random_backbone
from densecl.transfer.kind import Checkpoints, Kind
from densecl.transfer.task import Task
from densecl.weights import load_backbone

if TYPE_CHECKING:
    from densecl.transfer.protocol_file import ProtocolFile

PATHS = ("images", "labels", "root", "path", "annotation", "names")
"""Arguments of data sets that are looked up under ``data_root``."""
GIVEN = ("backbone", "num_classes", "lr", "mean", "std", "channel_order")
"""Fields of a fine-tuning run that come from the checkpoint, the data or the grid."""
BATCHNORM_IMAGES, BATCHNORM_BATCH = 512, 32


class _Pictures(Kind):
    domain = IMAGES
    sections = {  # noqa: RUF012
        "finetune": frozenset(item.name for item in fields(FinetuneSpec)) - set(GIVEN)
    }

    def resolve(self, section: Mapping[str, Any], root: Path | None, where: str) -> dict[str, Any]:
        return resolve(section, root, where)

    def task(
        self, protocol: ProtocolFile, checkpoints: Checkpoints, num_classes: int, device: str
    ) -> FinetuneSpec:
        return finetune_spec(protocol, checkpoints, num_classes, device)

    def load(self, path: Path) -> nn.Module:
        return load_backbone(path)

    def random_reestimated(
        self, task: Task, unlabelled: Callable[[], Any]
    ) -> Callable[[int], dict[str, Tensor]]:
        assert isinstance(task, FinetuneSpec)
        return random_reestimated(task, unlabelled)

    def pretraining_cost(self, checkpoint: Mapping[str, Any]) -> float:
        return pretraining_flops(parse_config_text(checkpoint["config"]), checkpoint["step"])

    def step_cost(self, task: Task, train: Any) -> float:
        assert isinstance(task, FinetuneSpec)
        return step_flops(task)


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
    chosen = dict(protocol.finetune)
    chosen["amp"] = pick_amp(chosen.get("amp", "off"), pick_device(device))
    return FinetuneSpec(num_classes=num_classes, **known, **chosen)


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
