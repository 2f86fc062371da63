"""A mmsegmentation segmentor around a backbone of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from densecl.errors import UsageError
from densecl.models.frozen import frozen
from densecl.models.mmseg import mmseg_models
from densecl.models.mmseg_config import mmseg_config

HEADS = ("fcn", "upernet", "deeplabv3plus")
ATROUS = {8: (1, 12, 24, 36), 16: (1, 6, 12, 18), 32: (1, 3, 6, 9)}
"""Stride of the last map -> dilations of the pyramid: the reach in pixels is the same for each."""


def build_mmseg_backbone(cfg: Mapping[str, Any]) -> nn.Module:
    """Build a backbone of mmsegmentation; its weights are as the constructor leaves them."""
    with mmseg_models() as models:
        return models.build(dict(cfg))


def feature_maps(backbone: nn.Module, size: int = 64) -> tuple[list[int], list[int]]:
    """Channels and strides of the maps that a mmsegmentation backbone returns, by a trial run."""
    with frozen(backbone):
        maps = backbone(torch.zeros(1, 3, size, size))
    return [int(each.shape[1]) for each in maps], [size // int(each.shape[-1]) for each in maps]


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
        head: ``fcn`` (on the last map), ``upernet`` (on all maps) or ``deeplabv3plus`` (atrous
            pyramid on the last map, refined by the first one; its dilations follow the stride of
            the last map, see ``ATROUS``).
        backbone: a backbone config of ours, or ``dict(type="mmseg.<Name>", ...)``.
        num_classes: L.
        channels: width of the head.
        output_stride: see ``mmseg_config``.
        ignore: label id that the loss leaves out, also from its mean.
        head_options: overrides of the head's config, by mmsegmentation's names.

    Raises:
        UsageError: an unknown head, a backbone that cannot be mirrored, or one whose last map has
            no dilations in ``ATROUS``.
    """
    if head not in HEADS:
        raise UsageError(f"segmentation head {head!r}", needed=" or ".join(map(repr, HEADS)))
    backbone_cfg = mmseg_config(backbone, output_stride)
    widths, strides = feature_maps(build_mmseg_backbone(backbone_cfg))
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
    elif head == "upernet":
        decode_head |= {
            "type": "UPerHead",
            "in_channels": widths,
            "in_index": list(range(len(widths))),
            "pool_scales": (1, 2, 3, 6),
        }
    else:
        decode_head |= {
            "type": "DepthwiseSeparableASPPHead",
            "in_channels": widths[-1],
            "in_index": len(widths) - 1,
            "dilations": _dilations(strides[-1], head_options),
            "c1_in_channels": widths[0],
            # 48 of 256 in the paper
            "c1_channels": max(1, channels * 3 // 16),
        }
    with mmseg_models() as models:
        segmentor = models.build(
            {
                "type": "EncoderDecoder",
                "backbone": backbone_cfg,
                "decode_head": decode_head | dict(head_options or {}),
                "train_cfg": {},
                "test_cfg": {"mode": "whole"},
            }
        )
        segmentor.init_weights()
    return segmentor


def _dilations(stride: int, head_options: Mapping[str, Any] | None) -> Sequence[int]:
    if head_options and "dilations" in head_options:
        return head_options["dilations"]
    if stride not in ATROUS:
        raise UsageError(
            f"deeplabv3plus on a map of stride {stride}",
            needed=f"stride {', '.join(map(str, ATROUS))}, or dilations of your own",
            fix="set output_stride, or head_options=dict(dilations=(1, ...))",
        )
    return ATROUS[stride]


def logits_and_maps(segmentor: nn.Module, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """``logits_of``, and the backbone's maps that they were computed from, finest first."""
    maps = segmentor.extract_feat(inputs)  # type: ignore[operator]
    return segmentor.decode_head.forward(maps), maps  # type: ignore[union-attr]


def logits_of(segmentor: nn.Module, inputs: Tensor) -> Tensor:
    """Raw logits of the decode head, (B, L, h, w), at the head's own stride."""
    return logits_and_maps(segmentor, inputs)[0]


def segmentation_loss(
    segmentor: nn.Module, logits: Tensor, labels: Tensor, class_weights: Tensor | None = None
) -> Tensor:
    """The decode head's loss of given logits, in float32.

    Args:
        segmentor: its ``decode_head`` computes the loss.
        logits: (B, L, h, w).
        labels: (B, H, W) int64.
        class_weights: (L,) or None. mmsegmentation's own weighting cannot leave out the ignore
            label, so with weights the weighted mean is formed here.
    """
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    if class_weights is not None:
        ignore: int = segmentor.decode_head.ignore_index  # type: ignore[assignment, union-attr]
        full = functional.interpolate(
            logits.float(), labels.shape[1:], mode="bilinear", align_corners=False
        )
        total = functional.cross_entropy(
            full, labels, class_weights, ignore_index=ignore, reduction="sum"
        )
        return total / class_weights[labels[labels != ignore]].sum().clamp(min=1e-6)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label[None])) for label in labels]
    terms = segmentor.decode_head.loss_by_feat(logits.float(), samples)  # type: ignore[operator, union-attr]
    losses = [value for name, value in terms.items() if "loss" in name]
    return torch.stack(losses).sum()


def predict(segmentor: nn.Module, inputs: Tensor, size: Sequence[int]) -> Tensor:
    """Class ids (B, H, W) int64 at ``size``, logits being resized bilinearly before the argmax."""
    metas = [{"img_shape": tuple(size)}] * len(inputs)
    return segmentor.encode_decode(inputs, metas).argmax(dim=1)  # type: ignore[operator]
