from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from densecl.studies import named_weights, plan_study, read_study


@pytest.fixture
def plan(study, quick, write_study, pictures):
    """The small study, run; each backbone's file holds the key of its cell."""

    def make(*lines: str):
        study(*lines)
        plan = plan_study(read_study(write_study(*lines), (), pictures), study.out, "cpu")
        for cells in plan.pretraining.values():
            for cell in (cell for by_seed in cells.values() for cell in by_seed.values()):
                cell.weights.write_text(cell.key)
        return plan

    return make


def cells(plan):
    return [c for cs in plan.pretraining.values() for by in cs.values() for c in by.values()]


def test_every_backbone_has_a_name_of_its_own_that_says_what_it_is(plan):
    made = plan()
    named_weights.name_weights(made)
    found = {path.name: path.read_text() for path in (made.out / "weights").iterdir()}
    wanted = {(c.fold.name, c.row.name.replace(" ", "-"), c.seed): c.key for c in cells(made)}
    assert found == {f"{f}_{row}_4_seed{n}.safetensors": key for (f, row, n), key in wanted.items()}
    assert len(found) == 8


def test_names_hold_after_the_folder_has_moved(plan, tmp_path):
    made = plan()
    named_weights.name_weights(made)
    shutil.move(made.out, tmp_path / "elsewhere")
    found = [path.read_text() for path in (tmp_path / "elsewhere" / "weights").iterdir()]
    assert sorted(found) == sorted(cell.key for cell in cells(made))


def test_a_name_follows_its_row_to_other_weights(plan):
    named_weights.name_weights(plan())
    other = plan("rows[0]['options'] = {**_small, 'method.temperature': 0.3}")
    named_weights.name_weights(other)
    path = other.out / "weights" / "a_MoCo-v2_4_seed0.safetensors"
    (cell,) = [c for c in cells(other) if (c.fold.name, c.row.name, c.seed) == ("a", "MoCo v2", 0)]
    assert path.read_text() == cell.key
    assert not list(path.parent.glob(".*"))


def test_where_no_link_can_be_made_there_is_a_copy(plan, monkeypatch):
    def refuse(self, target, target_is_directory=False):
        raise OSError("no privilege")

    made = plan()
    monkeypatch.setattr(Path, "symlink_to", refuse)
    for path in named_weights.name_weights(made):
        assert not path.is_symlink()
        assert path.read_text() in {cell.key for cell in cells(made)}


def test_a_study_names_them_without_being_asked(plan, study):
    plan()
    study()
    assert len(list((study.out / "weights").iterdir())) == 8
