"""From a checked config to the parts of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from densecl.distributed import rank, world_size
from densecl.engine.check import check_num_views, check_warmup, registered_class, step_batch
from densecl.engine.config import plain_config
from densecl.engine.device import pick_device
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.model import PretrainModel
from densecl.engine.names import accepted_arguments, arguments_of, registered
from densecl.engine.optim import build_optimizer, scaled_lr
from densecl.engine.processes import in_turn, together
from densecl.engine.rng import seed_everything
from densecl.engine.schedule import LearningRate, build_schedule
from densecl.errors import UsageError
from densecl.methods.base import Method
from densecl.models.cross_process_norm import convert_cross_process_batchnorm


@dataclass
class Parts:
    """What a run is made of.

    Attributes:
        config: the effective config, in builtins.
        domain: what kind of data it trains on.
        dataset: the unlabelled data.
        loader: endless batches.
        model: on its device.
        optimizer: over the model.
        schedule: learning rate of each step.
        max_steps: length of the run in optimiser steps.
        device: where the model lives.
    """

    config: dict[str, Any]
    domain: Domain
    dataset: Any
    loader: DataLoader
    model: PretrainModel
    optimizer: Optimizer
    schedule: LearningRate
    max_steps: int
    device: torch.device

    @property
    def method(self) -> Method:
        """The method inside the model."""
        return self.model.method

    @property
    def data_hash(self) -> str:
        """Fingerprint of the data set."""
        return str(self.dataset.fingerprint())


def build_data(config: Config, domain: Domain = IMAGES) -> Any:
    """The data set of the ``data`` section."""
    cls = registered_class(domain.datasets, config, "data")
    return cls(**arguments_of(plain_config(config["data"])))


def build_labelled(config: Config, name: str, domain: Domain = IMAGES) -> Any:
    """A labelled data set of the ``probe`` section: ``data`` or ``val``."""
    section = config["probe"][name]
    cls = registered(domain.datasets, section["type"], f"probe.{name}.type")
    return cls(**arguments_of(plain_config(section)))


def steps_of(config: Config, num_samples: int, processes: int = 1) -> int:
    """Length of the run in optimiser steps.

    Args:
        config: from ``load_config``.
        num_samples: size of the data set.
        processes: that share each step.

    Raises:
        UsageError: fewer samples than one batch, or a warm-up longer than the run.
    """
    batch, schedule = config["loader"]["batch_size"] * processes, config["schedule"]
    if num_samples < 1:
        raise UsageError("the data set is empty", fix="check the fields of the data section")
    if batch > num_samples:
        several = f" on {processes} processes" if processes > 1 else ""
        raise UsageError(
            f"loader.batch_size = {config['loader']['batch_size']}{several} with {num_samples} "
            "samples",
            needed="at least one full batch",
            fix=f"set loader.batch_size={max(1, num_samples // processes)} or less",
        )
    if schedule["max_steps"] is not None:
        return schedule["max_steps"]
    steps = schedule["max_epochs"] * (num_samples // batch) // config["train"]["accumulate"]
    if steps < 1:
        raise UsageError(
            f"schedule.max_epochs = {schedule['max_epochs']} is less than one optimiser step",
            fix="lower train.accumulate, or set schedule.max_steps",
        )
    check_warmup(schedule["warmup_steps"], steps)
    return steps


def build_method(config: Config, max_steps: int, domain: Domain = IMAGES) -> Method:
    """The method of the ``method`` section, on the CPU.

    An argument named ``max_steps`` that the config leaves out is the length of the run, so that
    momentum schedules end with it.
    """
    cls = registered_class(domain.methods, config, "method")
    arguments = arguments_of(plain_config(config["method"]))
    if config["train"]["grad_checkpoint"] and isinstance(arguments.get("backbone"), dict):
        arguments["backbone"] = {**arguments["backbone"], "grad_checkpoint": True}
    if "max_steps" in (accepted_arguments(cls) or ()):
        arguments.setdefault("max_steps", max_steps)
    method = cls(**arguments)
    check_num_views(method.num_views, config)
    if config["train"]["sync_bn"]:
        convert_cross_process_batchnorm(method)
    return method


def build_parts(config: Config, *, domain: Domain = IMAGES, start_step: int = 0) -> Parts:
    """Build data, model, optimiser and loader; seeds every generator first.

    Of several processes each gets the same weights and its share of the batches.

    Args:
        config: from ``load_config``.
        domain: what it trains on.
        start_step: optimiser steps already finished; the loader continues after them.

    Raises:
        UsageError: from the data set, the method or a contradiction that needs the data's size.
    """
    seed, train, optim = config["seed"], config["train"], config["optim"]
    with together():
        device = pick_device(train["device"])
    dataset = in_turn(lambda: build_data(config, domain))
    plain = plain_config(config)
    with together():
        max_steps = steps_of(config, len(dataset), world_size())
        domain.survey(dataset, plain)
        loader = domain.build_loader(
            dataset,
            domain.build_views(plain),
            plain,
            start_batch=start_step * train["accumulate"],
            rank=rank(),
            world_size=world_size(),
        )
        seed_everything(seed)
        model = domain.build_model(build_method(config, max_steps, domain), plain).to(device)
    batch, schedule = step_batch(config, world_size()), config["schedule"]
    peak = scaled_lr(optim["lr"], batch, optim["base_batch"], optim["scaling"])
    return Parts(
        config=plain,
        domain=domain,
        dataset=dataset,
        loader=loader,
        model=model,
        optimizer=build_optimizer(model, optim, peak),
        schedule=build_schedule(schedule, peak, max_steps),
        max_steps=max_steps,
        device=device,
    )


def backbone_prefix(method: nn.Module, backbone: nn.Module) -> str:
    """Where the exported backbone sits in the state dict of the method, with a final dot.

    Raises:
        ValueError: it is no submodule of the method.
    """
    for name, module in method.named_modules():
        if module is backbone:
            return f"{name}." if name else ""
    raise ValueError("backbone_for_export() returns a module that the method does not hold")
