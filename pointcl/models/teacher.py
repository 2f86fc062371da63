"""The frozen teacher of distillation: a network of pictures that is only read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.models import ResNet, build_backbone
from densecl.weights.load import load_backbone
from densecl.weights.schema import MEAN, STD

RANDOM = "random"
"""In the place of a checkpoint: random weights, a control."""


class Teacher(nn.Module):
    """A backbone of pictures that never changes.

    It is no part of the module tree: it has no parameters to train, no mode but evaluation, and no
    weights in a checkpoint, which holds their hash instead and is refused beside other weights. It
    follows ``to``. Random weights are those of the run's seed.

    Args:
        weights: any checkpoint that ``densecl.load_backbone`` reads, or "random".
        backbone: config of the network; None = the file's own, and ResNet-50 for "random".
        stride: of the map that is read; None = the coarsest. A ResNet gets there by dilation where
            it is finer than its last stage, every other network needs a map of that stride.

    Attributes:
        fingerprint: (32,) uint8, SHA-256 of the weights.
        name: what a table calls it.
        input: channel order, mean and std (0-255) of its input; None where the file cannot tell.
        stride, channels: of the map that is read.

    Raises:
        UsageError: no such file, one without a backbone, or no map of that stride.
    """

    fingerprint: Tensor
    network: nn.Module

    def __init__(
        self,
        weights: str | Path,
        backbone: Mapping[str, Any] | None = None,
        stride: int | None = None,
    ) -> None:
        super().__init__()
        self.path = None if str(weights) == RANDOM else Path(weights).expanduser()
        # Whatever initialises it shifts no draw of the network that learns.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(torch.initial_seed())
            network = _load(self.path, backbone)
        told = getattr(network, "meta", {})
        kind = told.get("method") or told.get("layout") or RANDOM
        self.name = f"{kind} {_word(network)}" + ("" if self.path is None else f", {_tail(self)}")
        self.input = _input(network, self.path)
        self.register_buffer("fingerprint", _sha256(network))
        known = sorted(network.channels)  # type: ignore[arg-type]
        if stride is not None and isinstance(network, ResNet):
            dilate(network, stride)
        channels: dict[int, int] = network.channels  # type: ignore[assignment]
        self.stride = max(channels) if stride is None else stride
        if self.stride not in channels:
            raise UsageError(
                f"method.teacher_stride = {stride} for a teacher with maps at strides {known}",
                needed="one of them",
            )
        self.channels = channels[self.stride]
        network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.__dict__["network"] = network.requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(I, 3, H, W) normalised -> (I, C, h, w), without gradient."""
        return self.network(images).maps[self.stride]

    def describe(self) -> dict[str, Any]:
        """What a checkpoint says of it, in builtins."""
        return {
            "name": self.name,
            "path": None if self.path is None else str(self.path),
            "sha256": self.hash,
            "stride": self.stride,
        }

    @property
    def hash(self) -> str:
        """``fingerprint`` in hexadecimal."""
        return bytes(self.fingerprint.tolist()).hex()

    def _apply(self, fn: Callable, recurse: bool = True) -> Teacher:
        self.network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, state: dict, prefix: str, *rest: Any) -> None:
        stored = state.get(f"{prefix}fingerprint")
        if stored is not None and not torch.equal(stored.cpu(), self.fingerprint.cpu()):
            raise UsageError(
                f"another teacher: {self.name} has the weights {self.hash[:16]}, the run began "
                f"with {bytes(stored.tolist()).hex()[:16]}",
                needed="the same file, or for random weights the same seed",
            )
        super()._load_from_state_dict(state, prefix, *rest)


def dilate(network: ResNet, stride: int) -> None:
    """Change a ResNet in place so that no stage is coarser than ``stride``, with the same filters.

    Each convolution reads the places that it read before: at every place that the network had a
    feature, the feature stays what it was. So the one that strode keeps the dilation of the stage
    before, and all after it have more.

    Raises:
        UsageError: the stem alone is coarser.

    Source: Yu & Koltun 2016 (dilation in the place of stride); SLidR's ResNet-50 of stride 4.
    """
    total = network.stage_strides[0] // network.strides[0]
    if stride < total:
        raise UsageError(
            f"method.teacher_stride = {stride} for a ResNet whose stem has stride {total}",
            needed=f"{total} or more",
        )
    rate, strides, totals, dilations = 1, [], [], []
    for index, step in enumerate(network.strides):
        own = network.dilations[index]
        before = rate
        if total * step > stride:
            rate, step = rate * step, 1
        total *= step
        stage = network.get_submodule(f"layer{index + 1}")
        first = True
        for module in stage.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            if module.stride != (1, 1):
                module.stride = (step, step)
            if module.kernel_size == (3, 3):
                # by what it had: the second convolution of a basic block is never dilated
                reach = module.dilation[0] * (before if first else rate)
                module.dilation = module.padding = (reach, reach)
                first = False
        strides.append(step)
        totals.append(total)
        dilations.append(own * rate)
    network.strides, network.dilations = tuple(strides), tuple(dilations)
    network.stage_strides = totals
    network.channels = dict(zip(totals, network.stage_channels, strict=True))


def _load(path: Path | None, backbone: Mapping[str, Any] | None) -> nn.Module:
    if path is None:
        return build_backbone(backbone or {"type": "ResNet", "depth": 50})
    if not path.is_file():
        raise UsageError(
            f"method.teacher = {str(path)!r}: no such file",
            needed="a checkpoint of a network of pictures, or 'random', a control",
            fix="densecl pretrain makes one, method.teacher=FILE names it",
        )
    return load_backbone(path, backbone=backbone)


def _input(
    network: nn.Module, path: Path | None
) -> tuple[str, tuple[float, ...], tuple[float, ...]] | None:
    if path is None:
        return "RGB", MEAN, STD
    order, mean, std = (getattr(network, name) for name in ("channel_order", "mean", "std"))
    return None if order is None else (str(order), tuple(mean), tuple(std))


def _word(network: nn.Module) -> str:
    if not isinstance(network, ResNet):
        return str((getattr(network, "meta", {}).get("backbone") or {}).get("type") or "network")
    width = "" if network.width == 64 else f" of width {network.width}"
    return f"ResNet-{network.depth}{width}"


def _tail(teacher: Teacher) -> str:
    """The end of the path; ``last.pth`` alone would say nothing."""
    assert teacher.path is not None
    return "/".join(teacher.path.absolute().parts[-2:])


def _sha256(network: nn.Module) -> Tensor:
    """(32,) uint8, of names, types, shapes and values."""
    state = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if not name.endswith("num_batches_tracked"):  # old files lack it
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
            state.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return torch.frombuffer(bytearray(state.digest()), dtype=torch.uint8)
