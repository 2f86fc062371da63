"""Configs of mmdetection's detectors, small enough to be fitted to few images in a short run."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from densecl.errors import UsageError

FINEST_SCALE = 56
"""Boxes up to twice this size are pooled from the finest map, up to 4 times from the next, ..."""
_FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25}
_SMALLEST = {"min_bbox_size": 0}


def _coder(std: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> dict[str, Any]:
    return {"type": "DeltaXYWHBBoxCoder", "target_means": (0.0,) * 4, "target_stds": std}


def _assigner(positive: float, negative: float, least: float, **more: Any) -> dict[str, Any]:
    return {
        "type": "MaxIoUAssigner",
        "pos_iou_thr": positive,
        "neg_iou_thr": negative,
        "min_pos_iou": least,
        "ignore_iof_thr": 0.5,
        **more,
    }


def _one_stage(kind: str, head: dict[str, Any], train: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": kind,
        "bbox_head": head,
        "train_cfg": {**train, "allowed_border": -1, "pos_weight": -1, "debug": False},
        "test_cfg": {
            "nms_pre": 1000,
            **_SMALLEST,
            "score_thr": 0.01,
            "nms": {"type": "nms", "iou_threshold": 0.5},
            "max_per_img": 100,
        },
    }


def _retinanet(
    classes: int, channels: int, convs: int, levels: list[int], scale: float, norm: dict[str, Any]
) -> dict[str, Any]:
    head = {
        "type": "RetinaHead",
        "num_classes": classes,
        "in_channels": channels,
        "feat_channels": channels,
        "stacked_convs": convs,
        "norm_cfg": norm,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": scale,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": levels,
            "center_offset": 0.5,
        },
        "bbox_coder": _coder(),
        "loss_cls": _FOCAL,
        # in short runs from few images it brings boxes closer than L1 on the deltas does
        "reg_decoded_bbox": True,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 2.0},
    }
    sampler = {"type": "PseudoSampler"}
    return _one_stage("RetinaNet", head, {"assigner": _assigner(0.5, 0.4, 0.0), "sampler": sampler})


def _fcos(
    classes: int, channels: int, convs: int, levels: list[int], scale: float, norm: dict[str, Any]
) -> dict[str, Any]:
    ends = [-1, *(stride * scale * 2 for stride in levels[:-1]), 1e8]
    head = {
        "type": "FCOSHead",
        "num_classes": classes,
        "in_channels": channels,
        "feat_channels": channels,
        "stacked_convs": convs,
        "norm_cfg": norm,
        "strides": levels,
        "regress_ranges": list(pairwise(ends)),
        "center_sampling": True,
        "norm_on_bbox": True,
        "centerness_on_reg": True,
        "loss_cls": _FOCAL,
        "loss_bbox": {"type": "GIoULoss", "loss_weight": 1.0},
        "loss_centerness": {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0},
    }
    return _one_stage("FCOS", head, {})


def _faster_rcnn(
    classes: int, channels: int, convs: int, levels: list[int], scale: float, norm: dict[str, Any]
) -> dict[str, Any]:
    entropy = {"type": "CrossEntropyLoss", "loss_weight": 1.0}
    distance = {"type": "L1Loss", "loss_weight": 1.0}
    proposals = {
        "nms_pre": 500,
        "max_per_img": 200,
        "nms": {"type": "nms", "iou_threshold": 0.7},
        **_SMALLEST,
    }
    sampler = {"type": "RandomSampler", "neg_pos_ub": -1}
    return {
        "type": "FasterRCNN",
        "rpn_head": {
            "type": "RPNHead",
            "in_channels": channels,
            "feat_channels": channels,
            "num_convs": max(1, convs),
            "anchor_generator": {
                "type": "AnchorGenerator",
                "scales": [scale, scale * 2**0.5],
                "ratios": [0.5, 1.0, 2.0],
                "strides": levels,
                "center_offset": 0.5,
            },
            "bbox_coder": _coder(),
            "loss_cls": {**entropy, "use_sigmoid": True},
            "loss_bbox": distance,
        },
        "roi_head": {
            "type": "StandardRoIHead",
            "bbox_roi_extractor": {
                "type": "SingleRoIExtractor",
                "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 2},
                "out_channels": channels,
                "featmap_strides": levels[:-1] or levels,
                "finest_scale": FINEST_SCALE,
            },
            "bbox_head": {
                "type": "Shared2FCBBoxHead",
                "in_channels": channels,
                "fc_out_channels": 4 * channels,
                "roi_feat_size": 7,
                "num_classes": classes,
                "bbox_coder": _coder((0.1, 0.1, 0.2, 0.2)),
                "reg_class_agnostic": False,
                "loss_cls": {**entropy, "use_sigmoid": False},
                "loss_bbox": distance,
            },
        },
        "train_cfg": {
            "rpn": {
                "assigner": _assigner(0.7, 0.3, 0.3, match_low_quality=True),
                "sampler": {
                    **sampler,
                    "num": 256,
                    "pos_fraction": 0.5,
                    "add_gt_as_proposals": False,
                },
                "allowed_border": -1,
                "pos_weight": -1,
                "debug": False,
            },
            "rpn_proposal": proposals,
            "rcnn": {
                "assigner": _assigner(0.5, 0.5, 0.5, match_low_quality=False),
                "sampler": {
                    **sampler,
                    "num": 128,
                    "pos_fraction": 0.25,
                    "add_gt_as_proposals": True,
                },
                "pos_weight": -1,
                "debug": False,
            },
        },
        "test_cfg": {
            "rpn": proposals,
            "rcnn": {
                "score_thr": 0.01,
                "nms": {"type": "nms", "iou_threshold": 0.5},
                "max_per_img": 100,
            },
        },
    }


def _heads(channels: int) -> int:
    """Attention heads: up to 8, each of 8 channels or more where there are as many."""
    heads = max(1, min(8, channels // 8))
    while channels % heads:
        heads -= 1
    return heads


def _deformable_detr(
    classes: int, channels: int, convs: int, levels: list[int], scale: float, norm: dict[str, Any]
) -> dict[str, Any]:
    if channels % 4:
        raise UsageError(
            f"deformable-detr of {channels} channels",
            needed="a multiple of 4: sines and cosines of two coordinates",
        )
    attention = {"embed_dims": channels, "num_heads": _heads(channels), "batch_first": True}
    plain = {**attention, "attn_drop": 0.0, "proj_drop": 0.0}
    deformable = {**attention, "dropout": 0.0, "num_levels": len(levels), "num_points": 4}
    hidden = {"embed_dims": channels, "feedforward_channels": 4 * channels, "ffn_drop": 0.0}
    return {
        "type": "DeformableDETR",
        "num_queries": 50,
        "num_feature_levels": len(levels),
        "with_box_refine": True,
        "positional_encoding": {"num_feats": channels // 2, "normalize": True, "offset": -0.5},
        "encoder": {
            "num_layers": 2,
            "layer_cfg": {"self_attn_cfg": deformable, "ffn_cfg": hidden},
        },
        "decoder": {
            "num_layers": 2,
            "post_norm_cfg": None,
            "return_intermediate": True,
            "layer_cfg": {"self_attn_cfg": plain, "cross_attn_cfg": deformable, "ffn_cfg": hidden},
        },
        "bbox_head": {
            "type": "DeformableDETRHead",
            "num_classes": classes,
            "embed_dims": channels,
            "num_reg_fcs": convs,
            "loss_cls": {**_FOCAL, "loss_weight": 2.0},
            "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0},
            "loss_iou": {"type": "GIoULoss", "loss_weight": 2.0},
        },
        "train_cfg": {
            "assigner": {
                "type": "HungarianAssigner",
                "match_costs": [
                    {"type": "FocalLossCost", "weight": 2.0},
                    {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
                    {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
                ],
            }
        },
        "test_cfg": {"max_per_img": 100},
    }


DETECTORS = {
    "retinanet": _retinanet,
    "fcos": _fcos,
    "faster-rcnn": _faster_rcnn,
    "deformable-detr": _deformable_detr,
}
"""Name -> config of all but backbone and neck."""

_PYRAMID = {"type": "FPN", "add_extra_convs": "on_output"}
NECKS: dict[str, dict[str, Any]] = {
    "retinanet": _PYRAMID,
    "fcos": _PYRAMID,
    "faster-rcnn": {"type": "FPN", "add_extra_convs": False},
    # maps are joined by the attention, which reads them all
    "deformable-detr": {"type": "ChannelMapper", "kernel_size": 1, "act_cfg": None},
}
"""Name -> what brings the backbone's maps to one width."""
