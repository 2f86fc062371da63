from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from pointcl.cli import main


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for number in range(2):
        rows = (random.normal(size=(200, 4)) * [20, 20, 1, 0]).astype(np.float32)
        rows[:, 3] = random.uniform(size=200)
        (tmp_path / "scans").mkdir(exist_ok=True)
        rows.tofile(tmp_path / "scans" / f"{number}.bin")
    return tmp_path / "scans"


def test_a_file_becomes_a_picture(folder, tmp_path, capsys):
    out = tmp_path / "new" / "a.png"
    options = ["--size", "200", "300", "--view", "above", "--background", "dark"]
    assert main(["draw", str(folder / "0.bin"), "--out", str(out), *options]) == 0
    assert cv2.imread(str(out)).shape == (200, 300, 3)
    said = capsys.readouterr().out
    assert "200 points; height, intensity" in said
    assert str(out) in said


def test_several_colourings_make_a_sheet(folder, tmp_path):
    out = tmp_path / "a.png"
    words = ["--colour", "height", "intensity", "--scan", "0", "1", "--size", "100", "150"]
    assert main(["draw", str(folder), "--out", str(out), *words]) == 0
    assert cv2.imread(str(out)).shape[0] > 200
    assert cv2.imread(str(out)).shape[1] > 300


def test_a_folder_becomes_a_page_of_the_scans_asked_for(folder, tmp_path):
    out = tmp_path / "a.html"
    words = ["--out", str(out), "--scan", "1", "0", "--data", "columns=xyzi"]
    assert main(["draw", str(folder), *words]) == 0
    text = out.read_text()
    data = json.loads(text.split('type="application/json">')[1].split("</script>")[0])
    assert [scan["name"] for scan in data["scans"]] == ["1.bin", "0.bin"]
    assert main(["draw", f"ScanFolder:{folder}", *words]) == 0
    assert out.read_text() == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "no file or folder 'nowhere'"),
        (["KITI:nowhere"], "did you mean 'KITTI'"),
        (["FOLDER", "--scan", "2"], "0 to 1"),
        (["FOLDER", "--colour", "label"], "one of height, intensity"),
        (["FOLDER", "--data", "colums=xyz"], "did you mean 'columns'"),
        (["FOLDER", "--data", "xyz"], "KEY=VALUE"),
        (["FOLDER", "--size", "9", "9"], "at least 64"),
        (["FOLDER/0.bin", "--data", "root=3"], "columns"),
        (["FOLDER", "--out", "a.jpg"], ".png or .html"),
    ],
)
def test_bad_input_ends_with_a_message(words, message, folder, tmp_path, capsys):
    words = [word.replace("FOLDER", str(folder)) for word in words]
    out = [] if "--out" in words else ["--out", str(tmp_path / "a.png")]
    assert main(["draw", *words, *out]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "a.png").exists()
