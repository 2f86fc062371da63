from __future__ import annotations

import json

import pytest

from densecl.errors import UsageError
from densecl.transfer.subsets import Subset, draw_for, draw_subsets, read_subset, write_subset

NAMES = [f"drive/{i:04d}" for i in range(100)]


def test_smaller_subsets_are_part_of_larger_ones():
    for blocks in (None, 7):
        for seed in range(5):
            drawn = draw_subsets(NAMES, [0.05, 0.1, 0.5, 1.0], seed, blocks=blocks)
            assert [len(drawn[f]) for f in (0.05, 0.1, 0.5, 1.0)] == [5, 10, 50, 100]
            assert set(drawn[0.05]) < set(drawn[0.1]) < set(drawn[0.5]) < set(drawn[1.0])


def test_draw_is_a_function_of_the_seed():
    assert draw_subsets(NAMES, [0.1], 3) == draw_subsets(NAMES, [0.1], 3)
    assert draw_subsets(NAMES, [0.1], 3) != draw_subsets(NAMES, [0.1], 4)


def test_draw_does_not_depend_on_the_other_fractions():
    assert draw_subsets(NAMES, [0.1], 3)[0.1] == draw_subsets(NAMES, [0.5, 0.1], 3)[0.1]


def test_names_keep_the_order_of_the_data_set():
    drawn = draw_subsets(NAMES, [0.3], 0)[0.3]
    assert list(drawn) == sorted(drawn)


def test_every_image_is_equally_likely():
    counts = dict.fromkeys(NAMES, 0)
    for seed in range(400):
        for name in draw_subsets(NAMES, [0.1], seed)[0.1]:
            counts[name] += 1
    # mean 40, standard deviation 6: five of them
    assert min(counts.values()) > 10
    assert max(counts.values()) < 70


def test_blocks_are_runs_of_neighbours():
    drawn = draw_subsets(NAMES, [0.2], 1, blocks=10)[0.2]
    positions = [NAMES.index(name) for name in drawn]
    tens = {p // 10 for p in positions}
    assert len(tens) == 2
    assert positions == sorted(10 * t + k for t in tens for k in range(10))


def test_at_least_one_image_is_drawn():
    assert len(draw_subsets(NAMES[:3], [0.01], 0)[0.01]) == 1


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.01])
def test_fraction_outside_the_unit_interval_is_refused(fraction):
    with pytest.raises(UsageError, match="label fraction"):
        draw_subsets(NAMES, [fraction], 0)


def test_empty_and_repeated_names_are_refused():
    with pytest.raises(UsageError, match="empty"):
        draw_subsets([], [0.5], 0)
    with pytest.raises(UsageError, match="'a' occurs more than once"):
        draw_subsets(["a", "b", "a"], [0.5], 0)
    with pytest.raises(UsageError, match="blocks"):
        draw_subsets(NAMES, [0.5], 0, blocks=101)


def test_file_round_trip(tmp_path):
    subset = Subset("five", ("a b/c.png", "ü", "#1"))
    write_subset(tmp_path / "deep" / "five.txt", subset, {"seed": 3, "fraction": 0.05})
    assert read_subset(tmp_path / "deep" / "five.txt") == subset
    notes = json.loads((tmp_path / "deep" / "five.json").read_text(encoding="utf-8"))
    assert notes == {"images": 3, "seed": 3, "fraction": 0.05}
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["five.json", "five.txt"]


@pytest.mark.parametrize("name", [" a", "a\nb", ""])
def test_names_that_a_line_cannot_hold_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match="cannot stand on a line"):
        write_subset(tmp_path / "s.txt", Subset("s", (name,)))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UsageError, match="no subset file"):
        read_subset(tmp_path / "none.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UsageError, match=r"empty\.txt lists no image"):
        read_subset(tmp_path / "empty.txt")
    (tmp_path / "twice.txt").write_text("a\nb\na\n")
    with pytest.raises(UsageError, match="twice"):
        read_subset(tmp_path / "twice.txt")


def test_indices_follow_the_file_and_name_what_is_missing(blocks):
    dataset = blocks(5)
    subset = Subset("s", (dataset.name(3), dataset.name(1)))
    assert subset.indices(dataset) == [3, 1]
    with pytest.raises(UsageError, match="the first is 'other'"):
        Subset("s", ("other",)).indices(dataset)


def test_draw_for_names_fraction_and_seed(blocks):
    drawn = draw_for(blocks(20), [0.1, 0.5], [0, 4])
    assert [s.name for s in drawn[0.1]] == ["10%-seed0", "10%-seed4"]
    assert set(drawn[0.1][1].items) < set(drawn[0.5][1].items)


class Drives:
    """Scans of 20 drives, the later a drive the more."""

    def __init__(self):
        self.sequences = [f"drive{k}" for k in range(20) for _ in range(k + 1)]

    def __len__(self):
        return len(self.sequences)

    def name(self, index):
        return f"{self.sequences[index]}/{index}"


def test_whole_sequences_are_drawn_nested_and_in_order():
    (small,), (large,) = draw_for(Drives(), [0.1, 0.5], [3], blocks="sequence").values()
    assert set(small.items) < set(large.items)
    for subset, count in ((small, 2), (large, 10)):
        drives = list(dict.fromkeys(name.split("/")[0] for name in subset.items))
        assert len(drives) == count
        whole = [name for name in map(Drives().name, range(210)) if name.split("/")[0] in drives]
        assert list(subset.items) == whole
    other = draw_for(Drives(), [0.1], [4], blocks="sequence")[0.1][0]
    assert other.items != small.items


def test_sequences_need_a_data_set_that_knows_them():
    class Bare:
        def __len__(self):
            return 3

        def name(self, index):
            return str(index)

    with pytest.raises(UsageError, match="knows no sequences"):
        draw_for(Bare(), [0.5], [0], blocks="sequence")
    with pytest.raises(UsageError, match="blocks = 'town'"):
        draw_for(Drives(), [0.5], [0], blocks="town")
