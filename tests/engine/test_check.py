from __future__ import annotations

import pytest
from engine_dummy import config

from densecl.engine.check import complete
from densecl.errors import UsageError


def test_completing_twice_changes_nothing():
    once = complete(config())
    assert complete(once) == once


def test_defaults_are_filled_in():
    full = complete({"method": {"type": "DummyMethod"}, "data": {"type": "RandomImages"},
                     "schedule": {"max_steps": 5}})  # fmt: skip
    assert full["train"]["amp"] == "off"
    assert full["input"]["channel_order"] == "RGB"
    assert full["optim"]["momentum"] == 0.9
    assert full["seed"] == 0


@pytest.mark.parametrize(
    ("changes", "path", "nearest"),
    [
        ({"optim": {"lrr": 0.1}}, "optim.lrr", "'lr'"),
        ({"loader": {"batchsize": 8}}, "loader.batchsize", "'batch_size'"),
        ({"shedule": {"max_steps": 8}}, "shedule", "'schedule'"),
        ({"method": {"quue_size": 8}}, "method.quue_size", "'queue_size'"),
        ({"method": {"type": "DumyMethod"}}, "method.type = 'DumyMethod'", "'DummyMethod'"),
        (
            {"method": {"type": "MoCoV2", "backbone": {"type": "ResNt"}}},
            "method.backbone.type",
            "'ResNet'",
        ),
        (
            {"method": {"type": "MoCoV2", "backbone": {"type": "ResNet", "dept": 18}}},
            "method.backbone.dept",
            "'depth'",
        ),
        ({"data": {"lenght": 8}}, "data.lenght", "'length'"),
        ({"probe": {"data": {"type": "RandomImage"}}}, "probe.data.type", "'RandomImages'"),
        ({"probe": {"val": {"type": "RandomImages", "sise": 3}}}, "probe.val.sise", "'size'"),
    ],
)
def test_unknown_fields_are_refused_with_their_path_and_the_nearest_name(changes, path, nearest):
    with pytest.raises(UsageError) as caught:
        complete(config(**changes))
    assert path in caught.value.given
    assert nearest in caught.value.fix


def test_unknown_view_settings_are_refused():
    with pytest.raises(UsageError, match="hflipp"):
        complete(config(views={"hflipp": 0.5}))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"optim": {"lr": -0.1}}, "optim.lr"),
        ({"optim": {"lr": "fast"}}, "optim.lr"),
        ({"optim": {"type": "Adam"}}, "optim.type"),
        ({"train": {"accumulate": 0}}, "train.accumulate"),
        ({"train": {"accumulate": 1.5}}, "train.accumulate"),
        ({"train": {"amp": "fp16"}}, "train.amp"),
        ({"train": {"channels_last": 1}}, "train.channels_last"),
        ({"train": {"device": "gpu"}}, "train.device"),
        ({"input": {"std": (1, 0, 1)}}, "input.std"),
        ({"input": {"mean": (1, 2)}}, "input.mean"),
        ({"loader": {"batch_size": True}}, "loader.batch_size"),
        ({"optim": {"momentum": 1.0}}, "optim.momentum"),
        ({"loader": 3}, "loader"),
        ({"method": 3}, "method"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_values_are_refused_by_path(changes, path):
    with pytest.raises(UsageError, match=path):
        complete(config(**changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": {"warmup_steps": 6}}, "warmup_steps = 6 with 6 steps"),
        ({"schedule": {"max_epochs": 2}}, "max_epochs = 2"),
        ({"schedule": {"max_steps": None}}, "max_steps = None"),
        ({"schedule": {"min_lr": 0.2}}, "min_lr = 0.2"),
        ({"views": {"num_views": 3}}, "num_views = 3, but method DummyMethod takes 2"),
        ({"method": {"type": "FourViews"}}, "num_views = 2, but method FourViews takes 4"),
        ({"probe": {"every": 5}}, "probe.every = 5"),
        ({"optim": {"betas": (0.9, 0.99)}}, "optim.betas"),
        ({"views": {"seed": 3}}, "views.seed"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(UsageError) as caught:
        complete(config(**changes))
    assert words in caught.value.given


def test_split_batch_norm_must_divide_the_batch():
    method = {"type": "MoCoV2", "backbone": {"type": "ResNet", "depth": 18}, "bn_splits": 4}
    sections = {**config(loader={"batch_size": 6}), "method": method}
    with pytest.raises(UsageError, match=r"batch_size = 6 with method.bn_splits = 4"):
        complete(sections)
    sections["loader"] = {"batch_size": 8}
    complete(sections)


def test_min_lr_is_compared_with_the_scaled_peak():
    large = {"scaling": "linear", "base_batch": 1, "lr": 0.1}
    complete(config(optim=large, schedule={"min_lr": 0.35}))
    with pytest.raises(UsageError, match="min_lr"):
        complete(config(optim=large, schedule={"min_lr": 0.45}))


def test_a_field_of_another_optimiser_may_be_unset():
    sections = config(optim={"type": "AdamW", "momentum": None})
    assert "momentum" not in complete(sections)["optim"]


def test_fields_that_came_later_leave_the_configs_before_them_as_they_were():
    """An effective config of an earlier run is still the effective config, word for word."""
    full = complete(config())
    assert "dampening" not in full["optim"]
    assert not {"decay", "decay_every"} & set(full["schedule"])
    assert complete(config(optim={"dampening": 0.0})) == full
    assert complete(config(optim={"dampening": 0.1}))["optim"]["dampening"] == 0.1


def test_a_decay_without_an_exponential_is_refused():
    complete(config(schedule={"type": "exponential", "decay": 0.5}))
    with pytest.raises(UsageError, match=r"schedule\.decay = 0\.5 with schedule\.type = 'cosine'"):
        complete(config(schedule={"decay": 0.5}))
