"""S3DIS in its two layouts, with its stray bytes."""

import numpy as np
import pytest

from densecl.errors import UsageError
from pointcl.data import S3DIS
from pointcl.data.s3dis import CLASSES, read_points
from pointcl.sensors import move

OBJECTS = {"wall_1": 30, "chair_2": 20, "chair_10": 10, "stairs_1": 5}


def room(folder, seed=0, objects=OBJECTS):
    """Annotation files; returns the rows of each in the order of the names."""
    rng = np.random.default_rng(seed)
    rows = {}
    (folder / "Annotations").mkdir(parents=True)
    for name, count in objects.items():
        xyz = rng.integers(-9000, 9000, (count, 3)) / 1000
        rows[name] = np.hstack([xyz, rng.integers(0, 256, (count, 3))])
        lines = ["{:.3f} {:.3f} {:.3f} {:.0f} {:.0f} {:.0f}".format(*row) for row in rows[name]]
        (folder / "Annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return rows


@pytest.fixture
def root(tmp_path):
    for area, name in (("Area_5", "office_10"), ("Area_5", "office_2"), ("Area_1", "hallway_1")):
        room(tmp_path / area / name)
    (tmp_path / "Area_5" / ".DS_Store").write_bytes(b"\0")
    return tmp_path


def test_objects_give_class_and_instance(tmp_path):
    rows = room(tmp_path / "Area_5" / "office_1")
    dataset = S3DIS(tmp_path)
    scan = dataset[0]
    order = ["chair_2", "chair_10", "stairs_1", "wall_1"]
    stacked = np.concatenate([rows[name] for name in order])
    np.testing.assert_array_equal(scan.points, stacked[:, :3].astype(np.float32))
    np.testing.assert_array_equal(scan.colour, stacked[:, 3:])
    names = ["chair", "chair", "clutter", "wall"]  # stairs are no class of the benchmark
    counts = [OBJECTS[name] for name in order]
    want = np.repeat([CLASSES.index(name) for name in names], counts)
    np.testing.assert_array_equal(scan.label, want)
    np.testing.assert_array_equal(scan.instance, np.repeat(range(4), counts))
    assert dataset.palette.shape == (13, 3)
    assert "13 classes occur" in str(dataset.check())


def test_areas_and_rooms_are_in_order(root):
    dataset = S3DIS(root)
    names = [dataset.name(row) for row in range(3)]
    assert names == ["Area_1/hallway_1", "Area_5/office_2", "Area_5/office_10"]
    assert dataset.sequences == ["Area_1", "Area_5", "Area_5"]
    assert len(S3DIS(root, areas=[5])) == 2
    with pytest.raises(UsageError, match=r"holds Area_1, Area_5, not Area_6"):
        S3DIS(root, areas=[5, 6])
    with pytest.raises(UsageError, match="holds no area"):
        S3DIS(root / "Area_1")
    (root / "Area_2").mkdir()
    with pytest.raises(UsageError, match="no rooms in Area_2"):
        S3DIS(root, areas=[2])


def spoil(root, line, change):
    path = root / "Area_5" / "office_2" / "Annotations" / "wall_1.txt"
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = change(lines[line - 1])
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize(
    "change",
    [
        # between two numbers, where a blank should be; and amid a number
        lambda line: line.rsplit(b" ", 1)[0] + b"\x10" + line.rsplit(b" ", 1)[1],
        lambda line: line[:2] + b"\x10" + line[2:],
    ],
)
def test_a_stray_byte_is_reported_with_its_line_or_mended(root, change):
    clean = S3DIS(root, areas=[5])[0]
    path = spoil(root, 17, change)
    with pytest.raises(UsageError, match=r"wall_1\.txt: line 17: stray byte 0x10 .* repair=True"):
        S3DIS(root, areas=[5])[0]
    mended = S3DIS(root, areas=[5], repair=True)[0]
    np.testing.assert_array_equal(mended.points, clean.points)
    np.testing.assert_array_equal(mended.colour, clean.colour)
    dataset = S3DIS(root, areas=[5], on_error="skip")
    assert dataset[0].name == "Area_5/office_10"
    assert path.read_bytes().count(b"\x10") == 1  # the file is left alone


def test_what_cannot_be_mended_is_reported(root):
    path = spoil(root, 3, lambda line: b"1.0 2.0\x10 3.0 4")
    with pytest.raises(UsageError, match=r"line 3: stray byte .* not six numbers"):
        read_points(path, repair=True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line + b" 7", "line 17: .* is not six numbers"),
        (lambda line: b"1.2.3 0 0 0 0 0", "line 17: b'1.2.3 0 0 0 0 0' is not six numbers"),
        (lambda line: line.rsplit(b" ", 1)[0] + b" 256", "colours from .* to 256"),
        (lambda line: line.rsplit(b" ", 1)[0] + b" 0.5", "colours from"),
    ],
)
def test_other_damage_is_reported(root, change, reason):
    spoil(root, 17, change)
    with pytest.raises(UsageError, match=rf"wall_1\.txt: {reason}"):
        S3DIS(root, areas=[5])[0]


def test_empty_or_unknown_objects_are_reported(root):
    folder = root / "Area_5" / "office_2" / "Annotations"
    (folder / "lamp_1.txt").write_text("0 0 0 0 0 0")
    with pytest.raises(UsageError, match=r"lamp_1\.txt: class 'lamp' is none of ceiling"):
        S3DIS(root, areas=[5])[0]
    (folder / "lamp_1.txt").unlink()
    (folder / "wall_1.txt").write_text("\n \n")
    with pytest.raises(UsageError, match=r"wall_1\.txt: it has no points"):
        S3DIS(root, areas=[5])[0]
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="holds no objects"):
        S3DIS(root, areas=[5])[0]


def test_alignment_turns_about_the_rooms_middle_and_the_pose_turns_back(root):
    for area in ("Area_1", "Area_5"):
        lines = "## angle per space\noffice_2 90\noffice_10 0\nhallway_1 180\n"
        (root / area / f"{area}_alignmentAngle.txt").write_text(lines)
    plain, turned = S3DIS(root), S3DIS(root, align=True)
    for before, after in zip(plain, turned, strict=True):
        np.testing.assert_allclose(move(after.to_world, after.points), before.points, atol=1e-5)
    np.testing.assert_allclose(turned[2].points, plain[2].points, atol=1e-5)
    before, after = plain[1].points, turned[1].points
    middle = (before.max(0) + before.min(0)) / 2
    # by 360 - 90 degrees: x goes to -y
    want = (before - middle)[:, [1, 0, 2]] * [1, -1, 1] + middle
    np.testing.assert_allclose(after, want, atol=1e-5)
    (root / "Area_1" / "Area_1_alignmentAngle.txt").write_text("office_9 0\n")
    with pytest.raises(UsageError, match="no alignment angle for Area_1/hallway_1"):
        S3DIS(root, align=True)
    (root / "Area_1" / "Area_1_alignmentAngle.txt").unlink()
    with pytest.raises(UsageError, match=r"Area_1_alignmentAngle\.txt: No such file"):
        S3DIS(root, align=True)


def prepared(folder, count=25):
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    arrays = {
        "coord": rng.normal(0, 5, (count, 3)).astype(np.float32),
        "color": rng.integers(0, 256, (count, 3), np.uint8),
        "segment": rng.integers(-1, 13, (count, 1)).astype(np.int16),
        "instance": rng.integers(-1, 9, count).astype(np.int16),
        "normal": np.tile(np.float32([0, 0.6, 0.8]), (count, 1)),
    }
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    return arrays


def test_prepared_rooms_are_read_too(tmp_path):
    arrays = prepared(tmp_path / "Area_3" / "lounge_1")
    scan = S3DIS(tmp_path)[0]
    np.testing.assert_array_equal(scan.points, arrays["coord"])
    np.testing.assert_array_equal(scan.colour, arrays["color"])
    np.testing.assert_array_equal(scan.normal, arrays["normal"])
    np.testing.assert_array_equal(scan.instance, arrays["instance"])
    label = arrays["segment"][:, 0]
    np.testing.assert_array_equal(scan.label, np.where(label < 0, 255, label))
    bare = S3DIS(tmp_path, labels=False)
    assert bare[0].label is None
    assert bare.classes == ()


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("segment", np.zeros(7, int), r"segment\.npy: 7 values for 25 points"),
        ("segment", np.full(25, 13), r"segment\.npy: class 13 of 13"),
        ("color", np.zeros((25, 4), "u1"), r"color\.npy: \(25, 4\) for 25 points"),
        ("segment", None, r"segment\.npy: No such file"),
    ],
)
def test_bad_prepared_rooms_are_named(tmp_path, name, values, reason):
    folder = tmp_path / "Area_3" / "lounge_1"
    prepared(folder)
    if values is None:
        (folder / f"{name}.npy").unlink()
    else:
        np.save(folder / f"{name}.npy", values)
    with pytest.raises(UsageError, match=reason):
        S3DIS(tmp_path)[0]


def test_truncated_arrays_and_alignment_of_prepared_rooms_are_refused(tmp_path):
    folder = tmp_path / "Area_3" / "lounge_1"
    prepared(folder)
    (tmp_path / "Area_3" / "Area_3_alignmentAngle.txt").write_text("lounge_1 90\n")
    with pytest.raises(UsageError, match="lounge_1 is prepared"):
        S3DIS(tmp_path, align=True)
    data = (folder / "coord.npy").read_bytes()
    (folder / "coord.npy").write_bytes(data[:-5])
    with pytest.raises(UsageError, match=r"coord\.npy: no array that numpy can load"):
        S3DIS(tmp_path)[0]


def test_fingerprint_follows_files_and_settings(root):
    prints = {S3DIS(root).fingerprint(), S3DIS(root).fingerprint()}
    assert len(prints) == 1
    prints |= {S3DIS(root, areas=[5]).fingerprint(), S3DIS(root, labels=False).fingerprint()}
    spoil(root, 3, lambda line: line + b"1")
    prints.add(S3DIS(root).fingerprint())
    assert len(prints) == 4
