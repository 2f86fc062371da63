from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from densecl.files import read_json
from densecl.transfer.cells import (
    Cell,
    CellStore,
    data_fingerprint,
    init_fingerprint,
)
from densecl.transfer.columns import Column


@pytest.fixture
def cell(tiny_spec):
    return Cell("scratch", tiny_spec, "random", 0, "5%", ("a", "b"), ("train", "val"))


def test_key_changes_with_everything_that_decides_the_result(cell):
    changes = [
        {"spec": replace(cell.spec, lr=0.7)},
        {"spec": replace(cell.spec, steps=99)},
        {"spec": replace(cell.spec, backbone={**cell.spec.backbone, "width": 8})},
        {"init": "state:ab"},
        {"seed": 1},
        {"items": ("a", "c")},
        {"items": ("b", "a")},
        {"data": ("train2", "val")},
        {"data": ("train", "val2")},
    ]
    keys = {replace(cell, **change).key() for change in changes} | {cell.key()}
    assert len(keys) == len(changes) + 1


def test_key_does_not_change_with_names(cell):
    assert replace(cell, row="other", subset="other").key() == cell.key()


def test_weights_fingerprint_follows_content(tmp_path):
    state = {"a": torch.arange(4.0), "b": torch.tensor(3)}
    base = init_fingerprint(state)
    assert base == init_fingerprint(dict(reversed(state.items())))
    assert base != init_fingerprint({**state, "a": torch.arange(4.0) + 1e-7})
    assert base != init_fingerprint({**state, "a": torch.arange(4.0).view(2, 2)})
    assert base != init_fingerprint({**state, "a": torch.arange(4.0).double()})
    assert base != init_fingerprint({"c": state["a"], "b": state["b"]})
    assert init_fingerprint(None) == "random"
    (tmp_path / "x").write_bytes(b"weights")
    (tmp_path / "y").write_bytes(b"weights")
    (tmp_path / "z").write_bytes(b"other")
    x, y, z = (init_fingerprint(tmp_path / name) for name in "xyz")
    assert x == y == init_fingerprint(str(tmp_path / "x")) != z


def test_data_fingerprint_is_the_data_sets_own_or_its_names(blocks):
    assert data_fingerprint(blocks(3)) == data_fingerprint(blocks(3))
    assert data_fingerprint(blocks(3)) != data_fingerprint(blocks(4))

    class Printed(type(blocks(1))):
        def fingerprint(self):
            return "v7"

    assert data_fingerprint(Printed(3)) == "v7"


def test_store_round_trip(tmp_path, cell):
    store = CellStore(tmp_path / "cells")
    assert store.result(cell) is None
    assert store.weights(cell) is None
    store.save_result(cell, {"miou": 0.5})
    store.save_weights(cell, {"w": torch.arange(3)})
    assert store.result(cell) == {"miou": 0.5}
    assert torch.equal(store.weights(cell)["w"], torch.arange(3))
    assert read_json(tmp_path / "cells" / f"{cell.key()}.json")["identity"]["seed"] == 0
    store.drop_weights(cell)
    store.drop_weights(cell)
    assert store.weights(cell) is None
    assert store.result(cell) == {"miou": 0.5}


def test_test_results_belong_to_one_test_set(tmp_path, cell):
    store = CellStore(tmp_path)
    store.save_test_result(cell, "town A", {"miou": 0.5})
    assert store.test_result(cell, "town A") == {"miou": 0.5}
    assert store.test_result(cell, "town B") is None


def test_results_from_before_a_column_was_there_do_not_count(tmp_path, cell):
    class Judged(type(cell.spec)):
        columns = (Column("miou", "mIoU"), Column("share", "picture share", "none"))

    spec = Judged(**{each.name: getattr(cell.spec, each.name) for each in fields(cell.spec)})
    more = replace(cell, spec=spec)
    assert more.key() == cell.key()
    store = CellStore(tmp_path)
    store.save_result(cell, {"miou": 0.5})
    store.save_test_result(cell, "town A", {"miou": 0.4})
    assert store.result(more) is store.test_result(more, "town A") is None
    store.save_result(more, {"miou": 0.5, "share": 0.1})
    store.save_test_result(more, "town A", {"miou": 0.4, "share": 0.2})
    assert store.result(more)["share"] == 0.1
    assert store.test_result(more, "town A")["share"] == 0.2


def test_half_written_files_do_not_count(tmp_path, cell):
    store = CellStore(tmp_path)
    store.save_result(cell, {"miou": 0.5})
    path = tmp_path / f"{cell.key()}.json"
    path.write_text(path.read_text()[:20])
    assert store.result(cell) is None
