"""What the engine has to be told about the kind of data that it trains on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from mmengine.registry import Registry
from torch import Tensor, nn
from torch.utils.data import DataLoader

from densecl.engine.model import ImageModel, InputNorm, PretrainModel
from densecl.engine.names import arguments_of, check_arguments, registered
from densecl.engine.schema import SECTIONS, Field
from densecl.errors import UsageError
from densecl.methods.base import Method
from densecl.models.build import MMSEG_PREFIX, config_of
from densecl.registry import BACKBONES, DATASETS, METHODS


class Domain(ABC):
    """A kind of data: what the parts of a run are called and built from.

    The engine hands a batch from the loader to the model and knows nothing else of it, so a batch
    may be a list of views or any object that holds several things.

    Attributes:
        program: the command, the package to run with ``python -m``.
        configs: folder of its configs below the shipped ones, "" = all that no other has.
        methods, datasets: where ``method.type`` and ``data.type`` are looked up.
        sections: config sections of fixed fields, by name.
        matters: those of its sections that change the weights, beside what matters to all; see
            ``densecl.engine.resume``.
    """

    program: ClassVar[str]
    configs: ClassVar[str]
    methods: ClassVar[Registry]
    datasets: ClassVar[Registry]
    sections: ClassVar[Mapping[str, Mapping[str, Field]]]
    matters: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def check(self, config: Mapping[str, Any]) -> None:
        """Refuse backbone, views and sections that nothing can be built from.

        Args:
            config: complete, but for contradictions between sections.

        Raises:
            UsageError: naming the field by its path.
        """

    @abstractmethod
    def build_views(self, config: Mapping[str, Any]) -> Any:
        """What cuts the views of a sample, seeded by the run's seed."""

    def survey(self, dataset: Any, config: Mapping[str, Any]) -> None:  # noqa: B027
        """Read a few samples where that can tell, before a long run, what is wrong with them.

        Raises:
            UsageError: naming the file.
        """

    def build_loader(
        self,
        dataset: Any,
        views: Any,
        config: Mapping[str, Any],
        *,
        start_batch: int,
        rank: int,
        world_size: int,
    ) -> DataLoader:
        """Endless batches from ``start_batch`` on; views that have a ``collate`` make them."""
        from densecl.data.views import build_loader

        loader = config["loader"]
        collate = {"collate": views.collate} if hasattr(views, "collate") else {}
        return build_loader(
            dataset,
            views,
            loader["batch_size"],
            loader["num_workers"],
            config["seed"],
            start_batch,
            rank=rank,
            world_size=world_size,
            **collate,
        )

    @abstractmethod
    def build_model(self, method: Method, config: Mapping[str, Any]) -> PretrainModel:
        """The method behind what makes a batch of the loader ready for it."""

    @abstractmethod
    def probe_rows(
        self, model: PretrainModel, dataset: Any, part: str, config: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """What the online probe is fitted to or scored on: features (N, C) and labels (N,).

        Args:
            model: in training; its backbone is only read.
            dataset: labelled, the ``part`` of the ``probe`` section.
            part: ``data`` or ``val``.
            config: says how much of it.

        Raises:
            UsageError: a sample without labels.
        """

    @abstractmethod
    def describe(self, config: Mapping[str, Any], backbone: nn.Module) -> dict[str, Any]:
        """What a checkpoint says of the backbone and its input: ``backbone`` and more."""


class _Images(Domain):
    program, configs = "densecl", ""
    methods, datasets = METHODS, DATASETS
    sections = SECTIONS

    def check(self, config: Mapping[str, Any]) -> None:
        from densecl.views.generator import ViewGenerator

        backbone = config["method"].get("backbone")
        if isinstance(backbone, Mapping) and not _of_mmseg(backbone):
            cls = registered(BACKBONES, backbone.get("type"), "method.backbone.type")
            check_arguments("method.backbone", backbone, cls)
        if "seed" in config["views"]:
            raise UsageError("views.seed is given", fix="set the top-level seed")
        ViewGenerator(**config["views"])

    def build_views(self, config: Mapping[str, Any]) -> Any:
        from densecl.views.generator import ViewGenerator

        return ViewGenerator(**arguments_of(config["views"]), seed=config["seed"])

    def build_model(self, method: Method, config: Mapping[str, Any]) -> PretrainModel:
        channels_last = config["train"]["channels_last"]
        return ImageModel(method, input_norm(config), channels_last=channels_last)

    def probe_rows(
        self, model: PretrainModel, dataset: Any, part: str, config: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        from densecl.diagnostics.linear_probe import cells

        assert isinstance(model, ImageModel)
        count = config["probe"]["images" if part == "data" else "val_images"]
        return cells(model.method.backbone_for_export(), model.norm, dataset, count)

    def describe(self, config: Mapping[str, Any], backbone: nn.Module) -> dict[str, Any]:
        return {
            "backbone": config_of(backbone),
            "channel_order": config["input"]["channel_order"],
            "mean": list(config["input"]["mean"]),
            "std": list(config["input"]["std"]),
        }


def input_norm(config: Mapping[str, Any]) -> InputNorm:
    """The normalisation of pictures that the ``input`` section describes."""
    section = config["input"]
    return InputNorm(
        section["mean"],
        section["std"],
        channel_order=section["channel_order"],
        channels_last=config["train"]["channels_last"],
    )


def _of_mmseg(backbone: Mapping[str, Any]) -> bool:
    return str(backbone.get("type", "")).startswith(MMSEG_PREFIX)


IMAGES: Domain = _Images()
