"""The state of a run at a step boundary: taken for a checkpoint, put back from one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from densecl.distributed import rank, world_size
from densecl.engine.build import Parts, backbone_prefix
from densecl.engine.checkpoint import tensor_bytes
from densecl.engine.config import config_text
from densecl.engine.rng import capture_rng
from densecl.engine.step import NonFiniteLossError
from densecl.errors import UsageError
from densecl.weights.schema import SCHEMA, code_version


def describe(parts: Parts, data_hash: str) -> dict[str, Any]:
    """What a reader of the checkpoint must know to use its backbone; see ``checkpoint.py``.

    Where the config leaves the backbone to the method, the backbone itself is asked. A method
    with a property ``branch_prefixes`` (branch -> prefix of that branch's backbone in its state
    dict, as ``backbone_prefix``) lets the branches that it does not hand over be read as well.
    """
    config, method = parts.config, parts.method
    exported = method.backbone_for_export()
    told = parts.domain.describe(config, exported)
    backbone = config["method"].get("backbone")
    prefixes = getattr(method, "branch_prefixes", None)
    return {
        "method": config["method"]["type"],
        "branch": method.export_branch,
        "backbone_prefix": backbone_prefix(method, exported),
        **told,
        "backbone": (backbone if isinstance(backbone, dict) else None) or told["backbone"] or {},
        "code_version": code_version(),
        "data_hash": data_hash,
        "torch_version": str(torch.__version__),
        "world_size": world_size(),
        **({"branch_prefixes": dict(prefixes)} if prefixes else {}),
        **getattr(method, "notes", {}),
    }


def take_snapshot(
    parts: Parts, step: int, data_hash: str, rngs: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The content of a checkpoint after ``step`` optimiser steps.

    Args:
        parts: of this rank; what they hold is the same on all.
        step: steps finished.
        data_hash: fingerprint of the data set.
        rngs: ``capture_rng()`` of every rank; empty = of this process, the only one.

    Raises:
        NonFiniteLossError: a weight is NaN or infinite; such a state is never written.
    """
    broken = [n for n, p in parts.method.named_parameters() if not torch.isfinite(p).all()]
    if broken:
        raise NonFiniteLossError(f"not finite after step {step}: {', '.join(broken[:5])}")
    return {
        "schema": SCHEMA,
        "kind": "pretrain",
        "step": step,
        "method": parts.method.state_dict(),
        "optimizer": parts.optimizer.state_dict(),
        "schedule": {"step": step},
        "rng": rngs[0] if rngs else capture_rng(),
        **({"rng_ranks": list(rngs)} if len(rngs) > 1 else {}),
        "sampler": {
            "batches": step * parts.config["train"]["accumulate"],
            "batch_size": parts.config["loader"]["batch_size"],
            "seed": parts.config["seed"],
        },
        "meta": describe(parts, data_hash),
        "config": config_text(parts.config),
    }


def rng_of_this_rank(state: Mapping[str, Any]) -> dict[str, Any]:
    """The generators that this process had when the checkpoint was taken."""
    return state["rng_ranks"][rank()] if "rng_ranks" in state else state["rng"]


def restore_snapshot(parts: Parts, state: Mapping[str, Any]) -> None:
    """Put weights, queues, teachers and optimiser state back; generators are put back later.

    Raises:
        UsageError: the weights do not fit the method of the config.
    """
    try:
        parts.method.load_state_dict(state["method"], strict=True)
        parts.optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"the checkpoint does not fit this method: {error}") from error


def expected_bytes(parts: Parts) -> int:
    """Size of one checkpoint once the optimiser has its state."""
    weights = tensor_bytes(parts.method.state_dict())
    trained = sum(p.numel() * p.element_size() for p in parts.model.parameters() if p.requires_grad)
    buffers = {"SGD": 1, "LARS": 1, "AdamW": 2}[parts.config["optim"]["type"]]
    return weights + buffers * trained
