"""What the layouts of RGB-D recordings have of their own."""

import numpy as np
import pytest
from recordings import rgbd
from scipy.spatial.transform import Rotation

from densecl.errors import UsageError
from pointcl.data import RGBDFrames
from pointcl.data.frames.tum import associate


def test_association_is_the_nearest_in_time():
    rng = np.random.default_rng(0)
    times, others = rng.uniform(0, 3, 200), rng.uniform(0, 3, 100)
    found = associate(times, others, 0.02)
    for time, row in zip(times, found, strict=True):
        gaps = np.abs(others - time)
        assert row == (int(gaps.argmin()) if gaps.min() <= 0.02 else -1)
    assert (found >= 0).any()
    assert (found < 0).any()
    assert associate(times, np.empty(0)).max() == -1


def test_tum_frames_take_the_nearest_pose_and_picture(tmp_path):
    dataset = RGBDFrames(rgbd.tum(tmp_path / "rgbd_dataset"), "tum")
    for frame, pose in enumerate(rgbd.poses(4)):
        scan = dataset[frame]
        np.testing.assert_allclose(scan.ego_to_world, pose, atol=1e-12)
        assert scan.timestamp == pytest.approx(100 + frame * 0.1)
        assert scan.cameras[0].source.name == f"{100 + frame * 0.1 + 0.008:.6f}.png"


def test_quaternions_of_tum_have_the_real_part_last(tmp_path):
    folder = rgbd.tum(tmp_path / "rgbd_dataset", 1)
    turn = Rotation.from_euler("xyz", (10, -40, 75), degrees=True)
    numbers = " ".join(f"{value:.6f}" for value in turn.as_quat())
    (folder / "groundtruth.txt").write_text(f"100.0 1 2 3 {numbers}\n")
    pose = RGBDFrames(folder, "tum")[0].ego_to_world
    np.testing.assert_allclose(pose[:3, :3], turn.as_matrix(), atol=1e-5)
    np.testing.assert_array_equal(pose[:3, 3], [1, 2, 3])


def test_tum_frames_without_a_pose_nearby_are_dropped_and_counted(tmp_path):
    folder = rgbd.tum(tmp_path / "rgbd_dataset")
    lines = (folder / "groundtruth.txt").read_text().splitlines()
    late = [f"{float(line.split()[0]) + 0.03} {line.split(maxsplit=1)[1]}" for line in lines[1:2]]
    (folder / "groundtruth.txt").write_text("\n".join([*lines[2:], *late]))
    dataset = RGBDFrames(folder, "tum")
    assert len(dataset) == 3
    assert dataset.dropped == {"no pose": 1}
    kept = RGBDFrames(folder, "tum", invalid_poses="keep")
    assert [scan.ego_to_world is None for scan in kept] == [False, False, False, True]
    (folder / "groundtruth.txt").unlink()
    with pytest.raises(UsageError, match=r"no frame of .* has a valid pose") as error:
        RGBDFrames(folder, "tum")
    assert "invalid_poses" in error.value.fix


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("depth.txt", "100.0\n", r"depth\.txt: line 1: not `time file`"),
        ("rgb.txt", "# nothing\n", r"rgb\.txt: it lists no image"),
        ("groundtruth.txt", "100 0 0 0 0 0 0\n", r"groundtruth\.txt: line 1: not `time x y z"),
        ("groundtruth.txt", "100 a 0 0 0 0 0 1\n", r"groundtruth\.txt: line 1: could not"),
        ("rgb.txt", None, r"rgb\.txt: No such file"),
    ],
)
def test_bad_lists_of_tum_are_named(tmp_path, file, text, reason):
    folder = rgbd.tum(tmp_path / "rgbd_dataset")
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(UsageError, match=reason):
        RGBDFrames(folder, "tum")


def test_a_quaternion_that_is_no_rotation_is_named(tmp_path):
    folder = rgbd.tum(tmp_path / "rgbd_dataset")
    (folder / "groundtruth.txt").write_text("100.0 0 0 0 0 0 0 2\n")
    with pytest.raises(UsageError, match=r"groundtruth\.txt: time 100\.0: .* length 1"):
        RGBDFrames(folder, "tum")[0]


def test_known_cameras_of_tum_are_taken_by_the_folders_name(tmp_path):
    folder = rgbd.tum(tmp_path / "rgbd_dataset_freiburg2_desk")
    (folder / "camera-intrinsics.txt").unlink()
    with pytest.raises(UsageError, match=r"principal point \(325\.6, 250\.2\)"):
        RGBDFrames(folder, "tum")[0]  # for 640 x 480, not for these small images
    other = rgbd.tum(tmp_path / "mine")
    (other / "camera-intrinsics.txt").unlink()
    with pytest.raises(UsageError, match=r"no intrinsics for .*mine") as error:
        RGBDFrames(other, "tum")
    assert "data.intrinsics=(fx, fy, cx, cy)" in error.value.fix


def test_intrinsics_of_7scenes_are_looked_for_up_to_the_root(tmp_path):
    for sequence in ("seq-01", "seq-10", "seq-02"):
        rgbd.seven_scenes(tmp_path / "office" / sequence, 2)
        (tmp_path / "office" / sequence / "camera-intrinsics.txt").rename(
            tmp_path / "office" / "camera-intrinsics.txt"
        )
    dataset = RGBDFrames(tmp_path, "7scenes")
    assert dataset.sequences[::2] == ["office/seq-01", "office/seq-02", "office/seq-10"]
    assert dataset.name(3) == "office/seq-02/frame-000001"
    with pytest.raises(UsageError, match=r"no intrinsics for .*seq-") as error:
        RGBDFrames(tmp_path / "office" / "seq-02", "7scenes")
    assert "(585, 585, 320, 240)" in error.value.fix
    given = (rgbd.FX, rgbd.FY, rgbd.CX, rgbd.CY)
    alone = RGBDFrames(tmp_path / "office" / "seq-02", "7scenes", intrinsics=given)
    np.testing.assert_array_equal(alone[0].points, dataset[2].points)


def test_damaged_intrinsics_and_poses_are_named(tmp_path):
    folder = rgbd.seven_scenes(tmp_path)
    (folder / "frame-000001.pose.txt").write_text("1 0 0 0\n")
    (folder / "frame-000002.pose.txt").write_text(" ".join(["0.5"] * 16))
    dataset = RGBDFrames(folder, "7scenes")
    with pytest.raises(UsageError, match=r"frame-000001\.pose\.txt: 4 numbers"):
        dataset[1]
    with pytest.raises(UsageError, match="frame-000002: pose must be a rotation"):
        dataset[2]
    for text, reason in (
        ("1 2", "2 numbers"),
        ("a " * 9, "could not"),
        ("0 " * 9, "no intrinsics"),
    ):
        (folder / "camera-intrinsics.txt").write_text(text)
        with pytest.raises(UsageError, match=rf"camera-intrinsics\.txt: {reason}"):
            RGBDFrames(folder, "7scenes")


def test_recorded_and_exported_scenes_are_the_same_scans(tmp_path):
    rgbd.exported(tmp_path / "a" / "scene0000_00")
    rgbd.sens(tmp_path / "b" / "scene0000_00" / "scene0000_00.sens")
    exported = RGBDFrames(tmp_path / "a", "scannet")
    recorded = RGBDFrames(tmp_path / "b", "scannet")
    assert recorded.sequences == ["scene0000_00"] * 4
    assert exported.name(1) == "scene0000_00/1"
    for ours, theirs in zip(exported, recorded, strict=True):
        # intrinsics and poses of the recording are float32
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-6)
        np.testing.assert_array_equal(ours.colour, theirs.colour)
        np.testing.assert_allclose(ours.ego_to_world, theirs.ego_to_world, atol=1e-6)
        np.testing.assert_array_equal(ours.cameras[0].image(), theirs.cameras[0].image())
    assert exported[2].timestamp is None
    assert recorded[2].timestamp == pytest.approx(67e-6)


def test_only_the_sequences_of_the_split_are_opened(tmp_path):
    for scene in ("scene0000_00", "scene0001_00"):
        rgbd.sens(tmp_path / "scans" / scene / f"{scene}.sens")
    (tmp_path / "scans" / "scene0000_00" / "scene0000_00.sens").write_bytes(b"damaged")
    (tmp_path / "train.txt").write_text("scene0001_00\n")
    dataset = RGBDFrames(tmp_path, "scannet", split=tmp_path / "train.txt")
    assert dataset.name(0) == "scans/scene0001_00/000000"
    with pytest.raises(UsageError, match=r"scene0000_00\.sens: version"):
        RGBDFrames(tmp_path, "scannet")


def test_links_in_a_circle_are_walked_once(tmp_path):
    rgbd.exported(tmp_path / "scans" / "scene0000_00", 2)
    (tmp_path / "scans" / "again").symlink_to(tmp_path)
    assert len(RGBDFrames(tmp_path, "scannet")) == 2


def test_frames_of_the_benchmarks_excerpt_are_read(tmp_path):
    folder = rgbd.exported(tmp_path / "scene0000_00", 2)
    for part, ending in (("depth", "png"), ("color", "png"), ("pose", "txt")):
        for frame in (0, 1):
            old = folder / part / f"{frame}.{ending}"
            old.rename(old.with_name(f"{frame * 100:06d}.{ending}"))
    for which in ("color", "depth"):
        old = folder / "intrinsic" / f"intrinsic_{which}.txt"
        old.rename(folder / f"intrinsics_{which}.txt")
    dataset = RGBDFrames(tmp_path, "scannet")
    assert dataset.name(1) == "scene0000_00/000100"
    assert np.isfinite(dataset[1].points).any()


def test_cameras_apart_from_each_other_are_refused(tmp_path):
    folder = rgbd.exported(tmp_path / "scene0000_00")
    moved = np.eye(4)
    moved[0, 3] = 0.05
    rgbd.matrix(folder / "intrinsic/extrinsic_color.txt", np.eye(4))
    RGBDFrames(folder, "scannet")
    rgbd.matrix(folder / "intrinsic/extrinsic_color.txt", moved)
    with pytest.raises(UsageError, match=r"extrinsic_color\.txt: .* one place"):
        RGBDFrames(folder, "scannet")


def test_intrinsics_of_images_of_another_size_are_refused(tmp_path):
    folder = rgbd.exported(tmp_path / "scene0000_00", factor=2)
    rgbd.matrix(folder / "intrinsic/intrinsic_color.txt", rgbd.intrinsics(4, 4))
    with pytest.raises(UsageError, match="colour images of 64 x 48, principal point"):
        RGBDFrames(folder, "scannet")[0]
    (folder / "intrinsic/intrinsic_color.txt").unlink()
    with pytest.raises(UsageError, match=r"no intrinsic/intrinsic_color\.txt or intrinsics_color"):
        RGBDFrames(folder, "scannet")
