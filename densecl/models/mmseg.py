"""Backbones of mmsegmentation, and the stub that lets it import without compiled operators."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

from densecl.errors import UsageError
from densecl.models.adapters import ModuleBackbone

EXTENSION = "mmcv._ext"
INSTALL = "pip install 'densecl[seg]'"


class _MissingOperators(ModuleType):
    """Stands where mmcv's compiled operators would be; each name is a function that refuses."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(*args: object, **kwargs: object) -> NoReturn:
            raise UsageError(
                f"mmcv operator {name!r} was called",
                needed="an mmcv with compiled operators; mmcv-lite has none",
                fix="install the full mmcv 2.1.0 for your torch and CUDA, or avoid this operator",
            )

        refuse.__name__ = name
        return refuse


def ensure_mmseg() -> ModuleType:
    """Import mmsegmentation, standing in for mmcv's compiled operators only where none exist.

    Returns:
        The module ``mmseg``; its models, data sets and transforms are registered.

    Raises:
        UsageError: mmsegmentation or mmcv is not installed, or the two do not fit.
    """
    if importlib.util.find_spec("mmcv") is None or importlib.util.find_spec("mmseg") is None:
        raise UsageError("mmsegmentation is not installed", fix=INSTALL)
    if EXTENSION not in sys.modules and importlib.util.find_spec(EXTENSION) is None:
        stub = _MissingOperators(EXTENSION, "Refuses every operator: mmcv-lite compiles none.")
        # Without a loader, mmcv's own check for compiled operators still answers no.
        stub.__spec__ = ModuleSpec(EXTENSION, loader=None)
        sys.modules[EXTENSION] = stub
    try:
        module = importlib.import_module("mmseg")
        importlib.import_module("mmseg.models")
        importlib.import_module("mmseg.datasets")
    except (ImportError, AssertionError) as error:
        raise UsageError(f"mmsegmentation does not import: {error}", fix=INSTALL) from error
    return module


def has_compiled_operators() -> bool:
    """True where mmcv's operators are the real ones."""
    found = sys.modules.get(EXTENSION)
    if found is not None:
        return not isinstance(found, _MissingOperators)
    return (
        importlib.util.find_spec("mmcv") is not None
        and importlib.util.find_spec(EXTENSION) is not None
    )


@contextmanager
def quiet_init(level: str = "WARNING") -> Iterator[None]:
    """Keep mmengine from printing four lines for every parameter that it initialises.

    Args:
        level: the least that is still printed.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def mmseg_models(level: str = "WARNING") -> Iterator[Any]:
    """mmsegmentation's registry of models, searched first whatever scope is active outside.

    Args:
        level: the least that mmengine prints while weights are initialised inside.

    Raises:
        UsageError: as ``ensure_mmseg``.
    """
    ensure_mmseg()
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS

    with (
        DefaultScope.overwrite_default_scope("mmseg"),
        quiet_init(level),
        warnings.catch_warnings(),
    ):
        # mmsegmentation calls its own deprecated builders
        warnings.filterwarnings("ignore", message=".*would be deprecated soon.*")
        yield MODELS


class MMSegBackbone(ModuleBackbone):
    """A backbone from mmseg's registry: maps by stride, class token where there is one.

    A vision transformer's patch tokens are a map whose stride is the patch size.

    Args:
        **cfg: what mmseg's registry takes; ``type`` without the prefix ``mmseg.``.

    Raises:
        UsageError: mmsegmentation is missing, or has no such backbone.
    """

    def __init__(self, **cfg: Any) -> None:
        name = cfg.get("type")
        with mmseg_models() as models:
            cls = models.get(name) if isinstance(name, str) else None
            if cls is None:
                raise UsageError(f"mmseg has no model {name!r}", needed="e.g. 'mmseg.ResNetV1c'")
            if name == "VisionTransformer" and cfg.get("with_cls_token", True):
                cfg = {"output_cls_token": True, **cfg}
            net = models.build(dict(cfg))
            net.init_weights()
        super().__init__(net)
        self.cfg = dict(cfg)

    def config(self) -> dict[str, object]:
        """The ``dict(type="mmseg....", ...)`` that builds this architecture again."""
        kept = {k: v for k, v in self.cfg.items() if k not in ("init_cfg", "pretrained")}
        return {**kept, "type": f"mmseg.{self.cfg['type']}"}
