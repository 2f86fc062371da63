"""A user's own folder of scans."""

import pickle

import numpy as np
import pytest

from densecl.errors import UsageError
from pointcl.data import ScanFolder
from pointcl.registry import DATASETS
from pointcl.sensors import move


def points(seed, count=300, width=4):
    rng = np.random.default_rng(seed)
    rows = rng.uniform(0, 1, (count, width)).astype(np.float32)
    rows[:, :3] = rows[:, :3] * [60, 60, 4] - [30, 30, 2]
    return rows


@pytest.fixture
def root(tmp_path):
    """Mixed formats in two drives, and files that are no scans."""
    for name, seed in (("b/scan10.bin", 0), ("b/scan2.bin", 1)):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        points(seed).tofile(path)
    (tmp_path / "scans" / "a").mkdir()
    np.save(tmp_path / "scans" / "a" / "0.npy", points(2)[:, :3])
    np.savez(tmp_path / "scans" / "top.npz", xyz=points(3)[:, :3], rgb=np.zeros((300, 3), "u1"))
    (tmp_path / "scans" / "readme.md").write_text("about")
    (tmp_path / "scans" / "b" / "notes.md").write_text("more")
    (tmp_path / "scans" / ".hidden.bin").write_bytes(b"x")
    return tmp_path / "scans"


def test_one_line_reads_what_is_there_in_natural_order(root):
    dataset = ScanFolder(root)
    names = [dataset.name(i) for i in range(len(dataset))]
    assert names == ["a/0.npy", "b/scan2.bin", "b/scan10.bin", "top.npz"]
    assert dataset.sequences == ["a", "b", "b", ""]
    assert dataset.ignored == {".md": 2}
    scans = [dataset[i] for i in range(4)]
    np.testing.assert_array_equal(scans[1].points, points(1)[:, :3])
    np.testing.assert_array_equal(scans[1].intensity, points(1)[:, 3])
    assert [scan.intensity is None for scan in scans] == [True, False, False, True]
    assert [scan.colour is None for scan in scans] == [True, True, True, False]
    assert [scan.source for scan in scans] == [0, 1, 2, 3]
    assert all(scan.label is None and scan.ego_to_world is None for scan in scans)


def test_it_is_built_from_a_config_and_travels_to_workers(root):
    dataset = DATASETS.build({"type": "ScanFolder", "root": str(root)})
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[2].points, dataset[2].points)


def test_sub_folders_can_be_left_out(root):
    assert len(ScanFolder(root, recursive=False)) == 1
    assert len(ScanFolder(root, extensions=[".bin"])) == 2


def test_folders_without_scans_say_what_they_hold(tmp_path, root):
    with pytest.raises(UsageError, match=r"data\.root.* does not exist"):
        ScanFolder(tmp_path / "nowhere")
    for path in root.rglob("*.[bn][ip]*"):
        path.unlink()
    with pytest.raises(UsageError, match=r"no scans in .* 2 of '\.md'"):
        ScanFolder(root)
    with pytest.raises(UsageError, match=r"no format of points ends in '\.xyz'"):
        ScanFolder(root, extensions=[".xyz"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"up": "x"}, r"data\.up='x'"),
        ({"intensity_scale": 0}, r"data\.intensity_scale=0"),
        ({"columns": "xyq"}, r"data\.columns='xyq'"),
        ({"labels": "."}, r"data\.labels without data\.classes"),
        ({"on_error": "ignore"}, r"data\.on_error"),
        ({"classes": []}, r"data\.classes"),
    ],
)
def test_options_are_checked_at_the_start(root, option, message):
    with pytest.raises(UsageError, match=message):
        ScanFolder(root, **option)


def test_unclear_columns_are_asked_for_before_training(root):
    points(5, 600, 6).tofile(root / "0.bin")
    with pytest.raises(UsageError, match=r"0\.bin: what its columns are is not clear"):
        ScanFolder(root)
    dataset = ScanFolder(root, columns="xyzrgb", extensions=[".bin"])
    assert len(dataset[0]) == 600
    # 300 rows of four fit 200 rows of six: their colours give it away
    with pytest.raises(UsageError, match=r"scan2\.bin: colours from -"):
        dataset[1]


def test_the_first_binary_file_decides_for_all(root):
    nuscenes = points(5, 301, 5)
    nuscenes[:, 4] = np.arange(301) % 32
    nuscenes.tofile(root / "z.bin")
    with pytest.raises(UsageError, match=r"z\.bin: 1505 .* rows of 4 columns"):
        ScanFolder(root)[4]


def test_bad_files_are_skipped_when_asked(root):
    (root / "b" / "scan2.bin").write_bytes(b"12345")
    with pytest.raises(UsageError, match=r"scan2\.bin: 5 bytes"):
        ScanFolder(root)[1]
    dataset = ScanFolder(root, on_error="skip")
    assert dataset[1].name == "b/scan10.bin"
    assert dataset.skipped == ["b/scan2.bin"]
    assert dataset.check().bad


def test_fields_that_mean_nothing_are_listed(root):
    np.savez(root / "x.npz", xyz=points(0)[:, :3], range=np.zeros(300), beam_id=np.zeros(300))
    used, unused = ScanFolder(root).fields(4)
    assert used == ("x", "y", "z")
    assert unused == ("range", "beam_id")


def labelled(root, ids, ending="npy"):
    np.save(root / "0.npy", points(0)[: len(ids), :3])
    folder = root / "labels"
    folder.mkdir(exist_ok=True)
    if ending == "npy":
        np.save(folder / "0.npy", ids)
    elif ending == "txt":
        (folder / "0.txt").write_text("\n".join(map(str, ids)))
    else:
        (np.asarray(ids) + (np.arange(len(ids)) << 16)).astype("<u4").tofile(folder / "0.label")
    return folder


@pytest.mark.parametrize("ending", ["npy", "txt", "label"])
def test_label_files_are_paired_by_name_and_mapped(tmp_path, ending):
    labels = labelled(tmp_path, [0, 2, 1, 40], ending)
    dataset = ScanFolder(
        tmp_path,
        classes=["road", "car"],
        labels=labels,
        learning_map={0: 255, 1: 0, 2: 1, 40: 0},
        palette=[(1, 2, 3), (4, 5, 6)],
    )
    assert len(dataset) == 1  # the label file lies below the root and is no scan
    np.testing.assert_array_equal(dataset[0].label, [255, 1, 0, 0])
    assert dataset.palette.tolist() == [[1, 2, 3], [4, 5, 6]]
    instance = dataset[0].instance
    assert instance.tolist() == [0, 1, 2, 3] if ending == "label" else instance is None


def test_labels_in_the_scans_own_file_are_read_when_classes_are_named(tmp_path):
    ids, instance = [0, 1, -1, 255], [3, -100, 4, 4]
    np.savez(tmp_path / "0.npz", xyz=points(0)[:4, :3], label=ids, instance=instance)
    scan = ScanFolder(tmp_path, classes=["a", "b"])[0]
    assert scan.label.tolist() == [0, 1, 255, 255]
    assert scan.instance.tolist() == [3, -1, 4, 4]
    assert ScanFolder(tmp_path)[0].label is None
    with pytest.raises(UsageError, match=r"0\.npz: raw label id 1 "):
        ScanFolder(tmp_path, classes=["a"])[0]


def test_wrong_labels_are_named(tmp_path):
    labels = labelled(tmp_path, [0, 1, 0])
    options = {"classes": ["a", "b"], "labels": labels}
    np.save(labels / "0.npy", [0, 1])
    with pytest.raises(UsageError, match=r"labels/0\.npy: 2 labels for the 3 points of 0\.npy"):
        ScanFolder(tmp_path, **options)[0]
    np.save(labels / "0.npy", [0, np.nan, 1])
    with pytest.raises(UsageError, match="label that is no whole number"):
        ScanFolder(tmp_path, **options)[0]
    (labels / "0.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UsageError, match="no array that numpy can load"):
        ScanFolder(tmp_path, **options)[0]
    (labels / "0.npy").unlink()
    with pytest.raises(UsageError, match=r"1 of 1 scans have no label file, e\.g\. 0\.npy"):
        ScanFolder(tmp_path, **options)
    with pytest.raises(UsageError, match="no field of labels; it has x, y, z"):
        ScanFolder(tmp_path, classes=["a"])[0]


@pytest.mark.parametrize("up", ["z", "y", "-y"])
def test_up_becomes_z_and_the_pose_leads_back(tmp_path, up):
    xyz = points(0)[:, :3] + np.array([5e5, 0, 0])
    normal = np.tile([0.0, 1.0, 0.0], (300, 1))
    np.savez(tmp_path / "0.npz", xyz=xyz, normal=normal)
    scan = ScanFolder(tmp_path, up=up)[0]
    height = {"z": xyz[:, 2], "y": xyz[:, 1], "-y": -xyz[:, 1]}[up]
    np.testing.assert_allclose(scan.points[:, 2], height, atol=1e-5)
    np.testing.assert_allclose(move(scan.to_world, scan.points), xyz, atol=1e-5)
    turned = scan.normal @ scan.to_ego[:3, :3].T
    np.testing.assert_array_equal(turned, normal)
    assert np.linalg.det(scan.to_ego[:3, :3]) == pytest.approx(1)


def test_las_tiles_share_one_world(tmp_path):
    laspy = pytest.importorskip("laspy")
    for name, east in (("far", 500000.0), ("near", 0.0)):
        header = laspy.LasHeader(point_format=3, version="1.2")
        header.scales = [0.001] * 3
        las = laspy.LasData(header)
        las.x = las.y = las.z = east + np.arange(5) / 8
        las.write(tmp_path / f"{name}.las")
    far, near = ScanFolder(tmp_path)
    assert near.ego_to_world is not None
    np.testing.assert_array_equal(near.ego_to_world, np.eye(4))
    # eighths of a metre are exact
    np.testing.assert_array_equal(move(far.to_world, far.points)[:, 0], 500000 + np.arange(5) / 8)


def test_zeros_are_no_returns_when_asked(tmp_path):
    rows = points(0)
    rows[::3, :3] = 0
    np.save(tmp_path / "0.npy", rows)
    assert np.isfinite(ScanFolder(tmp_path)[0].points).all()
    scan = ScanFolder(tmp_path, zero_is_missing=True)[0]
    np.testing.assert_array_equal(np.isnan(scan.points).all(1), np.arange(300) % 3 == 0)
    assert len(scan) == 300


def test_fingerprint_follows_files_and_settings(root):
    first = ScanFolder(root).fingerprint()
    assert ScanFolder(root).fingerprint() == first
    others = [{"intensity_scale": 2.0}, {"up": "y"}, {"columns": "xyzi", "extensions": [".bin"]}]
    prints = {ScanFolder(root, **option).fingerprint() for option in others}
    points(0, 301).tofile(root / "b" / "scan10.bin")
    prints |= {first, ScanFolder(root).fingerprint()}
    assert len(prints) == 5


def test_a_missing_package_names_the_extra(root, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "plyfile", None)
    (root / "z.ply").write_text("ply")
    with pytest.raises(UsageError, match=r"\.ply files are read with plyfile") as error:
        ScanFolder(root)[4]
    assert error.value.fix == "pip install 'densecl[3d]'"
