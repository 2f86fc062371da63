"""What runs on scans cost, in floating-point operations of their matrix products.

The count is that of steps as they are, forward and backward, heads and teachers included, since a
sparse network's work depends on its voxels. It is the same on every machine with the same backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from densecl.engine.build import build_parts
from densecl.engine.config import load_config, parse_config_text
from densecl.engine.rng import untouched_rng
from densecl.errors import UsageError
from pointcl.engine.domain import POINTS
from pointcl.transfer.clouds import LabelledScans
from pointcl.transfer.finetuning import FinetuneSpec, build_started, training_batch_of
from pointcl.transfer.segmentation import voxel_loss

STEPS = 2
"""Steps that are tried."""


def pretraining_cost(checkpoint: Mapping[str, Any]) -> float | None:
    """Operations of the run that wrote a checkpoint; None where its data are not here any more."""
    try:
        config = load_config(
            parse_config_text(checkpoint["config"]),
            {"loader.num_workers": 0, "train.device": "cpu"},
            domain=POINTS,
        )
        with untouched_rng():
            parts = build_parts(config, domain=POINTS)
            batches = list(islice(iter(parts.loader), STEPS))
            parts.model.train()
            total = sum(
                operations(lambda b=batch: _sum(parts.model(b).losses))  # type: ignore[misc]
                for batch in batches
            )
    except UsageError:
        return None
    micro_batches = checkpoint["step"] * config["train"]["accumulate"]
    return micro_batches * total / len(batches)


def step_cost(spec: FinetuneSpec, scans: LabelledScans) -> float:
    """Operations of one step of a fine-tuning run."""
    segmentor = build_started(spec, None, 0).train()

    def loss_of(step: int) -> Tensor:
        batch = training_batch_of(spec, scans, 0, step)
        labels = batch.to_point_set({}).label
        assert labels is not None
        return voxel_loss(segmentor(batch.voxels.tensor), labels, ignore=spec.ignore)

    return sum(operations(lambda s=step: loss_of(s)) for step in range(STEPS)) / STEPS  # type: ignore[misc]


def operations(loss: Callable[[], Tensor]) -> float:
    """Operations of computing a loss and its gradient."""
    with FlopCounterMode(display=False) as counter:
        loss().backward()
    return float(counter.get_total_flops())


def _sum(losses: Mapping[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
