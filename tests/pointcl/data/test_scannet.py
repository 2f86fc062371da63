"""ScanNet's reconstructions, on rooms of twelve vertices."""

import json

import numpy as np
import pytest

from densecl.errors import UsageError
from pointcl.data import ScanNet
from pointcl.data.scannet import CLASSES, NYU40
from pointcl.sensors import move

plyfile = pytest.importorskip("plyfile")

SEGMENTS = [7, 7, 7, 2, 2, 2, 40, 40, 40, 5, 5, 5]
GROUPS = [
    {"id": 0, "objectId": 0, "label": "office chair", "segments": [7]},
    {"id": 1, "objectId": 1, "label": "wall", "segments": [40, 2]},
]
NYU = [5, 5, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0]
TSV = "id\traw_category\tcategory\tnyu40id\n1\twall\twall\t1\n2\toffice chair\tchair\t5\n"


def vertices(label=None):
    kinds = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1")]
    kinds += [("blue", "u1"), ("alpha", "u1")] + ([] if label is None else [("label", "u2")])
    rng = np.random.default_rng(0)
    rows = np.zeros(12, kinds)
    for name in "xyz":
        rows[name] = rng.normal(0, 2, 12)
    for name in ("red", "green", "blue"):
        rows[name] = rng.integers(0, 256, 12)
    if label is not None:
        rows["label"] = label
    return rows


def write_ply(path, rows):
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")]).write(str(path))


def scene(folder, label=NYU):
    folder.mkdir(parents=True)
    stem = str(folder / folder.name)
    write_ply(f"{stem}_vh_clean_2.ply", vertices())
    if label is not None:
        write_ply(f"{stem}_vh_clean_2.labels.ply", vertices(label))
    segments = {"params": {}, "segIndices": SEGMENTS}
    (folder / f"{folder.name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps(segments))
    (folder / f"{folder.name}.aggregation.json").write_text(json.dumps({"segGroups": GROUPS}))
    turn = "0 -1 0 1.5 1 0 0 -2 0 0 1 0.25 0 0 0 1"
    (folder / f"{folder.name}.txt").write_text(f"axisAlignment = {turn}\nsceneType = Office\n")
    return folder


@pytest.fixture
def root(tmp_path):
    for name in ("scene0001_00", "scene0000_01", "scene0000_00"):
        scene(tmp_path / "scans" / name)
    (tmp_path / "scannetv2-labels.combined.tsv").write_text(TSV)
    return tmp_path


def file(root, ending, name="scene0000_00"):
    return root / "scans" / name / f"{name}{ending}"


def test_vertices_labels_instances_and_segments(root):
    dataset = ScanNet(root)
    scan = dataset[0]
    rows = vertices()
    np.testing.assert_array_equal(scan.points, np.stack([rows[a] for a in "xyz"], 1))
    colour = np.stack([rows[a] for a in ("red", "green", "blue")], 1)
    np.testing.assert_array_equal(scan.colour, colour)
    chair, wall = CLASSES.index("chair"), CLASSES.index("wall")
    assert scan.label.tolist() == [chair] * 3 + [wall] * 6 + [255] * 3
    assert scan.instance.tolist() == [0] * 3 + [1] * 6 + [-1] * 3
    assert scan.regions["mesh"].tolist() == [2] * 3 + [0] * 3 + [3] * 3 + [1] * 3
    assert scan.intensity is None
    assert dataset.palette.shape == (len(NYU40), 3) == (20, 3)


def test_all_40_ids_lead_to_the_20_classes(root):
    names = {}
    for start in (0, 12, 24, 36):
        ids = [min(start + k, 40) for k in range(12)]
        write_ply(file(root, "_vh_clean_2.labels.ply"), vertices(ids))
        names |= dict(zip(ids, ScanNet(root)[0].label.tolist(), strict=True))
    known = {nyu: label for nyu, label in names.items() if label != 255}
    assert known == {nyu: place for place, nyu in enumerate(NYU40)}
    # a few by name, from the NYU40 list
    by_name = {CLASSES[label]: nyu for nyu, label in known.items()}
    assert by_name["refrigerator"] == 24
    assert by_name["shower curtain"] == 28
    assert by_name["otherfurniture"] == 39


def test_labels_come_from_the_segments_where_there_is_no_label_file(root):
    with_file = ScanNet(root)[0].label
    file(root, "_vh_clean_2.labels.ply").unlink()
    np.testing.assert_array_equal(ScanNet(root)[0].label, with_file)
    table = root / "scannetv2-labels.combined.tsv"
    table.rename(root / "scans" / table.name)
    np.testing.assert_array_equal(ScanNet(root / "scans")[0].label, with_file)
    (root / "scans" / table.name).rename(root / "other.tsv")
    with pytest.raises(UsageError, match=r"scene0000_00\.aggregation\.json: its categories need"):
        ScanNet(root)[0]
    np.testing.assert_array_equal(ScanNet(root, tsv=root / "other.tsv")[0].label, with_file)
    (root / "other.tsv").write_text(TSV.replace("office chair", "stool"))
    with pytest.raises(UsageError, match="category 'office chair' is not in"):
        ScanNet(root, tsv=root / "other.tsv")[0]
    (root / "other.tsv").write_text("raw_category\tid\nwall\t1\n")
    with pytest.raises(UsageError, match=r"other\.tsv: no table of raw_category and nyu40id"):
        ScanNet(root, tsv=root / "other.tsv")


def test_scenes_are_chosen_by_list_and_places_are_sequences(root):
    dataset = ScanNet(root)
    assert [dataset.name(row) for row in range(3)][0::2] == ["scene0000_00", "scene0001_00"]
    assert dataset.sequences == ["scene0000", "scene0000", "scene0001"]
    (root / "val.txt").write_text("scene0001_00\n\n")
    assert ScanNet(root, split=root / "val.txt")[0].name == "scene0001_00"
    assert len(ScanNet(root, split=["scene0000_01"])) == 1
    with pytest.raises(UsageError, match=r"1 of the 2 scenes .* e\.g\. scene0707_00"):
        ScanNet(root, split=["scene0000_01", "scene0707_00"])
    (root / "empty").mkdir()
    with pytest.raises(UsageError, match="no scenes in"):
        ScanNet(root / "empty")


def test_alignment_is_off_by_default_and_never_changes_the_world(root):
    plain, turned = ScanNet(root)[0], ScanNet(root, align=True)[0]
    np.testing.assert_array_equal(plain.ego_to_world, np.eye(4))
    x, y, z = plain.points.T
    np.testing.assert_allclose(turned.points, np.stack([1.5 - y, x - 2, z + 0.25], 1), atol=1e-5)
    np.testing.assert_allclose(move(turned.to_world, turned.points), plain.points, atol=1e-5)
    file(root, ".txt").write_text("sceneType = Office\n")
    assert len(ScanNet(root)[0]) == 12
    with pytest.raises(UsageError, match=r"scene0000_00\.txt: it has no axisAlignment"):
        ScanNet(root, align=True)[0]
    file(root, ".txt").write_text("axisAlignment = 1 0 0\n")
    with pytest.raises(UsageError, match=r"scene0000_00\.txt: axisAlignment: "):
        ScanNet(root, align=True)[0]


def test_scenes_of_the_test_set_are_read_without_labels(root):
    for ending in ("_vh_clean_2.labels.ply", ".aggregation.json"):
        file(root, ending).unlink()
    with pytest.raises(UsageError, match=r"labels\.ply: no labels: .* labels=False"):
        ScanNet(root)[0]
    dataset = ScanNet(root, labels=False)
    assert dataset[0].label is None
    assert "mesh" in dataset[0].regions
    assert dataset.classes == ()
    file(root, "_vh_clean_2.0.010000.segs.json").unlink()
    assert not ScanNet(root, labels=False, segments=False)[0].regions
    with pytest.raises(UsageError, match=r"segs\.json: No such file"):
        ScanNet(root, labels=False)[0]


@pytest.mark.parametrize(
    ("ending", "content", "reason"),
    [
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, 2]}', "2 segment ids for 12"),
        ("_vh_clean_2.0.010000.segs.json", '{"segIndices": [1, ', "no whole JSON file"),
        ("_vh_clean_2.0.010000.segs.json", "[]", "it has no list 'segIndices'"),
        (
            ".aggregation.json",
            '{"segGroups": [{"label": "wall"}]}',
            r"segGroups\[0\]: no 'segments'",
        ),
        (".aggregation.json", "{}", "it has no list 'segGroups'"),
        ("_vh_clean_2.ply", "ply\n", "not a whole PLY file"),
        ("_vh_clean_2.ply", "", "the file is empty|not a whole PLY file"),
    ],
)
def test_damaged_files_are_named(root, ending, content, reason):
    file(root, ending).write_text(content)
    name = f"scene0000_00{ending}".replace(".", r"\.")
    with pytest.raises(UsageError, match=rf"{name}: .*({reason})"):
        ScanNet(root)[0]
    dataset = ScanNet(root, on_error="skip")
    assert dataset[0].name == "scene0000_01"


def test_label_files_of_another_mesh_are_refused(root):
    path = file(root, "_vh_clean_2.labels.ply")
    write_ply(path, vertices(NYU)[:7])
    with pytest.raises(UsageError, match=r"labels\.ply: 7 labels for 12 vertices"):
        ScanNet(root)[0]
    write_ply(path, vertices([41] * 12))
    with pytest.raises(UsageError, match=r"labels\.ply: label 41, NYU40 ids are 0 to 40"):
        ScanNet(root)[0]
    write_ply(path, vertices())
    with pytest.raises(UsageError, match=r"labels\.ply: its vertices have no label"):
        ScanNet(root)[0]


def test_fingerprint_follows_scenes_and_settings(root):
    prints = {ScanNet(root).fingerprint(), ScanNet(root).fingerprint()}
    assert len(prints) == 1
    for option in ({"align": True}, {"labels": False}, {"split": ["scene0000_00"]}):
        prints.add(ScanNet(root, **option).fingerprint())
    write_ply(file(root, "_vh_clean_2.ply"), vertices()[:5])
    prints.add(ScanNet(root).fingerprint())
    assert len(prints) == 5
