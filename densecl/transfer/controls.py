"""Control rows: starting points that should *not* help, each missing one thing pretraining gives.

Each function returns a backbone state dict, in our names, that ``finetune`` starts from. The last
control of a table, the method on shuffled pairs, is pretraining itself and not made here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from densecl.data.seeding import derive_seed
from densecl.transfer.initialisation import StateDict, random_backbone

_PERMUTE = 31  # stream of a seed


def scratch(backbone: Mapping[str, Any], seed: int) -> dict[str, Tensor]:
    """Random weights of ``seed``, exactly what ``finetune(init=None, init_seed=seed)`` uses."""
    return _copied(random_backbone(backbone, seed).state_dict())


def scratch_long_steps(steps: int, pretraining_cost: float, step_cost: float) -> int:
    """Fine-tuning steps that spend the pretraining's compute as well.

    Args:
        steps: steps of every other row.
        pretraining_cost: cost of the whole pretraining, in seconds on the same machine or in
            multiply-adds.
        step_cost: cost of one fine-tuning step in the same unit.

    Returns:
        ``steps`` plus the pretraining's worth of steps, rounded up.

    Raises:
        ValueError: a cost that is not a positive finite number.
    """
    if not (0 < step_cost < math.inf and 0 <= pretraining_cost < math.inf):
        raise ValueError(f"costs must be finite: {pretraining_cost}, {step_cost} per step")
    return steps + math.ceil(pretraining_cost / step_cost)


def reestimated_batchnorm(
    model: nn.Module, batches: Iterable[Any], limit: int | None = None
) -> dict[str, Tensor]:
    """The model's weights with batch-norm statistics re-estimated from unlabelled data.

    Isolates what a pretraining run gives by merely having seen the data: with random weights
    this is a control; running statistics are the plain average over the batches.

    Args:
        model: a backbone; it is not changed.
        batches: what the model takes: normalised images (B, 3, H, W), sparse tensors.
        limit: at most this many batches.

    Raises:
        ValueError: no batch, or no batch norm in the model.
    """
    model = copy.deepcopy(model)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise ValueError("the backbone has no batch norm to re-estimate")
    model.train(False)
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's name for a plain average over all batches
        norm.train(True)
    seen = 0
    with torch.no_grad():
        for batch in batches:
            if seen == limit:
                break
            model(batch)
            seen += 1
    if not seen:
        raise ValueError("no batch to estimate batch-norm statistics from")
    return _copied(model.state_dict())


def permuted_within_layers(state: StateDict, seed: int) -> dict[str, Tensor]:
    """Pretrained weights, each tensor's entries shuffled: layer statistics stay, structure goes.

    A weight matrix or kernel is permuted over all its entries. The vectors of one normalisation
    layer (weight, bias, running mean and variance) share one permutation of the channels.

    Args:
        state: a backbone's state dict.
        seed: of the permutations; each layer has its own, whatever the dict's order.
    """
    permuted = {}
    for name, value in state.items():
        if value.ndim == 0 or not value.is_floating_point():
            permuted[name] = value.detach().clone()
            continue
        # kernels by their own name, vectors by their layer's
        stream = name if value.ndim > 1 else name.rpartition(".")[0]
        generator = torch.Generator().manual_seed(derive_seed(seed, _PERMUTE, *stream.encode()))
        order = torch.randperm(value.numel(), generator=generator).to(value.device)
        permuted[name] = value.detach().flatten()[order].reshape(value.shape).clone()
    return permuted


def _copied(state: StateDict) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in state.items()}
