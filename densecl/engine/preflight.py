"""Everything that can go wrong in an hour, tried in a few seconds: a run's dress rehearsal."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from densecl.engine import workers
from densecl.engine.build import Parts, build_labelled, build_parts
from densecl.engine.config import default_work_dir, load_config
from densecl.engine.device import peak_memory, settle, threads
from densecl.engine.disk import require_space
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.hooks.health import measure
from densecl.engine.hooks.progress import duration
from densecl.engine.rng import untouched_rng
from densecl.engine.snapshot import describe, expected_bytes
from densecl.engine.step import StepReport, optimiser_step


@dataclass(frozen=True)
class Report:
    """What a rehearsal found.

    Attributes:
        samples: of the data set.
        parameters: trainable ones.
        steps: length of the run in optimiser steps.
        step_seconds: median time of one step, data included.
        peak_memory: bytes, of the device; on the CPU of the whole process so far.
        checkpoint_bytes: size of one checkpoint.
        disk_bytes: room that the checkpoints need.
        disk_free: bytes free where the run will be written.
        device: where it ran.
        scalars: losses, telemetry and health numbers of the last step tried.
    """

    samples: int
    parameters: int
    steps: int
    step_seconds: float
    peak_memory: int
    checkpoint_bytes: int
    disk_bytes: int
    disk_free: int
    device: str
    scalars: dict[str, float]

    @property
    def total_seconds(self) -> float:
        """Estimate for the whole run."""
        return self.steps * self.step_seconds

    def __str__(self) -> str:
        mebi = 2**20
        rows = {
            "data": f"{self.samples} samples",
            "model": f"{self.parameters / 1e6:.2f} M trainable parameters",
            "run": f"{self.steps} steps of {self.step_seconds:.3g} s on {self.device}, "
            f"about {duration(self.total_seconds)}",
            "memory": f"{self.peak_memory / mebi:.0f} MiB at the peak",
            "disk": f"{self.disk_bytes / mebi:.0f} MiB for checkpoints, "
            f"{self.disk_free / mebi:.0f} MiB free",
        }
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in self.scalars.items())
        return "\n".join([f"{k:>7}: {v}" for k, v in rows.items()] + [f"numbers: {numbers}"])


def validate(
    config: Config | str | os.PathLike[str] | Mapping[str, Any],
    *,
    work_dir: str | os.PathLike[str] | None = None,
    tries: int = 3,
    domain: Domain = IMAGES,
) -> Report:
    """Build everything a run needs and make a few steps on a state that is thrown away.

    Nothing is written, and no generator of this process moves.

    Args:
        config: a config, its path or its name.
        work_dir: where the run would be written; by default the config's.
        tries: steps to make, at least 2: the first, which warms up, is not timed.
        domain: what the run trains on.

    Raises:
        UsageError: anything that ``pretrain`` would have refused.
        NonFiniteLossError: the loss is not finite.
    """
    config = settle(load_config(config, domain=domain))
    folder = Path(work_dir) if work_dir is not None else default_work_dir(config)
    with untouched_rng(), threads(config["train"]["threads"], config["loader"]["num_workers"]):
        parts = build_parts(config, domain=domain)
        if "probe" in config and config["probe"]["every"]:
            for name in ("data", "val"):
                build_labelled(config, name, domain)[0]
        describe(parts, parts.data_hash)
        size = expected_bytes(parts)
        existing = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.is_dir())
        disk = (config["checkpoint"]["keep"] + 1) * size
        require_space(existing, disk, "the checkpoints")
        seconds, report = _rehearse(parts, max(2, tries))
    return Report(
        samples=len(parts.dataset),
        parameters=sum(p.numel() for p in parts.model.parameters() if p.requires_grad),
        steps=parts.max_steps,
        step_seconds=seconds,
        peak_memory=peak_memory(parts.device),
        checkpoint_bytes=size,
        disk_bytes=disk,
        disk_free=shutil.disk_usage(existing).free,
        device=str(parts.device),
        scalars={name: float(v) for name, v in {**report.scalars, **measure(report)}.items()},
    )


def _rehearse(parts: Parts, tries: int) -> tuple[float, StepReport]:
    """Median seconds of a step, and the report of the last one."""
    train = parts.config["train"]
    if parts.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(parts.device)
    batches = workers.start(parts.loader)
    times = []
    try:
        for index in range(tries):
            began = time.perf_counter()
            data = [next(batches) for _ in range(train["accumulate"])]
            report = optimiser_step(
                parts.model,
                parts.optimizer,
                data,
                step=index + 1,
                lr=parts.schedule(index),
                amp=train["amp"],
                grad_clip=train["grad_clip"],
            )
            if parts.device.type == "cuda":
                torch.cuda.synchronize(parts.device)
            times.append(time.perf_counter() - began)
    finally:
        workers.end(batches)
    return statistics.median(times[1:]), report
