"""Validation: unknown fields, bad values and contradictions, before anything heavy starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from densecl.distributed import world_size
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.names import check_arguments, registered, unknown_name
from densecl.engine.optim import scaled_lr
from densecl.engine.schema import FREE, OPTIM_COMMON, OPTIM_TYPES, TOP, Field
from densecl.errors import UsageError


def complete(config: Mapping[str, Any], domain: Domain = IMAGES) -> dict[str, Any]:
    """Check a config and fill in every default.

    Args:
        config: plain builtins, the sections of a config file.
        domain: what the run trains on.

    Returns:
        The effective config. Completing it again changes nothing.

    Raises:
        UsageError: naming the field by its path.
    """
    known = [*FREE, *domain.sections, "optim", *TOP]
    for name in config:
        if name not in known:
            raise unknown_name(name, name, known)
    full: dict[str, Any] = {name: _free(config, name) for name in FREE}
    for name, fields in domain.sections.items():
        full[name] = _section(name, config.get(name, {}), fields)
    full["optim"] = _optim(config.get("optim", {}))
    full.update(_section("", {k: config[k] for k in TOP if k in config}, TOP))
    _check_classes(full, domain)
    _check_contradictions(full, domain)
    return full


def _free(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = config.get(name, {} if name == "views" else None)
    if not isinstance(section, Mapping):
        raise UsageError(
            f"{name} is {section!r}", needed="a dict", fix=f"write {name} = dict(type=..., ...)"
        )
    return dict(section)


def _section(name: str, given: Any, fields: Mapping[str, Field]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{name} is {given!r}", needed="a dict")
    prefix = f"{name}." if name else ""
    for key, value in given.items():
        if key not in fields:
            raise unknown_name(f"{prefix}{key}", key, fields)
        if not fields[key].test(value):
            raise UsageError(f"{prefix}{key} = {value!r}", needed=fields[key].needed)
    filled = {key: given.get(key, field.default) for key, field in fields.items()}
    return {
        key: value
        for key, value in filled.items()
        if not (fields[key].quiet and value == fields[key].default)
    }


def _optim(given: Any) -> dict[str, Any]:
    kind = given.get("type", "SGD") if isinstance(given, Mapping) else None
    own = OPTIM_TYPES.get(str(kind), {})
    others = {key for fields in OPTIM_TYPES.values() for key in fields} - set(own)
    if own:
        for key in others & set(given):
            if given[key] is not None:
                raise UsageError(
                    f"optim.{key} = {given[key]!r} with optim.type = {kind!r}",
                    needed="no field of another optimiser",
                    fix=f"remove it, or set optim.{key}=None",
                )
        given = {key: value for key, value in given.items() if key not in others}
    return _section("optim", given, {**OPTIM_COMMON, **own})


def _check_classes(config: Mapping[str, Any], domain: Domain) -> None:
    """Types are registered and their arguments exist."""
    for name, registry in (("method", domain.methods), ("data", domain.datasets)):
        check_arguments(name, config[name], registered_class(registry, config, name))
    domain.check(config)
    for name in ("data", "val") if "probe" in config else ():
        labelled = config["probe"][name]
        if labelled is not None:
            cls = registered(domain.datasets, labelled["type"], f"probe.{name}.type")
            check_arguments(f"probe.{name}", labelled, cls)


def registered_class(registry: Any, config: Mapping[str, Any], section: str) -> type:
    """The class that a section names by its ``type``."""
    return registered(registry, config[section].get("type"), f"{section}.type")


def _check_contradictions(config: Mapping[str, Any], domain: Domain) -> None:
    schedule, optim = config["schedule"], config["optim"]
    steps, epochs = schedule["max_steps"], schedule["max_epochs"]
    if (steps is None) == (epochs is None):
        raise UsageError(
            f"schedule.max_steps = {steps}, schedule.max_epochs = {epochs}",
            needed="exactly one of the two",
            fix="set the other to None",
        )
    if steps is not None:
        check_warmup(schedule["warmup_steps"], steps)
    for name in ("decay", "decay_every") if schedule["type"] != "exponential" else ():
        if name in schedule:
            raise UsageError(
                f"schedule.{name} = {schedule[name]} with schedule.type = {schedule['type']!r}",
                needed="schedule.type = 'exponential'",
            )
    batch = step_batch(config, world_size())
    peak = scaled_lr(optim["lr"], batch, optim["base_batch"], optim["scaling"])
    if schedule["min_lr"] > peak:
        raise UsageError(
            f"schedule.min_lr = {schedule['min_lr']}",
            needed=f"at most the peak learning rate, {peak:g} after scaling to the batch",
        )
    probe = config.get("probe")
    if probe and probe["every"] and (probe["data"] is None or probe["val"] is None):
        raise UsageError(
            f"probe.every = {probe['every']} without probe.data or probe.val",
            needed="two labelled data sets",
            fix="give both, or set probe.every=0",
        )
    cls = registered_class(domain.methods, config, "method")
    check_num_views(getattr(cls, "num_views", 2), config)
    for path, splits in _splits("method", config["method"]):
        if config["loader"]["batch_size"] % splits:
            raise UsageError(
                f"loader.batch_size = {config['loader']['batch_size']} with {path} = {splits}",
                needed="a batch size that the number of sub-batches divides",
            )
        if config["train"]["sync_bn"]:
            raise UsageError(
                f"train.sync_bn = True with {path} = {splits}",
                needed="either the batch of all processes or parts of one",
                fix="set one of the two off",
            )


def step_batch(config: Mapping[str, Any], world_size: int = 1) -> int:
    """Samples per optimiser step, over micro-batches and processes."""
    return config["loader"]["batch_size"] * config["train"]["accumulate"] * world_size


def check_warmup(warmup: int, steps: int) -> None:
    """Refuse a warm-up that outlasts the schedule."""
    if warmup >= steps:
        raise UsageError(
            f"schedule.warmup_steps = {warmup} with {steps} steps in all",
            needed="a warm-up shorter than the schedule",
        )


def check_num_views(needed: int, config: Mapping[str, Any]) -> None:
    """Refuse views that the method cannot take."""
    given = config["views"].get("num_views", 2)
    needed = config["method"].get("num_views", needed)
    if given != needed:
        raise UsageError(
            f"views.num_views = {given}, but method {config['method']['type']} takes {needed}",
            fix=f"set views.num_views={needed}",
        )


def _splits(path: str, section: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _splits(f"{path}.{key}", value)
        elif key.endswith("splits") and isinstance(value, int) and value > 1:
            yield f"{path}.{key}", value
