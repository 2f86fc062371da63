"""Frames as scans: rows are pixels, poses lead to the world."""

import pickle

import cv2
import numpy as np
import pytest
from recordings import rgbd

from densecl.errors import UsageError
from pointcl.data import RGBDFrames
from pointcl.registry import DATASETS
from pointcl.sensors import move


@pytest.fixture(params=list(rgbd.LAYOUTS))
def recording(request, tmp_path):
    return rgbd.LAYOUTS[request.param](tmp_path / "rec"), request.param


def test_the_wall_stands_where_it_is_in_every_frame(recording):
    dataset = RGBDFrames(*recording)
    assert len(dataset) == 4
    for frame, scan in enumerate(dataset):
        assert len(scan) == 24 * 32
        world = move(scan.to_world, scan.points)
        valid = np.isfinite(world).all(1)
        assert np.flatnonzero(~valid).tolist() == [0, 1]  # the two ways of having no depth
        np.testing.assert_allclose(world[valid, 0], rgbd.DISTANCE, atol=1e-6)
        # the middle of the picture is straight ahead: between columns 15 and 16, rows 11 and 12
        middle = world.reshape(24, 32, 3)[11:13, 15:17].mean((0, 1))
        np.testing.assert_allclose(middle, [rgbd.DISTANCE, -0.1 * frame, 1.0], atol=1e-6)


def test_colours_are_those_of_the_pixel(recording):
    scan = RGBDFrames(*recording)[2]
    want = rgbd.colour(2).reshape(-1, 3)
    want[:2] = 0  # no depth
    np.testing.assert_array_equal(scan.colour, want)


def test_points_fall_into_their_pixel_of_the_camera(recording):
    for step in (1, 3):
        dataset = RGBDFrames(*recording, pixel_step=step)
        scan = dataset[1]
        rows = np.flatnonzero(np.isfinite(scan.points).all(1))
        pixel = dataset.pixel(1, rows)
        camera = scan.cameras[0]
        at = scan.points[rows] @ camera.intrinsics.T
        # pixels of a colour image of another size lie at the same share of its extent
        share = at[:, :2] / at[:, 2:] / camera.size[::-1]
        np.testing.assert_allclose(share, pixel / [32, 24], atol=1e-6)
        assert camera.key == dataset.name(1)
        assert camera.image().shape[:2] == camera.size
        np.testing.assert_array_equal(camera.ego_to_world, scan.ego_to_world)


def test_pixel_steps_keep_every_so_many(recording):
    every, third = RGBDFrames(*recording)[0], RGBDFrames(*recording, pixel_step=3)[0]
    points = every.points.reshape(24, 32, 3)[::3, ::3].reshape(-1, 3)
    np.testing.assert_array_equal(third.points, points)


def test_strides_count_from_the_first_frame_of_each_sequence(tmp_path):
    for sequence in ("seq-01", "seq-02"):
        rgbd.seven_scenes(tmp_path / sequence, 5)
    dataset = RGBDFrames(tmp_path, "7scenes", stride=3)
    names = [dataset.name(row) for row in range(len(dataset))]
    assert names == [f"seq-0{s}/frame-00000{f}" for s in (1, 2) for f in (0, 3)]
    chosen = RGBDFrames(tmp_path, "7scenes", split=["seq-02"])
    assert set(chosen.sequences) == {"seq-02"}
    (tmp_path / "office").mkdir()
    (tmp_path / "seq-01").rename(tmp_path / "office" / "seq-01")
    chosen = RGBDFrames(tmp_path, "7scenes", split=["seq-02", "seq-01"])
    assert chosen.sequences[::5] == ["seq-02", "office/seq-01"]
    with pytest.raises(UsageError, match=r"1 sequences .* e\.g\. 'seq-03'"):
        RGBDFrames(tmp_path, "7scenes", split=["seq-03"])


def test_frames_with_infinite_poses_are_dropped_and_counted(tmp_path):
    folder = rgbd.exported(tmp_path / "scene0000_00")
    (folder / "pose/1.txt").write_text("-inf -inf -inf -inf\n" * 4)
    dataset = RGBDFrames(tmp_path, "scannet")
    assert [dataset.name(row)[-1] for row in range(3)] == ["0", "2", "3"]
    assert dataset.dropped == {"infinite pose": 1}
    kept = RGBDFrames(tmp_path, "scannet", invalid_poses="keep")
    assert kept[1].ego_to_world is None
    assert kept[1].to_world is None
    assert kept[1].cameras[0].ego_to_world is None


def test_far_points_are_no_returns(recording):
    scan = RGBDFrames(*recording, max_depth=rgbd.DISTANCE - 0.01)[0]
    assert np.isnan(scan.points).all()
    assert np.isfinite(RGBDFrames(*recording, max_depth=rgbd.DISTANCE)[0].points).any()


def test_without_colour_no_picture_is_decoded(recording):
    root, layout = recording
    pictures = [path for path in root.rglob("*.png") if cv2.imread(str(path), -1).ndim == 3]
    for path in pictures:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
    scan = RGBDFrames(root, layout, colour=False)[0]
    assert scan.colour is None
    assert len(scan.cameras) == 1
    with pytest.raises(UsageError, match="truncated PNG"):
        RGBDFrames(root, layout)[0]


def test_bad_frames_are_named_or_skipped(tmp_path):
    folder = rgbd.seven_scenes(tmp_path)
    path = folder / "frame-000001.depth.png"
    rgbd.png(path, rgbd.depth(1, 1000).astype(np.uint8))
    with pytest.raises(UsageError, match=r"frame-000001\.depth\.png: \(24, 32\) uint8"):
        RGBDFrames(folder, "7scenes")[1]
    (folder / "frame-000002.color.png").unlink()
    with pytest.raises(UsageError, match="frame-000002: the frame has no colour image"):
        RGBDFrames(folder, "7scenes")[2]
    dataset = RGBDFrames(folder, "7scenes", on_error="skip")
    assert dataset[1].name == f"{folder.name}/frame-000003"
    assert dataset.skipped == [f"{folder.name}/frame-{number:06d}" for number in (1, 2)]
    assert set(dataset.sequences) == {folder.name}
    assert not any(1 in pair[:2] for pair in dataset.pairs())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"layout": "kinect"}, r"data\.layout='kinect'"),
        ({"stride": 0}, r"data\.stride=0"),
        ({"max_depth": 0.0}, r"data\.max_depth=0"),
        ({"intrinsics": (585, 585, 320)}, r"data\.intrinsics="),
        ({"invalid_poses": "mend"}, r"data\.invalid_poses='mend'"),
        ({"layout": "tum"}, "no recording in the layout 'tum'"),
    ],
)
def test_options_are_checked_at_the_start(tmp_path, option, message):
    rgbd.seven_scenes(tmp_path)
    with pytest.raises(UsageError, match=message):
        RGBDFrames(**{"root": tmp_path, "layout": "7scenes", **option})


def test_it_is_built_from_a_config_travels_and_has_a_fingerprint(recording):
    root, layout = recording
    config = {"type": "RGBDFrames", "root": str(root), "layout": layout}
    dataset = DATASETS.build(config)
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(copy[3].colour, dataset[3].colour)
    prints = {dataset.fingerprint(), copy.fingerprint()}
    assert len(prints) == 1
    for option in ({"stride": 2}, {"pixel_step": 2}, {"max_depth": 3.0}, {"colour": False}):
        prints.add(RGBDFrames(root, layout, **option).fingerprint())
    assert len(prints) == 5
    assert dataset.check().seen["colour"] > 0.99


def test_pairs_see_the_same_wall_and_are_kept_in_a_file(recording, tmp_path, monkeypatch):
    root, layout = recording
    dataset = RGBDFrames(root, layout)
    cache = tmp_path / "kept" / "pairs.npz"
    # a wall of 2.07 m, seen 0.1 m further along in each frame
    pairs = dataset.pairs(min_overlap=0.5, voxel=0.1, cache=cache)
    assert [pair[:2] for pair in pairs] == [(i, j) for i in range(4) for j in range(i + 1, 4)]
    for i, j, overlap in pairs:
        # 1.5 voxels beyond the edge still count; of 2.07 m, a voxel more or less
        assert overlap == pytest.approx(min((2.07 - 0.1 * (j - i) + 0.15) / 2.07, 1), abs=0.06)
    assert [p[:2] for p in dataset.pairs(0.5, 0.1, max_gap=1)] == [(0, 1), (1, 2), (2, 3)]
    monkeypatch.setattr(RGBDFrames, "_in_world", None)  # the kept answer needs no frame
    assert RGBDFrames(root, layout).pairs(min_overlap=0.5, voxel=0.1, cache=cache) == pairs
    with pytest.raises(TypeError):
        dataset.pairs(min_overlap=0.6, voxel=0.1, cache=cache)  # other settings: not that answer


def test_pairs_stay_within_a_sequence(tmp_path):
    for sequence in ("seq-01", "seq-02"):
        rgbd.seven_scenes(tmp_path / sequence, 2)
    dataset = RGBDFrames(tmp_path, "7scenes")
    assert [pair[:2] for pair in dataset.pairs(voxel=0.1)] == [(0, 1), (2, 3)]
    with pytest.raises(UsageError, match="min_overlap=0"):
        dataset.pairs(min_overlap=0)
