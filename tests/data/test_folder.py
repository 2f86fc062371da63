import os

import pytest

from densecl.data import ImageFolder
from densecl.errors import UsageError
from densecl.registry import DATASETS


@pytest.fixture
def folder(tmp_path, write_image):
    for level, name in enumerate(["b.png", "a/10.PNG", "a/9.jpg", "c/d/e.bmp", ".hidden/x.png"]):
        write_image(tmp_path / name, 10 * level)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(dataset):
    return [dataset.name(i) for i in range(len(dataset))]


def test_images_are_found_sorted_and_read(folder):
    dataset = ImageFolder(folder)
    assert names(dataset) == ["a/10.PNG", "a/9.jpg", "b.png", "c/d/e.bmp"]
    levels = [int(dataset[i].frames[0].image.mean()) for i in range(4)]
    assert levels == [10, 20, 0, 30]
    assert [dataset[i].source for i in range(4)] == [0, 1, 2, 3]
    assert dataset[3].name == "c/d/e.bmp"


def test_only_the_folder_itself_when_not_recursive(folder):
    assert names(ImageFolder(folder, recursive=False)) == ["b.png"]


def test_extensions_choose(folder):
    assert names(ImageFolder(folder, extensions=[".bmp", ".JPG"])) == ["a/9.jpg", "c/d/e.bmp"]


def test_links_are_followed_once(folder):
    os.symlink(folder, folder / "a" / "loop")
    os.symlink(folder / "c", folder / "z")
    assert len(ImageFolder(folder)) == 4


def test_it_is_in_the_registry(folder):
    assert len(DATASETS.build({"type": "ImageFolder", "root": str(folder)})) == 4


def test_missing_folder_says_what_to_set(tmp_path):
    with pytest.raises(UsageError, match=r"does not exist(.|\n)*data\.root"):
        ImageFolder(tmp_path / "nowhere")


def test_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no images(.|\n)*'\.tar'"):
        ImageFolder(tmp_path)


def test_unreadable_file_is_named(folder):
    (folder / "a" / "9.jpg").write_bytes(b"broken")
    dataset = ImageFolder(folder)
    with pytest.raises(UsageError, match=r"9\.jpg: not an image"):
        dataset[1]
    assert dataset.skipped == []


def test_skip_takes_the_next_readable_and_says_so(folder, caplog):
    for name in ("a/9.jpg", "c/d/e.bmp"):
        (folder / name).write_bytes(b"broken")
    dataset = ImageFolder(folder, on_error="skip")
    assert [dataset[i].source for i in (0, 1, 2, 3, 1)] == [0, 2, 2, 0, 2]
    assert dataset.skipped == ["a/9.jpg", "c/d/e.bmp"]
    assert caplog.text.count("9.jpg") == 1


def test_skip_with_nothing_readable_ends(folder):
    for path in folder.rglob("*.*"):
        if path.is_file():
            path.write_bytes(b"broken")
    with pytest.raises(UsageError, match="none of the 4"):
        ImageFolder(folder, on_error="skip")[2]


def test_unknown_policy_is_refused(folder):
    with pytest.raises(UsageError, match="on_error"):
        ImageFolder(folder, on_error="ignore")


@pytest.mark.parametrize("index", [-1, 4])
def test_index_out_of_range(folder, index):
    with pytest.raises(IndexError):
        ImageFolder(folder)[index]


def test_fingerprint_follows_names_and_sizes(folder, write_image):
    first = ImageFolder(folder).fingerprint()
    assert first == ImageFolder(folder).fingerprint()
    write_image(folder / "b.png", 0, size=(50, 60))
    second = ImageFolder(folder).fingerprint()
    (folder / "b.png").rename(folder / "bb.png")
    assert len({first, second, ImageFolder(folder).fingerprint()}) == 3
