"""The shipped few-label protocols differ where their names differ, and nowhere else."""

from __future__ import annotations

import pytest

from densecl.transfer.cells import digest
from densecl.transfer.finetuning import FinetuneSpec, build_started
from densecl.transfer.protocol_file import read_protocol

HEADS = ("upernet", "fcn", "deeplabv3plus", "upernet-coretuning")


def shared(protocol):
    """What decides a number beside the settings of the run."""
    names = ("data", "learning_rates", "fractions", "subset_seeds", "seeds", "selection", "pairing")
    return {name: getattr(protocol, name) for name in names}


@pytest.mark.parametrize("head", HEADS)
def test_heads_are_compared_on_equal_terms(head):
    base = read_protocol("upernet_streets-5pct")
    protocol = read_protocol(f"{head}_streets-5pct")
    assert shared(protocol) == shared(base)
    own = {"head", "output_stride", "contrast"}
    kept = [{k: v for k, v in p.finetune.items() if k not in own} for p in (protocol, base)]
    assert kept[0] == kept[1]
    settings = {**protocol.finetune, "amp": "off"}
    spec = FinetuneSpec({"type": "ResNet", "depth": 18, "width": 4}, num_classes=11, **settings)
    segmentor, difference = build_started(spec, None, 0, 0)
    assert segmentor.decode_head.channels == 32
    assert difference < 1e-4


def test_core_tuning_is_the_only_difference_of_its_protocol():
    plain = read_protocol("upernet_streets-5pct").finetune
    tuned = dict(read_protocol("upernet-coretuning_streets-5pct").finetune)
    assert tuned.pop("contrast") == {"eta": 0.1, "level": 2, "pixels": 64}
    assert tuned == plain


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("upernet_streets-5pct", "641adb6a57d07367c8b1"),
        ("upernet_camvid-10pct", "2edba2d3b880b9de7a27"),
    ],
)
def test_settings_of_protocols_with_results_do_not_change(name, frozen):
    assert digest(read_protocol(name).finetune) == frozen
