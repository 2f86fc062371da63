from __future__ import annotations

from pathlib import Path

import pytest
from engine_dummy import config

from densecl.engine import config as module
from densecl.engine.config import (
    config_text,
    default_work_dir,
    find_config,
    list_configs,
    load_config,
    parse_config_text,
    parse_overrides,
    plain_config,
)
from densecl.errors import UsageError


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    root = tmp_path / "configs"
    (root / "_base_").mkdir(parents=True)
    (root / "small").mkdir()
    (root / "_base_" / "common.py").write_text(config_text(config()))
    (root / "small" / "dummy_noise.py").write_text(
        "_base_ = '../_base_/common.py'\noptim = dict(lr=0.25)\n_width = 3\n"
    )
    monkeypatch.setattr(module, "ROOTS", (tmp_path / "absent", root))
    return root


def test_shipped_configs_are_listed_without_their_parts(shipped):
    assert list_configs() == ["dummy_noise"]


@pytest.mark.parametrize("name", ["dummy_noise", "dummy_noise.py"])
def test_a_shipped_config_is_found_by_name(shipped, name):
    assert find_config(name) == shipped / "small" / "dummy_noise.py"


def test_a_path_is_found_as_it_is(shipped):
    path = shipped / "_base_" / "common.py"
    assert find_config(path) == path


def test_an_unknown_config_names_the_nearest(shipped):
    with pytest.raises(UsageError) as caught:
        find_config("dumy_noise")
    assert "'dummy_noise'" in caught.value.fix


def test_base_files_are_inherited_and_defaults_filled(shipped):
    loaded = load_config("dummy_noise")
    assert loaded.optim.lr == 0.25
    assert loaded.optim.type == "SGD"
    assert loaded.train.amp == "off"
    assert default_work_dir(loaded) == Path("work_dirs/dummy_noise")


def test_overrides_as_words_and_as_dict_agree(shipped):
    words = ["optim.lr=0.5", "views.size=[16,24]", "train.grad_clip=None", "method.dim=4"]
    values = {"optim.lr": 0.5, "views.size": [16, 24], "train.grad_clip": None, "method.dim": 4}
    assert plain_config(load_config("dummy_noise", words)) == plain_config(
        load_config("dummy_noise", values)
    )


def test_a_misspelt_override_is_refused(shipped):
    with pytest.raises(UsageError, match=r"optim\.lrr"):
        load_config("dummy_noise", ["optim.lrr=0.1"])


def test_an_override_below_a_number_is_refused(shipped):
    with pytest.raises(UsageError, match="overrides"):
        load_config("dummy_noise", {"optim.lr.x": 1})


def test_an_override_without_value_is_refused():
    with pytest.raises(UsageError, match="FIELD=VALUE"):
        parse_overrides(["optim.lr"])


def test_a_value_may_hold_an_equals_sign():
    assert parse_overrides(["data.root=/a=b"]) == {"data.root": "/a=b"}


@pytest.mark.parametrize("text", ["a = (", "a = undefined_name", "import not_a_module_at_all"])
def test_a_broken_file_is_a_usage_error_that_names_it(tmp_path, text):
    path = tmp_path / "broken.py"
    path.write_text(text + "\n")
    with pytest.raises(UsageError, match=r"broken\.py"):
        load_config(path)


def test_objects_in_a_config_are_refused():
    with pytest.raises(UsageError, match=r"method\.net is a object"):
        load_config({**config(), "method": {"type": "DummyMethod", "net": object()}})


def test_the_text_of_a_config_reads_back_equal(tmp_path):
    full = load_config(config(views={"scale": (0.3, 1.0)}))
    text = config_text(full)
    assert parse_config_text(text) == plain_config(full)
    path = tmp_path / "dumped.py"
    path.write_text(text)
    assert plain_config(load_config(path)) == plain_config(full)


def test_reading_a_text_back_runs_nothing():
    with pytest.raises(ValueError):
        parse_config_text("import os\n")
    with pytest.raises(ValueError):
        parse_config_text("a = print('x')\n")


def test_work_dir_of_the_config_wins():
    assert default_work_dir(load_config(config(work_dir="elsewhere/x"))) == Path("elsewhere/x")


def test_custom_imports_survive_into_the_dumped_config(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(config_text(config(custom_imports={"imports": ["colorsys"]})))
    assert load_config(path).custom_imports.imports == ["colorsys"]
