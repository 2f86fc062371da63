from __future__ import annotations

import pytest
import torch

from densecl.engine.device import pick_amp, pick_device, settle, threads
from densecl.errors import UsageError

CPU = torch.device("cpu")


@pytest.fixture
def probes(monkeypatch):
    """Pretend that the processor has bf16 instructions, or not."""

    def pretend(avx: bool, amx: bool) -> None:
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)

    return pretend


@pytest.mark.parametrize(("avx", "amx", "found"), [(0, 0, "off"), (1, 0, "bf16"), (0, 1, "bf16")])
def test_auto_takes_bf16_only_where_it_is_native(probes, avx, amx, found):
    probes(bool(avx), bool(amx))
    assert pick_amp("auto", CPU) == found
    assert pick_amp("off", CPU) == "off"
    assert pick_amp("bf16", CPU) == "bf16"


def test_the_settled_config_says_what_was_decided(probes):
    from mmengine.config import Config

    probes(False, False)
    config = settle(Config({"train": {"amp": "auto", "device": "cpu"}}))
    assert config["train"]["amp"] == "off"


def test_threads_leave_a_core_to_each_worker_and_are_put_back():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        for count, workers, expected in ((None, 2, 1), (None, 0, 3), (None, 9, 1), (2, 9, 2)):
            with threads(count, workers):
                assert torch.get_num_threads() == expected
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(UsageError, match=r"train\.device"):
        pick_device("cuda")
