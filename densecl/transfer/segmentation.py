"""A mmsegmentation segmentor around a backbone of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models.blocks import group_count

HEADS = ("fcn", "upernet")
_DILATION = {  # output stride -> strides and dilations of the four ResNet stages
    32: ((1, 2, 2, 2), (1, 1, 1, 1)),
    16: ((1, 2, 2, 1), (1, 1, 1, 2)),
    8: ((1, 2, 1, 1), (1, 1, 2, 4)),
}


def mmseg_backbone_cfg(
    backbone: Mapping[str, Any], output_stride: int | None = None
) -> dict[str, Any]:
    """Translate a backbone config of ours into mmsegmentation's.

    Args:
        backbone: ``dict(type="ResNet", depth=18, width=32, stem="v1", ...)`` or
            ``dict(type="mmseg.<Name>", ...)``, which is mmsegmentation's own already.
        output_stride: 8, 16 or 32 puts dilation in place of the last strides (ResNet only);
            None keeps the strides that the backbone was pretrained with.

    Raises:
        UsageError: a backbone, stem, norm or stride that mmsegmentation's backbone cannot mirror.
    """
    cfg = dict(backbone)
    kind = cfg.pop("type", None)
    if isinstance(kind, str) and kind.startswith("mmseg."):
        if output_stride is not None:
            raise UsageError(f"output_stride={output_stride} with backbone {kind}", fix="leave out")
        return {**cfg, "type": kind.removeprefix("mmseg.")}
    if kind != "ResNet":
        raise UsageError(f"backbone type {kind!r}", needed='"ResNet" or "mmseg.<Name>"')
    stem, norm = cfg.get("stem", "v1"), cfg.get("norm", "bn")
    types = {"v1": "ResNet", "v1c": "ResNetV1c"}
    if stem not in types:
        raise UsageError(
            f"backbone stem {stem!r}", needed='"v1" or "v1c": mmsegmentation has no other stem'
        )
    if norm not in ("bn", "split", "gn"):
        raise UsageError(f"backbone norm {norm!r}", needed='"bn", "split" or "gn"')
    strides = tuple(cfg.get("strides", (1, 2, 2, 2)))
    dilations = tuple(cfg.get("dilations", (1, 1, 1, 1)))
    if output_stride is not None:
        if output_stride not in _DILATION:
            raise UsageError(f"output_stride={output_stride}", needed="8, 16 or 32")
        strides, dilations = _DILATION[output_stride]
    width = cfg.get("width", 64)
    stem_width = cfg.get("stem_width") or width
    norm_cfg: dict[str, Any] = {"type": "BN", "requires_grad": True}
    if norm == "gn":
        norm_cfg = {"type": "GN", "num_groups": group_count(stem_width), "requires_grad": True}
    return {
        "type": types[stem],
        "depth": cfg.get("depth", 50),
        "stem_channels": stem_width,
        "base_channels": width,
        "strides": strides,
        "dilations": dilations,
        "norm_cfg": norm_cfg,
        "style": "pytorch",
    }


def build_mmseg_backbone(cfg: Mapping[str, Any]) -> nn.Module:
    """Build a backbone through mmsegmentation's registry."""
    from densecl.models.mmseg import ensure_mmseg

    ensure_mmseg()
    from mmseg.registry import MODELS

    return MODELS.build(dict(cfg))


def feature_channels(backbone: nn.Module, size: int = 64) -> list[int]:
    """Channels of each map that a mmsegmentation backbone returns, by a trial run."""
    mode = backbone.training
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, size, size))
    backbone.train(mode)
    return [int(each.shape[1]) for each in maps]


def build_segmentor(
    head: str,
    backbone: Mapping[str, Any],
    num_classes: int,
    channels: int = 64,
    *,
    output_stride: int | None = None,
    ignore: int = 255,
    head_options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A real ``EncoderDecoder``, freshly initialised from torch's global random state.

    Args:
        head: ``fcn`` (on the last map) or ``upernet`` (on all maps).
        backbone: a backbone config of ours, or ``dict(type="mmseg.<Name>", ...)``.
        num_classes: L.
        channels: width of the head.
        output_stride: see ``mmseg_backbone_cfg``.
        ignore: label id that the loss leaves out, also from its mean.
        head_options: overrides of the head's config, by mmsegmentation's names.

    Raises:
        UsageError: an unknown head, or a backbone that cannot be mirrored.
    """
    if head not in HEADS:
        raise UsageError(f"segmentation head {head!r}", needed=" or ".join(map(repr, HEADS)))
    backbone_cfg = mmseg_backbone_cfg(backbone, output_stride)
    widths = feature_channels(build_mmseg_backbone(backbone_cfg))
    decode_head: dict[str, Any] = {
        "channels": channels,
        "num_classes": num_classes,
        "dropout_ratio": 0.1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "align_corners": False,
        "ignore_index": ignore,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "avg_non_ignore": True},
    }
    if head == "fcn":
        decode_head |= {
            "type": "FCNHead",
            "in_channels": widths[-1],
            "in_index": len(widths) - 1,
            "num_convs": 1,
            "concat_input": False,
        }
    else:
        decode_head |= {
            "type": "UPerHead",
            "in_channels": widths,
            "in_index": list(range(len(widths))),
            "pool_scales": (1, 2, 3, 6),
        }
    from mmseg.registry import MODELS

    segmentor = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": backbone_cfg,
            "decode_head": decode_head | dict(head_options or {}),
            "train_cfg": {},
            "test_cfg": {"mode": "whole"},
        }
    )
    with _quiet():
        segmentor.init_weights()
    return segmentor


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back mmengine's one log line per initialised parameter."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def logits_of(segmentor: nn.Module, inputs: Tensor) -> Tensor:
    """Raw logits of the decode head, (B, L, h, w), at the head's own stride."""
    return segmentor.decode_head.forward(segmentor.extract_feat(inputs))  # type: ignore[operator, union-attr]


def segmentation_loss(segmentor: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """The decode head's own loss of given logits, in float32.

    Args:
        segmentor: its ``decode_head`` computes the loss.
        logits: (B, L, h, w).
        labels: (B, H, W) int64.
    """
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    terms = segmentor.decode_head.loss_by_feat(logits.float(), samples)  # type: ignore[operator, union-attr]
    losses = [value for name, value in terms.items() if "loss" in name]
    return torch.stack(losses).sum()


def predict(segmentor: nn.Module, inputs: Tensor, size: Sequence[int]) -> Tensor:
    """Class ids (B, H, W) int64 at ``size``, logits being resized bilinearly before the argmax."""
    metas = [{"img_shape": tuple(size)}] * len(inputs)
    return segmentor.encode_decode(inputs, metas).argmax(dim=1)  # type: ignore[operator]
