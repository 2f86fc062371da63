"""Pretraining cells: one run of one method on one fold's unlabelled data, found by its hash."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from densecl.engine.checkpoint import LAST, list_checkpoints
from densecl.engine.config import load_config, plain_config
from densecl.engine.device import settle
from densecl.engine.resume import MATTERS
from densecl.engine.runner import pretrain
from densecl.errors import UsageError
from densecl.files import read_json, write_json
from densecl.studies.config import MethodRow
from densecl.studies.folds import Fold
from densecl.transfer.cells import digest, init_fingerprint

SCHEMA = 1
"""Part of every cell's hash; raised when the same config comes to mean another run."""
RECORD, SECONDS, WEIGHTS = "cell.json", "seconds.json", "backbone.safetensors"


@dataclass(frozen=True)
class Pretraining:
    """One cell.

    Attributes:
        row: the method.
        fold: whose unlabelled data it sees.
        seed: of the run.
        steps: length of the run, None = the config's own.
        root: folder of all pretraining cells; this one lies in ``root/key``.
        configs: further folder in which the row's config is looked for.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    row: MethodRow
    fold: Fold
    seed: int
    steps: int | None
    root: Path
    configs: Path | None = None
    device: str = "auto"

    @cached_property
    def config(self) -> Config:
        """The effective config.

        Raises:
            UsageError: no such config, or options that it refuses.
        """
        beside = None if self.configs is None else self.configs / self.row.pretrain
        source = beside if beside is not None and beside.is_file() else self.row.pretrain
        options = dict(self.row.options)
        domain = self.fold.kind.domain
        own = load_config(source, options, domain=domain)
        changes: dict[str, Any] = {
            **options,
            "data": {"_delete_": True, **self.fold.config.section(self.row.reads)},
            "seed": self.seed,
            "train.device": self.device,
            "work_dir": None,
        }
        if self.steps is not None:
            changes |= {"schedule.max_steps": self.steps, "schedule.max_epochs": None}
            changes |= scaled_fields(own, self.row.scaled, self.steps)
        return settle(load_config(source, changes, domain=domain))

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the weights."""
        return digest(self.identity())

    @cached_property
    def notes(self) -> str:
        """The row's, and what its kind of data has to say of the config."""
        told = self.fold.kind.note(plain_config(self.config))
        return "; ".join(text for text in (self.row.notes, told) if text)

    def identity(self) -> dict[str, Any]:
        """Everything that decides the weights: fields that matter, data, torch, schema."""
        kind = self.fold.kind
        config = with_contents(plain_config(self.config), kind.weights)
        matters: dict[str, Any] = {}
        for path in (*MATTERS, *kind.domain.matters):
            section, _, name = path.partition(".")
            matters[path] = config[section][name] if name else config[section]
        matters["data"] = kind.without_places(config["data"])
        return {
            "schema": SCHEMA,
            "torch": torch.__version__,
            "config": matters,
            "data": str(self.fold.dataset(self.row.reads).fingerprint()),
        }

    @property
    def folder(self) -> Path:
        """Where the run and its weights lie."""
        return self.root / self.key

    @property
    def weights(self) -> Path:
        """The backbone, once the run is finished."""
        return self.folder / WEIGHTS

    def record(self) -> dict[str, Any] | None:
        """What is known of the finished run, or None."""
        return read_json(self.folder / RECORD)

    def fingerprint(self) -> str | None:
        """Of the finished weights' content, or None."""
        record = self.record()
        return None if record is None else str(record["weights"])

    def state(self) -> dict[str, torch.Tensor]:
        """The finished backbone's state dict."""
        return dict(self.fold.kind.load(self.weights).state_dict())

    def run(self, max_minutes: float | None = None) -> bool:
        """Start or continue the run; whether it is finished now.

        A run stopped by the clock, by a signal or killed goes on from its last checkpoint. When
        it is done the backbone is kept, the checkpoints are not.

        Raises:
            KeyboardInterrupt: a signal stopped it.
        """
        began = time.monotonic()
        kind = self.fold.kind
        result = pretrain(
            self.config,
            work_dir=self.folder,
            resume="auto",
            max_minutes=max_minutes,
            domain=kind.domain,
        )
        spent = (read_json(self.folder / SECONDS) or 0.0) + time.monotonic() - began
        write_json(self.folder / SECONDS, spent)
        if result.reason == "interrupted":
            raise KeyboardInterrupt
        if result.reason != "finished" or result.checkpoint is None:
            return False
        report = kind.keep(result.checkpoint, self.weights)
        if report.path is None:
            raise UsageError(f"the weights of {self.folder} cannot be kept: {report.reasons}")
        record = {
            "identity": self.identity(),
            "row": self.row.name,
            "seed": self.seed,
            "steps": result.steps,
            "seconds": spent,
            "weights": init_fingerprint(self.state()),
        }
        write_json(self.folder / RECORD, record)
        for path in (*list_checkpoints(self.folder), self.folder / LAST):
            path.unlink(missing_ok=True)
        return True


def with_contents(config: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """A config with the content of weight files in the place of their paths.

    Args:
        config: in builtins.
        fields: that may name a file, dotted; other values, and names of no file, stay.
    """
    config = copy.deepcopy(config)
    for name in fields:
        *parents, last = name.split(".")
        section: Any = config
        for part in parents:
            section = section.get(part) if isinstance(section, Mapping) else None
        value = section.get(last) if isinstance(section, Mapping) else None
        if isinstance(value, str) and Path(value).expanduser().is_file():
            section[last] = init_fingerprint(Path(value).expanduser())
    return config


def scaled_fields(config: Config, names: tuple[str, ...], steps: int) -> dict[str, int]:
    """Fields counted in steps, in proportion to the budget.

    Args:
        config: the row's own, with its own length.
        names: dotted fields; one that the config does not set is passed over.
        steps: the budget.

    Raises:
        UsageError: a field that is no whole number.
    """
    length = config["schedule"]["max_steps"]
    scaled = {}
    for name in names:
        value: Any = plain_config(config)
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or length is None:
            continue
        if not isinstance(value, int):
            raise UsageError(f"scaled field {name} = {value!r}", needed="a number of steps")
        scaled[name] = round(value * steps / length)
    return scaled
