from __future__ import annotations

import numpy as np
import pytest

from densecl.data.decode import UnreadableFileError
from densecl.errors import UsageError
from pointcl.data import Scan, ScanDataset
from pointcl.data.base import read_names
from pointcl.data.survey import ScanReport, count_seen
from pointcl.sensors import Camera

LENS = np.array([[10.0, 0, 5], [0, 10, 4], [0, 0, 1]])


class Clouds(ScanDataset):
    """One scan per entry: an array of points, or why it cannot be read."""

    classes = ("road", "car")

    def __init__(self, clouds, cameras=(), on_error="raise"):
        super().__init__(["drive"] * len(clouds), on_error)
        self.clouds, self.cameras, self.read = clouds, cameras, []

    def name(self, index):
        return f"cloud {index}"

    def fingerprint(self):
        return ""

    def load(self, index):
        self.read.append(index)
        cloud = self.clouds[index]
        if isinstance(cloud, str):
            raise UnreadableFileError(f"file {index}", cloud)
        label = np.resize(np.array([0, 255]), len(cloud)).astype(np.int64)
        return Scan(cloud, index, self.name(index), label=label, cameras=self.cameras)


def camera(name="front", to_ego=None, size=(8, 10), **kwargs):
    pixels = np.zeros((8, 10, 3), np.uint8)
    return Camera(
        name, lambda: pixels, size, LENS, np.eye(4) if to_ego is None else to_ego, **kwargs
    )


def cloud(*points):
    return np.array(points, np.float32).reshape(-1, 3)


AHEAD, ASIDE, BEHIND = (0, 0, 5), (30, 0, 5), (0, 0, -5)


def test_scans_are_evenly_spread():
    data = Clouds([cloud(AHEAD)] * 9)
    data.check(3)
    assert data.read == [0, 4, 8]
    data.read.clear()
    assert len(data.check(None).points) == 9
    assert len(data.check(100).points) == 9


def test_points_before_the_camera_and_in_the_picture():
    scan = Scan(cloud(AHEAD, ASIDE, BEHIND, (np.nan, 0, 1)), 0, "a")
    assert count_seen(scan, camera()) == (2, 1)


def test_edges_of_the_picture():
    """u = 10 x / z + 5 of 0 is inside, of 10 is not."""
    edges = [(-1, 0, 2), (1, 0, 2), (0.99, 0, 2), (0, -2, 5), (0, 2, 5)]
    scan = Scan(cloud(*edges), 0, "a")
    assert count_seen(scan, camera()) == (5, 3)


def test_motion_between_scan_and_picture_counts():
    there = np.eye(4)
    there[2, 3] = 10.0  # the vehicle drives past the point before the camera fires
    scan = Scan(cloud(AHEAD), 0, "a", ego_to_world=np.eye(4))
    assert count_seen(scan, camera(ego_to_world=there)) == (0, 0)
    assert count_seen(scan, camera(ego_to_world=np.eye(4))) == (1, 1)


def test_report_counts_points_labels_and_what_cameras_see():
    report = Clouds([cloud(AHEAD, BEHIND), cloud(*[ASIDE] * 6)], (camera(),)).check()
    assert report.points == [2, 6]
    assert report.labelled == {"road": 4, "car": 0}
    assert report.ignored == 4
    assert report.seen == {"front": 1 / 8}
    assert str(report).splitlines() == [
        "2 of 2 scans read, 2 to 6 points",
        "points in the picture: front 12.5%",
        "1 of 2 classes occur, 50.0% ignored",
    ]


def test_report_of_nothing_can_be_printed():
    assert str(ScanReport(3)) == "0 of 3 scans read, 0 to 0 points"


def test_blind_camera_is_refused_and_named():
    with pytest.raises(UsageError, match="camera front of cloud 0: every point lies behind it"):
        Clouds([cloud(BEHIND)] * 2, (camera(),)).check()
    with pytest.raises(UsageError, match="camera front of cloud 0: no point falls into its pict"):
        Clouds([cloud(ASIDE)] * 2, (camera(),)).check()
    Clouds([cloud(BEHIND), cloud(AHEAD)], (camera(),)).check()


def test_scan_without_points_is_refused():
    with pytest.raises(UnreadableFileError, match="cloud 1: the scan has no finite point"):
        Clouds([cloud(AHEAD), cloud()]).check()
    with pytest.raises(UnreadableFileError, match="no finite point"):
        Clouds([cloud((np.nan, 0, 0))]).check()


def test_bad_scans_are_listed_when_they_are_skipped():
    report = Clouds([cloud(AHEAD), "cut off"], on_error="skip").check()
    assert report.bad == ["file 1: cut off"]
    assert "unreadable: file 1: cut off" in str(report)
    with pytest.raises(UsageError, match=r"none of the 2 scans .* file 0: cut off"):
        Clouds(["cut off"] * 2, on_error="skip").check()


def test_picture_of_another_size_is_refused():
    data = Clouds([cloud(AHEAD)], (camera(size=(80, 100)),))
    with pytest.raises(UnreadableFileError, match=r"\(8, 10\), its calibration"):
        data.check()
    assert data.check(images=False).seen


def test_no_scans_are_refused():
    with pytest.raises(UsageError, match="Clouds found no scans"):
        Clouds([])


def test_names_come_as_a_list_or_from_a_file(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("a\n\n b \n")
    assert read_names(str(file), "data.names") == read_names(["a", "b"], "data.names") == ["a", "b"]
    file.write_text("\n")
    for empty in (file, []):
        with pytest.raises(UsageError, match=r"data\.names=.* is empty"):
            read_names(empty, "data.names")
