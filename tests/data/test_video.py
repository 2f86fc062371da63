import pytest

from densecl.data import VideoFrames
from densecl.errors import UsageError


@pytest.fixture
def videos(tmp_path, write_image):
    for i in (1, 2, 10, 11):
        write_image(tmp_path / "x" / f"frame{i}.png", i)
    for i in range(3):
        write_image(tmp_path / "deep" / "y" / f"{i:03d}.png", 100 + i)
    return tmp_path


def clips(dataset):
    return [[int(frame.image.mean()) for frame in dataset[i].frames] for i in range(len(dataset))]


def test_every_pair_of_neighbours_within_a_video(videos):
    dataset = VideoFrames(videos)
    assert clips(dataset) == [[100, 101], [101, 102], [1, 2], [2, 10], [10, 11]]
    assert dataset.name(3) == "x/frame2.png"
    assert [dataset[i].source for i in range(5)] == [0, 1, 2, 3, 4]


def test_gap_length_and_stride(videos):
    assert clips(VideoFrames(videos, gap=2)) == [[100, 102], [1, 10], [2, 11]]
    assert clips(VideoFrames(videos, clip_length=4)) == [[1, 2, 10, 11]]
    assert clips(VideoFrames(videos, clip_length=1, stride=2)) == [[100], [102], [1], [10]]


def test_too_short_videos_say_what_is_needed(videos):
    with pytest.raises(UsageError, match=r"4 frames(.|\n)*needed: 7"):
        VideoFrames(videos, gap=3, clip_length=3)


@pytest.mark.parametrize("setting", ["gap", "clip_length", "stride"])
def test_zero_is_refused(videos, setting):
    with pytest.raises(UsageError, match=setting):
        VideoFrames(videos, **{setting: 0})


def test_folder_without_frames_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no images"):
        VideoFrames(tmp_path)


def test_broken_frame_is_named_or_skipped(videos):
    (videos / "x" / "frame2.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match=r"frame2\.png"):
        VideoFrames(videos)[2]
    dataset = VideoFrames(videos, on_error="skip")
    assert [dataset[i].source for i in (2, 3)] == [4, 4]


def test_fingerprint_follows_the_gap(videos):
    assert VideoFrames(videos).fingerprint() != VideoFrames(videos, gap=2).fingerprint()
