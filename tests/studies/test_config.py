from __future__ import annotations

import pytest

from densecl.errors import UsageError
from densecl.studies import plan_study, read_study

FOLD = 'dict(name="a", unlabelled="a/unlabelled.txt", train="a/train.txt", val="a/val.txt")'
ROW = 'dict(name="MoCo v2", pretrain=_moco, options=_small)'
PROBE = 'dict(name="probe", type="probe")'

BAD = [
    ("fold = []", "did you mean 'folds'"),
    ("version = 2", "version = 2"),
    ("rows = []", "rows = "),
    ("rows = {'MoCo v2': {}}", "rows = "),
    ("rows = [dict(pretrain=_moco)]", r"rows\[0\].name"),
    (f"rows = [{ROW}, {ROW}]", "rows holds 'MoCo v2' twice"),
    ("rows = [dict(name='x')]", "'x': pretrain = None"),
    ("rows = [dict(name='x', pretrain=_moco, option={})]", "did you mean 'options'"),
    ("rows = [dict(name='x', pretrain=_moco, options={'seed': 1})]", "options sets seed"),
    ("rows = [dict(name='x', pretrain=_moco, options={'data.root': 1})]", "options sets data.root"),
    ("rows = [dict(name='scratch', pretrain=_moco)]", "control row"),
    ("rows = [dict(name='x, permuted', pretrain=_moco)]", "control row"),
    (f"folds = [{FOLD}, {FOLD}]", "folds holds 'a' twice"),
    ("folds = [dict(name='a', train='a/train.txt', val='a/val.txt')]", "no unlabelled list"),
    (f"folds = [{FOLD.replace('val.txt', 'valid.txt')}]", "there is no val list .*valid.txt"),
    (f"folds = [{FOLD.replace('train=', 'trian=')}]", "did you mean 'train'"),
    ("labelled = dict(type='LabeledList')", "LabelledList"),
    ("protocols = [dict(name='p', type='prob')]", "'finetune' or 'probe'"),
    (f"protocols = [{PROBE}, {PROBE}]", "protocols holds 'probe' twice"),
    (f"protocols = [{PROBE[:-1]}, rows=['MoCo'])]", "did you mean 'MoCo v2'"),
    (f"protocols = [{PROBE[:-1]}, budgets=(3,))]", r"some of \[4\]"),
    (f"protocols = [{PROBE[:-1]}, controls=('scratch-long',))]", "unknown.*scratch-long"),
    (f"protocols = [{PROBE[:-1]}, every=5, fractions=(0.1,))]", "one of the two"),
    (f"protocols = [{PROBE[:-1]}, every=0)]", "every = 0"),
    (f"protocols = [{PROBE[:-1]}, learning_rates=(0.1,))]", "unknown.*learning_rates"),
    ("protocols = [dict(name='f', type='finetune', file='upernet')]", "no config 'upernet'"),
    ("budgets = (2, 2)", "each once"),
    ("budgets = (0,)", "integers >= 1"),
    ("seeds = ()", "seeds"),
]

BAD_WHEN_PLANNED = [
    ("rows = [dict(name='x', pretrain='moco')]", "no config 'moco'"),
    ("rows = [dict(name='x', pretrain=_moco, options={'optim.lrr': 1})]", "optim.lrr"),
    ("rows.append(dict(name='x', pretrain=_moco))", "'MoCo v2' and 'x' differ in backbone"),
    ("protocols = [dict(name='p', type='finetune', finetune=dict(stepz=1))]", "steps"),
    ("protocols = [dict(name='p', type='probe', subset_seeds=(1,))]", "2 pretraining seeds and 1"),
    ("protocols = [dict(name='p', type='probe', fractions=(2.0,))]", "label fraction 2.0"),
    ("rows[0]['scaled'] = ('method.queue_size', 'optim.lr')", "scaled field optim.lr"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_wrong_study_is_refused_by_name(write_study, pictures, line, said):
    with pytest.raises(UsageError, match=said):
        read_study(write_study(line), (), pictures)


@pytest.mark.parametrize(("line", "said"), BAD_WHEN_PLANNED)
def test_what_only_the_configs_and_data_can_tell_is_refused_before_anything_runs(
    write_study, pictures, tmp_path, line, said
):
    config = read_study(write_study(line), (), pictures)
    with pytest.raises(UsageError, match=said):
        plan_study(config, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_a_study_is_read(write_study, pictures):
    config = read_study(write_study("budgets = (8, 2)"), ["seeds=[3]"], pictures)
    assert config.seeds == (3,)
    assert [row.budgets for row in config.rows] == [(2, 8), (2, 8)]
    assert [fold.name for fold in config.folds] == ["a", "b"]
    assert config.folds[0].data["train"]["path"] == str(pictures / "a/train.txt")
    assert config.folds[0].data["train"]["type"] == "LabelledList"
    (measure,) = config.protocols
    assert measure.rows == ("MoCo v2", "shuffled")
    assert measure.reference == "random init"


def test_methods_can_be_left_out(write_study, pictures):
    config = read_study(write_study(), (), pictures, ["shuffled"])
    assert [row.name for row in config.rows] == ["shuffled"]
    assert config.protocols[0].rows == ("shuffled",)
    with pytest.raises(UsageError, match="row 'other'"):
        read_study(write_study(), (), pictures, ["other"])


def test_rows_of_other_backbones_have_protocols_of_their_own(write_study, pictures, tmp_path):
    narrow = "{**_small, 'method.backbone.width': 8}"
    path = write_study(
        f"rows.append(dict(name='wide', pretrain=_moco, options={narrow}))",
        "protocols = [dict(rows=['MoCo v2'], **_probe), dict(name='other', type='probe', "
        "fractions=(0.5,), rows=['wide'])]",
    )
    plan = plan_study(read_study(path, (), pictures), tmp_path / "out", "cpu")
    tables = {table.label: table for table in plan.tables if table.fold.name == "a"}
    assert [row.name for row in tables["probe 50%"].study.rows][-1] == "MoCo v2"
    assert tables["other 50%"].study.protocol.spec.backbone["width"] == 8


def test_every_takes_evenly_spaced_labels_for_all_seeds(write_study, pictures, tmp_path):
    path = write_study("protocols = [dict(name='p', type='probe', every=2)]")
    plan = plan_study(read_study(path, (), pictures), tmp_path / "out", "cpu")
    pairs = plan.tables[0].study.pairs
    assert [seed for seed, _ in pairs] == [0, 1]
    assert pairs[0][1].items == ("p/images/0.png", "p/images/2.png", "p/images/4.png")
    assert pairs[0][1] == pairs[1][1]


def test_a_field_given_beside_a_file_replaces_that_field_alone(write_study, pictures):
    line = (
        "protocols = [dict(name='f', type='finetune', file='upernet_camvid-10pct', "
        "finetune=dict(steps=7, photometric=dict(hue=0.3)), learning_rates=(0.1,))]"
    )
    (measure,) = read_study(write_study(line), (), pictures).protocols
    settings = measure.settings
    assert settings["finetune"]["steps"] == 7
    assert settings["learning_rates"] == (0.1,)
    assert settings["finetune"]["head"] == "upernet"
    assert settings["finetune"]["photometric"]["hue"] == 0.3
    assert settings["finetune"]["photometric"]["contrast"] == 0.4
    assert settings["fractions"] == (0.1,)
