"""The small sparse network that the controls are measured against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from densecl.data.streets.classes import CLASSES, IGNORE
from densecl.data.streets.control_net import class_weights
from pointcl.models import MinkUNet
from pointcl.sparse import VoxelGrid, Voxels, slice_to_points, voxelise

L = len(CLASSES)
VOXEL, REACH = 0.25, 50.0
"""Edge of a voxel, and how far from the sensor points are shown to the network, in metres."""
WIDTH = 16
PLANES = (16, 32, 48, 64, 48, 32, 24, 24)


@dataclass(frozen=True)
class Cloud:
    """The points of one scan.

    Attributes:
        points: (N, 3) float32. intensity: (N,) float32. label: (N,) uint8, 255 = ignore.
    """

    points: np.ndarray
    intensity: np.ndarray
    label: np.ndarray


class SmallUNet(nn.Module):
    """A MinkUNet14 of under a million parameters; points in, class scores of voxels out."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MinkUNet(
            14, in_channels=3, out_channels=L, width=WIDTH, stem_kernel=3, planes=PLANES
        )
        low, high = (-REACH,) * 3, (REACH,) * 3
        self.grid = VoxelGrid(VOXEL, low=low, high=high)

    def voxels(self, points: Sequence[Tensor], intensity: Sequence[Tensor]) -> Voxels:
        """A batch cut into voxels; each carries the mean intensity, height and distance."""
        rows = [
            torch.stack([2 * i - 0.5, 0.5 * p[:, 2], p[:, :2].norm(dim=1) / 25 - 1], 1)
            for p, i in zip(points, intensity, strict=True)
        ]
        return voxelise(points, self.grid, rows, representative="mean")

    def forward(self, voxels: Voxels) -> Tensor:
        """(M, L) scores of the voxels."""
        return self.net(voxels.tensor).finest().features


def train_network(
    clouds: Sequence[Cloud], *, steps: int, batch: int, seed: int = 0
) -> Callable[[Cloud], np.ndarray]:
    """Train ``SmallUNet`` from scratch; one-cycle Adam, turned, mirrored and scaled scans.

    Returns:
        cloud -> (N,) uint8 predicted class ids; beyond the network's reach the commonest class.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SmallUNet()
    known = torch.cat([torch.from_numpy(c.label).long() for c in clouds])
    weight = class_weights(known)
    commonest = int(torch.bincount(known[known != IGNORE], minlength=L).argmax())
    optimiser = torch.optim.AdamW(net.parameters(), lr=6e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=steps)
    order, at = torch.randperm(len(clouds), generator=generator), 0
    for _ in range(steps):
        if at + batch > len(order):
            order, at = torch.randperm(len(clouds), generator=generator), 0
        chosen = [clouds[k] for k in order[at : at + batch].tolist()]
        at += batch
        points = [_varied(torch.from_numpy(c.points), generator) for c in chosen]
        voxels = net.voxels(points, [_brightened(c, generator) for c in chosen])
        label = torch.cat([torch.from_numpy(c.label).long() for c in chosen])
        optimiser.zero_grad()
        scores = slice_to_points(net(voxels), voxels.point_to_voxel)
        seen = voxels.point_to_voxel >= 0
        F.cross_entropy(scores[seen], label[seen], weight, ignore_index=IGNORE).backward()
        optimiser.step()
        schedule.step()
    net.eval()

    @torch.no_grad()
    def predict(cloud: Cloud) -> np.ndarray:
        voxels = net.voxels([torch.from_numpy(cloud.points)], [torch.from_numpy(cloud.intensity)])
        found = slice_to_points(net(voxels), voxels.point_to_voxel).argmax(1)
        found[voxels.point_to_voxel < 0] = commonest
        return found.numpy().astype(np.uint8)

    return predict


def _varied(points: Tensor, generator: torch.Generator) -> Tensor:
    """Turn about z, mirror, scale by up to a twentieth, and raise by some centimetres."""
    angle, flip, scale = torch.rand(3, generator=generator).tolist()
    c, s = np.cos(2 * np.pi * angle), np.sin(2 * np.pi * angle)
    side = 1.0 if flip < 0.5 else -1.0
    turn = torch.tensor([[c, side * s, 0], [-s, side * c, 0], [0, 0, 1]], dtype=torch.float32)
    lift = torch.tensor([0, 0, 0.1 * float(torch.randn((), generator=generator))])
    return points @ turn * (0.95 + 0.1 * scale) + lift


def _brightened(cloud: Cloud, generator: torch.Generator) -> Tensor:
    """Intensities with another gain."""
    gain = float(1 + 0.25 * torch.randn((), generator=generator))
    return (torch.from_numpy(cloud.intensity) * gain).clamp(0, 1)
