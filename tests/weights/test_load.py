import pytest
import torch
from torch import nn

import densecl
from densecl.errors import UsageError
from densecl.models import ModuleBackbone
from densecl.weights import load_backbone


class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return self.conv(x)


def ours(net, config):
    meta = dict.fromkeys(("method", "channel_order", "mean", "std", "code_version"))
    meta |= {"branch": "online", "backbone_prefix": "backbone.", "backbone": config}
    method = {f"backbone.{k}": v for k, v in net.state_dict().items()}
    return {"schema": "densecl/1", "kind": "pretrain", "step": 1, "method": method, "meta": meta}


def test_it_is_the_packages_public_name():
    assert densecl.load_backbone is load_backbone
    with pytest.raises(AttributeError, match="load_backbones"):
        densecl.load_backbones  # noqa: B018


def test_strides_and_dilations_come_from_our_config(tmp_path, make_net):
    net = make_net(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    torch.save(ours(net, net.config()), tmp_path / "w.pth")
    loaded = load_backbone(tmp_path / "w.pth")
    x = torch.randn(1, 3, 64, 64)
    assert loaded.channels == {4: 4, 8: 8, 16: 32}
    assert torch.equal(loaded(x).last(), net(x).last())


@pytest.mark.parametrize("config", [None, {}])
def test_a_users_own_network_needs_its_module(tmp_path, config):
    torch.manual_seed(0)
    net = ModuleBackbone(Mine())
    torch.save(ours(net, config), tmp_path / "w.pth")
    with pytest.raises(UsageError, match="backbone=module"):
        load_backbone(tmp_path / "w.pth")
    loaded = load_backbone(tmp_path / "w.pth", backbone=Mine())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(loaded(x).last(), net(x).last())


def test_a_wrong_stem_or_width_names_the_tensors(tmp_path, make_net):
    torch.save(make_net().state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"missing stem\.0\.weight") as error:
        load_backbone(
            tmp_path / "w.pth", backbone={"type": "ResNet", "depth": 18, "width": 4, "stem": "v1c"}
        )
    assert "left over conv1.weight" in str(error.value)
    assert "the file has the stem v1 or small, the backbone v1c" in str(error.value)
    with pytest.raises(UsageError, match=r"conv1.weight is \(4, 3, 7, 7\), needs \(8, 3, 7, 7\)"):
        load_backbone(tmp_path / "w.pth", backbone={"type": "ResNet", "depth": 18, "width": 8})


def test_files_from_before_num_batches_tracked_load(tmp_path, make_net):
    net = make_net()
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "w.pth")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(load_backbone(tmp_path / "w.pth")(x).last(), net(x).last())


def test_an_init_cfg_whose_file_is_gone_does_not_matter(tmp_path):
    pytest.importorskip("mmseg")
    from densecl.models import build_backbone

    config = {"type": "mmseg.ResNet", "depth": 18, "base_channels": 4, "stem_channels": 4}
    net = build_backbone(config)
    gone = {"type": "Pretrained", "checkpoint": str(tmp_path / "gone.pth")}
    torch.save(ours(net, {**config, "init_cfg": gone}), tmp_path / "w.pth")
    load_backbone(tmp_path / "w.pth")
