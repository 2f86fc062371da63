"""What a config may say: every field of our own sections, its default and what it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Field:
    """One config field.

    Attributes:
        default: filled in where the config is silent.
        test: whether a value is accepted.
        needed: the same in words, for the error.
        quiet: a default that the effective config leaves out. A field that is added to a section
            later is quiet, so that the configs and hashes of runs before it mean what they meant.
    """

    default: Any
    test: Callable[[Any], bool]
    needed: str
    quiet: bool = False


def _is_int(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def whole(default: Any, low: int) -> Field:
    """An integer of at least ``low``."""
    return Field(default, lambda v: _is_int(v, low), f"an integer >= {low}")


def real(default: Any, low: float, *, above: bool = False) -> Field:
    """A number of at least, or with ``above`` more than, ``low``."""
    words = f"a number {'>' if above else '>='} {low:g}"
    return Field(default, lambda v: _is_real(v) and (v > low if above else v >= low), words)


def share(default: float) -> Field:
    """A number in [0, 1)."""
    return Field(default, lambda v: _is_real(v) and 0 <= v < 1, "a number in [0, 1)")


def flag(default: bool) -> Field:
    """True or False."""
    return Field(default, lambda v: isinstance(v, bool), "True or False")


def choice(default: str, *options: str) -> Field:
    """One of some words."""
    return Field(default, lambda v: v in options, "one of " + ", ".join(map(repr, options)))


def numbers(default: tuple[float, ...], low: float, *, above: bool = False) -> Field:
    """As many numbers as the default has."""
    one = real(0, low, above=above)
    return Field(
        default,
        lambda v: isinstance(v, (tuple, list)) and len(v) == len(default) and all(map(one.test, v)),
        f"{len(default)} numbers, each {one.needed}",
    )


def quiet(field: Field) -> Field:
    """The field with a default that the effective config leaves out."""
    return replace(field, quiet=True)


def optional(field: Field) -> Field:
    """The field, or None, which is then its default."""
    return Field(None, lambda v: v is None or field.test(v), f"{field.needed}, or None")


DEVICE = Field(
    "auto",
    lambda v: isinstance(v, str) and v.split(":")[0] in ("auto", "cpu", "cuda"),
    "'auto', 'cpu', 'cuda' or 'cuda:<n>'",
)
REGISTERED = Field(
    None,
    lambda v: v is None or (isinstance(v, dict) and isinstance(v.get("type"), str)),
    "dict(type=<data set>, ...), or None",
)

SECTIONS: dict[str, dict[str, Field]] = {
    "input": {
        "mean": numbers((123.675, 116.28, 103.53), 0.0),
        "std": numbers((58.395, 57.12, 57.375), 0.0, above=True),
        "channel_order": choice("RGB", "RGB", "BGR"),
    },
    "loader": {"batch_size": whole(32, 1), "num_workers": whole(2, 0)},
    "schedule": {
        "max_steps": optional(whole(None, 1)),
        "max_epochs": optional(whole(None, 1)),
        "warmup_steps": whole(0, 0),
        "type": choice("cosine", "cosine", "constant", "exponential"),
        "min_lr": real(0.0, 0.0),
        "decay": quiet(share(0.99)),
        "decay_every": quiet(whole(1, 1)),
    },
    "train": {
        "accumulate": whole(1, 1),
        "amp": choice("off", "off", "bf16", "auto"),
        "channels_last": flag(True),
        "sync_bn": flag(False),
        "find_unused_parameters": flag(False),
        "grad_checkpoint": flag(False),
        "grad_clip": optional(real(None, 0.0, above=True)),
        "device": DEVICE,
        "max_minutes": optional(real(None, 0.0, above=True)),
        "threads": optional(whole(None, 1)),
    },
    "checkpoint": {"every": whole(200, 1), "keep": whole(2, 1)},
    "log": {"every": whole(10, 1), "tensorboard": flag(True)},
    "health": {
        "every": whole(10, 0),
        "min_std": real(0.05, 0.0),
        "min_rank": real(2.0, 0.0),
        "max_empty": real(0.5, 0.0),
    },
    "probe": {
        "every": whole(0, 0),
        "data": REGISTERED,
        "val": REGISTERED,
        "images": whole(64, 1),
        "val_images": whole(64, 1),
        "ridge": real(1e-3, 0.0, above=True),
    },
}

OPTIM_COMMON: dict[str, Field] = {
    "type": choice("SGD", "SGD", "LARS", "AdamW"),
    "lr": real(0.03, 0.0, above=True),
    "weight_decay": real(1e-4, 0.0),
    "base_batch": whole(256, 1),
    "scaling": choice("linear", "linear", "sqrt", "none"),
}
OPTIM_TYPES: dict[str, dict[str, Field]] = {
    "SGD": {
        "momentum": share(0.9),
        "nesterov": flag(False),
        "dampening": quiet(share(0.0)),
    },
    "LARS": {"momentum": share(0.9), "trust": real(1e-3, 0.0, above=True), "eps": real(1e-8, 0.0)},
    "AdamW": {"betas": numbers((0.9, 0.999), 0.0), "eps": real(1e-8, 0.0, above=True)},
}

TOP: dict[str, Field] = {
    "seed": whole(0, 0),
    "work_dir": Field(None, lambda v: v is None or isinstance(v, str), "a path, or None"),
    # mmengine imports these modules when it reads the file: the way to a user's own classes.
    "custom_imports": Field(
        None,
        lambda v: v is None or (isinstance(v, dict) and "imports" in v),
        "dict(imports=[<module>, ...], allow_failed_imports=False), or None",
    ),
}
FREE = ("method", "views", "data")
"""Sections whose fields are the arguments of the class that they build."""
