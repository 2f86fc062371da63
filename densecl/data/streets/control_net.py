"""The small network that the controls are measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densecl.data.streets.classes import CLASSES, IGNORE

L = len(CLASSES)


def class_weights(target: Tensor) -> Tensor:
    """(L,) class weights, inverse root frequency, mean 1 over what occurs."""
    count = torch.bincount(target.reshape(-1)[target.reshape(-1) != IGNORE], minlength=L).float()
    weight = torch.where(count > 0, count.clamp(min=1).rsqrt(), torch.zeros(()))
    return weight * (count > 0).sum() / weight.sum()


def train_perceptron(
    feature: Tensor, target: Tensor, width: int, passes: int, seed: int, generator: torch.Generator
) -> nn.Module:
    """A classifier of single rows: two hidden layers, Adam, batches of 2048, classes weighed.

    Args:
        feature: (N, C) float32.
        target: (N,) int64 class ids, none ignored.
        width: of the hidden layers.
        passes: over all rows.
        seed: of the first weights.
        generator: of the order of the rows.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(feature.shape[1], width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, L),
        )
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    weight = class_weights(target)
    for _ in range(passes):
        for rows in torch.randperm(len(target), generator=generator).split(2048):
            optimiser.zero_grad()
            F.cross_entropy(net(feature[rows]), target[rows], weight).backward()
            optimiser.step()
    return net


class TinyUNet(nn.Module):
    """About half a million parameters; (B, 3, H, W) normalised -> (B, L, H, W) logits.

    Pixels are folded two by two into channels first and unfolded last: half the resolution at
    four times the channels costs a CPU less than thin full-resolution layers.
    """

    def __init__(self, width: int = 20) -> None:
        super().__init__()
        sizes = [width, 2 * width, 3 * width]
        self.down = nn.ModuleList(
            _block(a, b, 1 if k == 0 else 2)
            for k, (a, b) in enumerate(zip([12, *sizes[:-1]], sizes, strict=True))
        )
        self.middle = nn.Sequential(
            _block(sizes[-1], 4 * width, 2), _block(4 * width, 4 * width, 1)
        )
        self.up = nn.ModuleList(
            _block(a + b, b, 1, convs=1)
            for a, b in zip([4 * width, *sizes[:0:-1]], sizes[::-1], strict=True)
        )
        self.head = nn.Conv2d(width, 4 * L, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Class logits at the image's resolution, whose sides are even."""
        skips, x = [], F.pixel_unshuffle(image, 2)
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = self.middle(x)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        return F.pixel_shuffle(self.head(x), 2)


def _block(inputs: int, outputs: int, stride: int, convs: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(convs):
        layers += [
            nn.Conv2d(
                inputs if k == 0 else outputs, outputs, 3, stride if k == 0 else 1, 1, bias=False
            ),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def train_network(
    images: np.ndarray, label: np.ndarray, *, steps: int, batch: int, seed: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """Train ``TinyUNet`` from scratch; one-cycle Adam, flips, crops and colour jitter.

    Returns:
        images -> (n, H, W) predicted class ids.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = TinyUNet()
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
    target = torch.from_numpy(label.astype(np.int64))
    weight = class_weights(target)
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    order = torch.randperm(len(pictures), generator=generator)
    at = 0
    for _ in range(steps):
        if at + batch > len(order):
            order, at = torch.randperm(len(pictures), generator=generator), 0
        rows = order[at : at + batch] if len(order) >= batch else order
        at += batch
        x, y = _normalise(pictures[rows]), target[rows]
        gain = 1 + 0.25 * torch.randn(len(x), 3, 1, 1, generator=generator)
        x = x * gain + 0.2 * torch.randn(len(x), 3, 1, 1, generator=generator)
        if torch.rand((), generator=generator) < 0.5:
            x, y = x.flip(-1), y.flip(-1)
        top, left = (int(v) for v in torch.randint(0, 17, (2,), generator=generator))
        height, width = y.shape[-2] - 16, y.shape[-1] - 16
        x = x[..., top : top + height, left : left + width]
        y = y[..., top : top + height, left : left + width]
        optimiser.zero_grad()
        F.cross_entropy(net(x), y, weight, ignore_index=IGNORE).backward()
        optimiser.step()
        schedule.step()
    net.eval()

    @torch.no_grad()
    def predict(test: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(test).permute(0, 3, 1, 2).split(8)
        return torch.cat([net(_normalise(p)).argmax(1) for p in parts]).numpy()

    return predict


def _normalise(images: Tensor) -> Tensor:
    return images.float() / 64 - 2
