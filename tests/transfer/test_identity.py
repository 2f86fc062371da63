from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import pytest

from densecl.errors import UsageError
from densecl.transfer.features import FrozenInput
from densecl.transfer.finetuning import FinetuneSpec
from densecl.transfer.frozen import FrozenSpec
from densecl.transfer.identity import Identity, settings_of
from densecl.transfer.probe import ProbeSpec
from densecl.transfer.protocol_file import check_protocol
from densecl.transfer.table import Row, Table, join_tables
from densecl.transfer.tables import open_parts


@dataclass(frozen=True)
class Toy:
    """A run on frozen features."""

    input: FrozenInput

    def to_dict(self):
        return asdict(self)

    def at(self, rate, steps=None):
        return self


WIDE = {"type": "ResNet", "depth": 18, "width": 64}
PAIRS = [(0, "a"), (1, "b")]
GIVEN = {
    "data": {
        "train": {"type": "Streets", "split": "train", "length": 20},
        "val": {"type": "Streets", "split": "val", "length": 5},
    },
    "finetune": {"steps": 4},
    "fractions": (0.5,),
}


def identity(given=GIVEN, **task):
    protocol = check_protocol("toy", given)
    spec = FinetuneSpec({"type": "ResNet"}, 11, **(protocol.finetune | task))
    return protocol.identity(spec, open_parts(protocol))


def table(of, names=("scratch", "row"), score=0.5, **options):
    rows = [Row(name, dict.fromkeys(PAIRS, score)) for name in names]
    about = {"seconds": {"finetuning": 1.0}, "share": "5%", "identity": of} | options
    return Table(rows, "scratch", {}, about.pop("split", "test"), (2, 2), **about)


def test_weights_their_input_and_the_grid_are_not_part_of_a_protocol():
    spec = FinetuneSpec({"type": "ResNet"}, 3)
    other = replace(spec, backbone=WIDE, mean=(0.0,) * 3, channel_order="BGR", lr=9.0)
    assert settings_of(spec) == settings_of(other)
    assert settings_of(spec) != settings_of(replace(spec, crop=(32, 32)))
    probe = FrozenSpec({"type": "ResNet"}, ProbeSpec(3))
    same = FrozenSpec(WIDE, replace(probe.probe, decay=1.0, std=(1.0,) * 3))
    assert settings_of(probe) == settings_of(same)
    assert settings_of(probe) != settings_of(replace(probe, resize=(10, 10)))
    assert settings_of(probe) != settings_of(replace(probe, probe=ProbeSpec(3, grid=4)))


def test_how_frozen_features_are_read_is_part_of_a_protocol():
    read = Toy(FrozenInput({"type": "ResNet"}))
    assert settings_of(read) == settings_of(Toy(FrozenInput(WIDE, mean=(0.0,) * 3)))
    assert settings_of(read) != settings_of(Toy(FrozenInput(WIDE, strides=(8,))))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"data": GIVEN["data"] | {"val": {"type": "Streets", "split": "test"}}}, "data.val"),
        ({"finetune": {"steps": 5}}, "settings.steps"),
        ({"finetune": {"steps": 4, "resize": (60, 80)}}, "settings.resize"),
        ({"learning_rates": (0.5,)}, "grid"),
        ({"seeds": (0,), "subset_seeds": (0,)}, "seeds"),
        ({"blocks": 4}, "blocks"),
        ({"selection": "all"}, "selection"),
    ],
)
def test_whatever_decides_a_number_changes_the_hash(change, field):
    one, other = identity(), identity({**GIVEN, **change})
    assert one.hash != other.hash
    assert any(name.startswith(field) for name in one.differences(other))
    tables = [table(one), table(other, ("scratch", "second"))]
    with pytest.raises(UsageError, match=field):
        join_tables(tables)


def test_the_share_of_labels_is_no_other_protocol_but_another_column():
    assert identity().hash == identity({**GIVEN, "fractions": (0.1, 0.2)}).hash
    with pytest.raises(UsageError, match="differ in share"):
        join_tables([table(identity()), table(identity(), share="10%")])


def test_numbers_of_validation_do_not_stand_beside_those_of_test():
    with pytest.raises(UsageError, match="differ in split"):
        join_tables([table(identity()), table(identity(), split="validation")])


def test_names_are_for_people():
    one = Identity("a", "finetune", 1, {"x": 1})
    assert one.hash == Identity("b", "finetune", 1, {"x": 1}).hash
    assert one.hash != Identity("a", "probe", 1, {"x": 1}).hash
    assert one.hash != Identity("a", "finetune", 2, {"x": 1}).hash
    assert one.differences(Identity("a", "probe", 1, {"y": 1})) == ["run", "x", "y"]


def test_data_count_by_content_and_not_by_place(tmp_path):
    def of(root, content=b"x"):
        for split in ("train", "val"):
            for kind in ("images", "labels"):
                (root / split / kind).mkdir(parents=True)
                (root / split / kind / "a.png").write_bytes(content)
        part = {"type": "LabelledFolder", "classes": ["a"], "images": "train/images"}
        section = {"train": part | {"labels": "train/labels"}}
        section["val"] = section["train"]
        protocol = check_protocol("toy", {"data": section}, root)
        return protocol.identity(FinetuneSpec({}, 1), open_parts(protocol))

    here = of(tmp_path / "here")
    assert here.hash == of(tmp_path / "there").hash
    other = of(tmp_path / "elsewhere", b"another picture")
    assert here.differences(other) == ["data.train.content", "data.val.content"]


def test_tables_of_one_protocol_are_joined_row_by_row():
    joined = join_tables([table(identity()), table(identity(), ("scratch", "second"))])
    assert [row.name for row in joined.rows] == ["scratch", "row", "second"]
    assert joined.cells == (4, 4)
    assert joined.seconds == {"finetuning": 2.0}
    with pytest.raises(UsageError, match="different numbers"):
        join_tables([table(identity()), table(identity(), score=0.6)])
    with pytest.raises(UsageError, match="no table"):
        join_tables([])


def test_no_table_without_its_protocol():
    with pytest.raises(TypeError, match="identity"):
        Table([], "scratch", {}, "test", (0, 0))
    one = table(identity())
    assert identity().hash in one.to_markdown()
    assert one.to_dict()["identity"]["hash"] == identity().hash
    assert asdict(one)["share"] == "5%"
