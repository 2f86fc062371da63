"""Configs: found by name, read through mmengine, overridden, checked, written out in full."""

from __future__ import annotations

import ast
import os
import pprint
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from densecl.engine.check import complete
from densecl.engine.domain import IMAGES, Domain
from densecl.errors import UsageError

PACKAGE = Path(__file__).resolve().parents[1]
ROOTS = (PACKAGE.parent / "configs", PACKAGE / "configs")
"""Where shipped configs lie: in a checkout, in an installed wheel."""
APART = ("pointcl",)
"""Folders of configs that another command lists."""


def list_configs(domain: Domain = IMAGES) -> list[str]:
    """Names of the shipped configs, sorted; files under ``_base_`` are parts, not configs."""
    return sorted(_shipped(domain))


def _shipped(domain: Domain) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for root in (root / domain.configs for root in ROOTS):
        for path in sorted(root.rglob("*.py")) if root.is_dir() else ():
            parts = path.relative_to(root).parts
            if parts[0] not in APART and not any(part.startswith("_") for part in parts):
                found.setdefault(path.stem, path)
    return found


def find_config(name: str | os.PathLike[str], domain: Domain = IMAGES) -> Path:
    """The file of a config, given as a path or as the name of a shipped one.

    Raises:
        UsageError: neither; names the nearest shipped config.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = _shipped(domain)
    stem = path.name.removesuffix(".py")
    if stem in shipped and len(path.parts) == 1:
        return shipped[stem]
    close = get_close_matches(stem, shipped, n=1, cutoff=0.4)
    listing = f"list them with: {domain.program} configs list"
    raise UsageError(
        f"no config {str(name)!r}",
        needed="the path of a config file, or the name of a shipped one",
        fix=f"did you mean {close[0]!r}?" if close else listing,
    )


def load_config(
    source: str | os.PathLike[str] | Mapping[str, Any],
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    domain: Domain = IMAGES,
) -> Config:
    """Read a config, apply overrides, fill in defaults and check all of it.

    Args:
        source: path or name (see ``find_config``), or the sections themselves.
        overrides: ``{"optim.lr": 0.1}``, or ``["optim.lr=0.1", "views.size=[64,96]"]`` in the
            syntax of mmengine's ``--cfg-options``.
        domain: what the run trains on.

    Returns:
        The effective config; ``filename`` names the file it came from, if any.

    Raises:
        UsageError: unknown file, field or class; a bad value; a contradiction.
    """
    config = _read(source, domain)
    changes = overrides if isinstance(overrides, Mapping) else parse_overrides(overrides)
    try:
        config.merge_from_dict(dict(changes))
    except (TypeError, KeyError, IndexError, AssertionError) as error:
        raise UsageError(f"cannot apply the overrides {dict(changes)}: {error}") from error
    sections = _plain({k: v for k, v in config.items() if not k.startswith("_")}, "")
    return Config(complete(sections, domain), filename=config.filename)


def _read(source: str | os.PathLike[str] | Mapping[str, Any], domain: Domain) -> Config:
    if isinstance(source, Config):
        return Config(source.to_dict(), filename=source.filename)
    if isinstance(source, Mapping):
        return Config(dict(source))
    path = find_config(source, domain)
    try:
        return Config.fromfile(str(path), lazy_import=False)
    except (SyntaxError, NameError, KeyError, TypeError, OSError, ImportError) as error:
        raise UsageError(
            f"cannot read the config {path}: {type(error).__name__}: {error}",
            needed="a Python file of assignments of plain values",
        ) from error


def parse_overrides(options: Sequence[str]) -> dict[str, Any]:
    """``["a.b=1", "c=[x,y]"]`` as ``{"a.b": 1, "c": ["x", "y"]}``.

    Raises:
        UsageError: an option without ``=``.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        key, separator, value = option.partition("=")
        if not separator or not key:
            raise UsageError(f"override {option!r}", needed="FIELD=VALUE, e.g. optim.lr=0.1")
        parsed[key] = DictAction._parse_iterable(value)
    return parsed


def _plain(value: Any, path: str) -> Any:
    """The value in builtins only."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v, f"{path}[{i}]") for i, v in enumerate(value))
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UsageError(
        f"{path} is a {type(value).__name__}",
        needed="plain values: dict, list, tuple, str, int, float, bool or None",
        fix="name classes by string under 'type'",
    )


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a config as builtins."""
    return _plain(dict(config.items()), "")


def config_text(config: Mapping[str, Any]) -> str:
    """A config as the text of a config file."""
    sections = plain_config(config)
    lines = [
        f"{name} = {pprint.pformat(value, width=96, sort_dicts=False)}"
        for name, value in sections.items()
    ]
    return "\n".join(lines) + "\n"


def parse_config_text(text: str) -> dict[str, Any]:
    """Read back what ``config_text`` wrote; evaluates literals only, runs nothing."""
    sections = {}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            raise ValueError("config text holds something other than assignments")
        sections[node.targets[0].id] = ast.literal_eval(node.value)
    return sections


def default_work_dir(config: Config) -> Path:
    """``work_dir`` of the config, else ``work_dirs/<config name>``."""
    if config.work_dir is not None:
        return Path(config.work_dir)
    return Path("work_dirs") / (Path(config.filename).stem if config.filename else "unnamed")
