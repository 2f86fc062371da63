import cv2
import numpy as np
import pytest

from densecl.data import LabelledFolder
from densecl.errors import UsageError

CLASSES = ("road", "car")
IDS = np.array([[0, 1, 11], [1, 255, 0]], np.uint8)
SAMPLE = np.array([[0, 1, 255], [1, 255, 0]])


def write_ids(path, values=IDS):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values[..., ::-1] if values.ndim == 3 else values)


@pytest.fixture
def pairs(tmp_path, write_image):
    for level, stem in enumerate(("a", "b", "town/c")):
        write_image(tmp_path / "images" / f"{stem}.png", 10 * level, size=(2, 3))
        write_ids(tmp_path / "labels" / f"{stem}.png")
    return tmp_path


def build(root, **kwargs):
    settings = {"classes": CLASSES, "void": [11], **kwargs}
    return LabelledFolder(root / "images", root / "labels", **settings)


def test_pairs_by_stem_and_void_becomes_ignore(pairs):
    dataset = build(pairs)
    assert [dataset.name(i) for i in range(3)] == ["a", "b", "town/c"]
    frame = dataset[2].frames[0]
    assert int(frame.image.mean()) == 20
    assert np.array_equal(frame.maps["label"], SAMPLE)


def test_list_chooses_and_orders(pairs):
    (pairs / "subset.txt").write_text("town/c\na\n")
    dataset = build(pairs, names=pairs / "subset.txt")
    assert [dataset.name(i) for i in range(len(dataset))] == ["town/c", "a"]
    assert int(dataset[0].frames[0].image.mean()) == 20


def test_unknown_id_is_an_error_even_when_skipping(pairs):
    with pytest.raises(UsageError, match=r"a\.png: label 11"):
        build(pairs, void=[], on_error="skip")[0]


def test_own_ignore_id(pairs):
    write_ids(pairs / "labels" / "a.png", np.array([[0, 9, 1], [9, 9, 1]], np.uint8))
    label = build(pairs, ignore=9)[0].frames[0].maps["label"]
    assert label.tolist() == [[0, 255, 1], [255, 255, 1]]


def test_colours_become_ids(pairs):
    palette = [(128, 64, 128), (0, 0, 142)]
    colours = np.array([*palette, (0, 0, 0)], np.uint8)[np.array([[0, 1, 2], [1, 2, 0]])]
    for stem in ("a", "b", "town/c"):
        write_ids(pairs / "labels" / f"{stem}.png", colours)
    dataset = build(pairs, palette=palette, void=[(0, 0, 0)])
    assert np.array_equal(dataset[0].frames[0].maps["label"], SAMPLE)
    with pytest.raises(UsageError, match="#000000"):
        build(pairs, palette=palette, void=[])[0]
    with pytest.raises(UsageError, match=r"give data\.palette"):
        build(pairs)[0]


def test_ids_where_colours_are_promised(pairs):
    with pytest.raises(UsageError, match="holds ids"):
        build(pairs, palette=[(1, 1, 1), (2, 2, 2)], void=[])[0]


def test_suffixes(tmp_path, write_image):
    write_image(tmp_path / "images" / "x_leftImg8bit.png", size=(2, 3))
    write_ids(tmp_path / "labels" / "x_gtFine_labelIds.png")
    write_ids(tmp_path / "labels" / "x_gtFine_color.png", IDS)
    dataset = build(tmp_path, image_suffix="_leftImg8bit", label_suffix="_gtFine_labelIds")
    assert dataset.name(0) == "x"
    assert np.array_equal(dataset[0].frames[0].maps["label"], SAMPLE)


def test_image_without_label_is_named(pairs):
    (pairs / "labels" / "b.png").unlink()
    with pytest.raises(UsageError, match=r"1 stems, e\.g\. 'b'"):
        build(pairs)


def test_listed_stem_that_is_not_there_is_named(pairs):
    (pairs / "subset.txt").write_text("a\nzzz\n")
    with pytest.raises(UsageError, match="zzz"):
        build(pairs, names=pairs / "subset.txt")
    (pairs / "subset.txt").write_text("\n")
    with pytest.raises(UsageError, match="empty"):
        build(pairs, names=pairs / "subset.txt")


def test_two_files_of_one_stem_are_refused(pairs, write_image):
    write_image(pairs / "images" / "a.jpg")
    with pytest.raises(UsageError, match="same stem"):
        build(pairs)


def test_sizes_that_differ_are_named_or_skipped(pairs):
    write_ids(pairs / "labels" / "a.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(UsageError, match=r"3 x 3 labels for an image of 3 x 2"):
        build(pairs)[0]
    assert build(pairs, on_error="skip")[0].name == "b"


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": ()},
        {"palette": [(0, 0, 0)]},
        {"palette": [(0, 0, 0), (0, 0, 0)], "void": []},
        {"void": [(1, 2, 3)]},
        {"palette": [(0, 0, 0), (1, 1, 1)], "void": [11]},
    ],
)
def test_settings_that_contradict_are_refused(pairs, settings):
    with pytest.raises(UsageError):
        build(pairs, **settings)


def test_fingerprint_follows_classes_and_void(pairs):
    prints = {
        build(pairs, void=v, classes=c).fingerprint() for v in ([], [11]) for c in ("xy", "xz")
    }
    assert len(prints) == 4
