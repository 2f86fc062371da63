import builtins
import os

import pytest

from densecl.data import ImageList
from densecl.errors import UsageError


@pytest.fixture
def listed(tmp_path, write_image):
    for level, name in enumerate(["a b.png", "c.png"]):
        write_image(tmp_path / name, 50 * level)
    path = tmp_path / "list.txt"
    path.write_text("c.png\n\na b.png\r\nc.png\n")
    return path


def test_lines_are_images_in_order(listed):
    dataset = ImageList(listed)
    assert [dataset.name(i) for i in range(len(dataset))] == ["c.png", "a b.png", "c.png"]
    assert [int(dataset[i].frames[0].image.mean()) for i in range(3)] == [50, 0, 50]


def test_paths_start_at_root(listed, tmp_path, write_image):
    write_image(tmp_path / "other" / "c.png", 99)
    (listed.parent / "l2.txt").write_text("c.png")
    dataset = ImageList(listed.parent / "l2.txt", root=tmp_path / "other")
    assert int(dataset[0].frames[0].image.mean()) == 99


def test_labels_are_the_last_word(listed):
    listed.write_text("a b.png 3\nc.png -1\n")
    dataset = ImageList(listed, labels=True)
    assert [(dataset.name(i), dataset.label(i)) for i in range(2)] == [
        ("a b.png", 3),
        ("c.png", -1),
    ]
    assert int(dataset[0].frames[0].image.mean()) == 0


def test_label_that_is_none_is_named(listed):
    with pytest.raises(UsageError, match="labels=True"):
        ImageList(listed).label(0)
    with pytest.raises(UsageError, match=r"c\.png"):
        ImageList(listed, labels=True).label(0)


def test_opening_looks_at_no_image(tmp_path, monkeypatch):
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"gone/{i}.jpg" for i in range(1000)))
    touched = []
    for module, name in ((os, "stat"), (os, "scandir"), (builtins, "open")):
        real = getattr(module, name)

        def spy(target, *args, real=real, **kwargs):
            touched.append(str(target))
            return real(target, *args, **kwargs)

        monkeypatch.setattr(module, name, spy)
    dataset = ImageList(path)
    dataset.fingerprint()
    assert not [name for name in touched if "gone" in name]
    assert len(dataset) == 1000
    with pytest.raises(UsageError, match=r"gone/7\.jpg: No such file"):
        dataset[7]


def test_empty_or_missing_list_is_refused(tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UsageError, match="is empty"):
        ImageList(tmp_path / "empty.txt")
    with pytest.raises(UsageError, match=r"data\.path"):
        ImageList(tmp_path / "none.txt")


def test_fingerprint_follows_the_list(listed):
    first = ImageList(listed).fingerprint()
    listed.write_text("a b.png\nc.png\n")
    assert ImageList(listed).fingerprint() != first
