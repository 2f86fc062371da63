"""What a study consists of, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from densecl.studies.cells import PRETRAIN, PretrainCell, TransferCell, ordered
from densecl.studies.config import StudyConfig
from densecl.studies.folds import Fold
from densecl.studies.tables import Cells, StudyTable, pretrainings, study_tables

AnyCell = PretrainCell | TransferCell


@dataclass
class Plan:
    """Everything that a study consists of, checked.

    Attributes:
        config: the study.
        out: its folder.
        folds: the data.
        pretraining: fold -> its pretraining cells.
        tables: of all folds.
        cells: every cell in the order it is run.
    """

    config: StudyConfig
    out: Path
    folds: list[Fold]
    pretraining: dict[str, Cells]
    tables: list[StudyTable]
    cells: list[AnyCell]


def plan_study(config: StudyConfig, out: Path, device: str = "auto") -> Plan:
    """Open and check all data, read all configs, list all cells; nothing is run.

    Raises:
        UsageError: whatever is wrong with the study, by name.
    """
    folds = [Fold(each, config.kind) for each in config.folds]
    for fold in folds:
        fold.check()
    pretraining = {f.name: pretrainings(config, f, out / PRETRAIN, device) for f in folds}
    tables = [
        table
        for fold in folds
        for table in study_tables(config, fold, pretraining[fold.name], out, device)
    ]
    cells = list(ordered(pretraining, tables, config.seeds))
    return Plan(config, out, folds, pretraining, tables, cells)
