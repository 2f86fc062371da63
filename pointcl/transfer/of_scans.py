"""Transfer on scans: what ``densecl.transfer`` has to be told about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from densecl.engine.names import check_arguments, registered, unknown_name
from densecl.errors import UsageError
from densecl.transfer.columns import MIOU
from densecl.transfer.kind import CONTROLS, Checkpoints, Kind, Run
from densecl.transfer.study import RowSpec
from densecl.transfer.task import Task
from densecl.transfer.weight_file import Told, WeightFile, inspect_file
from pointcl.engine.domain import POINTS
from pointcl.models import config_of
from pointcl.registry import DATASETS
from pointcl.transfer.clouds import VOXELS, voxeliser_of
from pointcl.transfer.controls import pointwise_row, random_reestimated
from pointcl.transfer.cost import pretraining_cost, step_cost
from pointcl.transfer.finetuning import FinetuneSpec
from pointcl.transfer.initialisation import FROM_CHECKPOINT, input_of, random_backbone
from pointcl.transfer.segmentation import LOSSES
from pointcl.views.recipe import resolve_recipe
from pointcl.weights import load_backbone
from pointcl.weights.load import read_backbone

if TYPE_CHECKING:
    import numpy as np

    from densecl.transfer.protocol_file import ProtocolFile
    from densecl.transfer.study import Study
    from densecl.transfer.table import Table
    from pointcl.transfer.controls import OnScans

PATHS = ("root",)
"""Arguments of data sets that are looked up under ``data_root``."""
FILES = ("split", "scenes", "subset", "names")
"""Arguments that may name a file, which is looked up there if it is one."""
FOLDERS = ("labels",)


GIVEN = frozenset({"backbone", "voxels", "num_classes"})
"""Fields of a run that come from the checkpoint or the data."""


class _Scans(Kind):
    domain = POINTS
    runs = {  # noqa: RUF012
        "finetune": Run("pointcl.transfer.finetuning:FinetuneSpec", GIVEN | {"lr"}, rate="lr"),
        "probe": Run("pointcl.transfer.probe:FrozenSpec", GIVEN | {"decay"}, rate="decay"),
        "retrieval": Run("pointcl.transfer.retrieval:RetrievalSpec", GIVEN),
        "correspondence": Run(
            "pointcl.transfer.correspondence_task:CorrespondenceSpec", GIVEN, learns=False
        ),
        "image_correspondence": Run(
            "pointcl.transfer.image_correspondence_task:ImageCorrespondenceSpec",
            GIVEN,
            learns=False,
        ),
    }
    fields = {"voxels": FROM_CHECKPOINT}  # noqa: RUF012
    controls = (*CONTROLS, "points")

    def resolve(self, section: Mapping[str, Any], root: Path | None, where: str) -> dict[str, Any]:
        section = dict(section)
        cls = registered(DATASETS, section.get("type"), f"{where}.type")
        check_arguments(where, section, cls)
        if isinstance(section.get("dataset"), Mapping):
            section["dataset"] = self.resolve(section["dataset"], root, f"{where}.dataset")
        for key in (*PATHS, *FILES, *FOLDERS):
            value = section.get(key)
            if root is None or not isinstance(value, str) or Path(value).is_absolute():
                continue
            below = root / value
            there = below.is_file() if key in FILES else below.is_dir()
            if key in PATHS or there:
                section[key] = str(below)
        return section

    def check(self, name: str, fields: Mapping[str, Any]) -> None:
        voxels = fields["voxels"]
        if voxels == FROM_CHECKPOINT:
            return
        if not isinstance(voxels, Mapping):
            raise UsageError(
                f"{name}: voxels = {voxels!r}",
                needed=f"{FROM_CHECKPOINT!r}, or dict(size=..., features=[...])",
            )
        for key in voxels:
            if key not in VOXELS:
                raise unknown_name(f"{name}: voxels.{key}", key, VOXELS)

    def own_run(self, home: str, *, learns: bool) -> Run:
        return Run(home, GIVEN, learns=learns)

    def common(self, protocol: ProtocolFile, checkpoints: Checkpoints) -> dict[str, Any]:
        return _common_input(protocol, checkpoints)

    def task_for(
        self, protocol: ProtocolFile, known: Mapping[str, Any], num_classes: int, device: str
    ) -> Task:
        cls = protocol.how.settings()
        labelled = "num_classes" in {item.name for item in fields(cls)}
        if labelled and not num_classes:
            raise UsageError(
                f"{protocol.name}: data.train has no classes",
                needed="a labelled data set",
                fix="give its classes, or its labels",
            )
        if getattr(cls, "fits", False) and "train" not in protocol.data:
            raise UsageError(
                f"{protocol.name}: data.train is missing",
                needed=f"what {protocol.run} is fitted to; it needs no labels",
            )
        voxeliser_of(known["voxels"])  # refuses what cannot be built
        classes = {"num_classes": num_classes} if labelled else {}
        spec = cls(**classes, **known, **protocol.settings)
        if not isinstance(spec, FinetuneSpec):
            return cast("Task", spec)
        resolve_recipe(spec.views)
        if spec.loss not in LOSSES:
            raise UsageError(
                f"{protocol.name}: finetune.loss = {spec.loss!r}", needed=" or ".join(LOSSES)
            )
        return spec

    def inspect(self, path: Path, told: Told) -> WeightFile:
        if told.channel_order or told.mean or told.std:
            raise UsageError(
                f"{path}: channel_order, mean and std of scans",
                needed="branch or backbone",
                fix="voxels are stated in the protocol: voxels=dict(size=..., features=[...])",
            )
        file = inspect_file(path, told, read_backbone, load_backbone)
        module = file.load()
        voxels = getattr(module, "meta", {}).get("voxels") or {}
        return replace(file, backbone=config_of(module) or file.backbone, input=dict(voxels))

    def known_for(self, file: WeightFile, told: Told, protocol: ProtocolFile) -> dict[str, Any]:
        return {**input_of(file.path, protocol.fields["voxels"]), "backbone": file.backbone}

    def pictures(self, study: Study, table: Table, dataset: Any) -> dict[str, np.ndarray]:
        if MIOU not in table.columns:
            return super().pictures(study, table, dataset)
        from pointcl.transfer.showcase import table_sheet

        sheet = table_sheet(study.rows, table, dataset)
        return {} if sheet is None else {"predictions": sheet}

    def load(self, path: Path) -> nn.Module:
        return load_backbone(path)

    def random(self, known: Mapping[str, Any], seed: int) -> nn.Module:
        return random_backbone(known["backbone"], seed)

    def random_reestimated(
        self, task: Task, unlabelled: Callable[[], Any]
    ) -> Callable[[int], dict[str, Tensor]]:
        return random_reestimated(cast("OnScans", task), unlabelled)

    def pretraining_cost(self, checkpoint: Mapping[str, Any]) -> float | None:
        return pretraining_cost(checkpoint)

    def step_cost(self, task: Task, train: Any) -> float:
        assert isinstance(task, FinetuneSpec)
        return step_cost(task, task.select(train))

    def control(self, name: str, task: Task, train: Any) -> RowSpec:
        # without scans to learn from it is not known whether they have an intensity
        intensity = train is not None and train[0].intensity is not None
        return pointwise_row(cast("OnScans", task), intensity)

    def finish(
        self,
        rows: Sequence[RowSpec],
        table: Table,
        folder: Path,
        val: Any,
        log: Callable[[str], None],
    ) -> None:
        if MIOU not in table.columns:
            return  # points get no class that could be shown
        from pointcl.transfer.showcase import write_pictures

        write_pictures(rows, table, folder, val, log)


SCANS: Kind = _Scans()


def _common_input(protocol: ProtocolFile, checkpoints: Checkpoints) -> dict[str, Any]:
    """Backbone and voxels of all checkpoints.

    Raises:
        UsageError: two of them differ, or one and the protocol.
    """
    first = ""
    known: dict[str, Any] = {}
    for name, files in checkpoints.items():
        for path in dict.fromkeys(files.values()):
            found = input_of(path, protocol.fields["voxels"])
            first, known = (first, known) if known else (name, found)
            if found != known:
                raise UsageError(
                    f"rows {first!r} and {name!r} differ: {_differences(known, found)}",
                    needed="one backbone on one grid in one table, so that the rows differ in "
                    "weights alone",
                    fix="compare them in two tables",
                )
    return known


def _differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Every entry that differs, by name."""
    return "; ".join(
        f"{section}.{name} = {one[section].get(name)!r} and {other[section].get(name)!r}"
        for section in one
        for name in sorted({*one[section], *other[section]})
        if one[section].get(name) != other[section].get(name)
    )
