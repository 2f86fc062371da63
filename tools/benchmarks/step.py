"""What DenseCL costs over MoCo v2: whole optimiser steps, then the dense branch part by part.

    OMP_NUM_THREADS=1 python tools/benchmarks/step.py [--batch 8] [--depth 50] [--size 224]

The dense head's convolutions and the two products of queries and bank are arithmetic that the
method asks for, whoever writes it; the rest is matching, what the loss does beside its products,
the queue and telemetry. The reference form (all similarities by einsum, concatenated logits, a
bank of columns that is copied for each loss) gets the same weights and must give the same losses
and gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import timing
import torch
import torch.nn.functional as F
from torch import Tensor

from densecl.losses import normalise
from densecl.methods.base import Method, MethodOutput
from densecl.methods.densecl import DenseCL
from densecl.methods.moco_v2 import MoCoV2, similarities
from densecl.models.contract import Features
from densecl.pairs import match_by_similarity
from densecl.views.geometry import Affine
from densecl.views.view import ViewBatch


class ReferenceForm(DenseCL):
    """DenseCL with the dense branch written literally."""

    def forward(self, views: Sequence[ViewBatch]) -> MethodOutput:
        """Global branch as ours, then everything at once."""
        online = self.online["backbone"](views[0].image)
        with torch.no_grad():
            teacher = self.encode_keys(views[1].image)
        assert self.stride is not None
        output = self.global_branch(online, teacher, views[1].source)
        cells, other = (features.maps[self.stride] for features in (online, teacher))
        dense = self.online["dense_projector"](cells)
        with torch.no_grad():
            keys = self.teacher["dense_projector"](other)
        loss = self.loss(dense, self.matched(cells, other, keys))
        output.losses = {"global": 0.5 * output.losses["global"], "dense": 0.5 * loss}
        self._keys = keys
        return output

    def after_step(self, step: int) -> None:
        """Ours for the global branch; the dense bank is written by columns."""
        super().after_step(step)
        self.enqueue(self._keys)

    @torch.no_grad()
    def matched(self, cells: Tensor, other: Tensor, keys: Tensor) -> Tensor:
        """For each query cell the unit key of its most similar cell: (B, D, n)."""
        a, b = (F.normalize(maps.flatten(2), dim=1) for maps in (cells, other))
        best = torch.einsum("bci,bcj->bij", a, b).argmax(2)
        unit = F.normalize(keys.flatten(2), dim=1)
        return unit.gather(2, best.unsqueeze(1).expand(-1, unit.shape[1], -1))

    def loss(self, dense: Tensor, key: Tensor) -> Tensor:
        """Concatenated logits against a copy of the bank."""
        query = F.normalize(dense.flatten(2), dim=1).permute(0, 2, 1).flatten(0, 1)
        key = key.permute(0, 2, 1).flatten(0, 1)
        positive = torch.einsum("nc,nc->n", query, key).unsqueeze(1)
        negative = torch.einsum("nc,ck->nk", query, self.bank.clone())
        logits = torch.cat([positive, negative], 1) / self.temperature
        return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """One pooled key per image."""
        pooled = F.normalize(keys.mean((2, 3)), dim=1)
        self.bank[:, : len(pooled)] = pooled.T

    def start(self) -> None:
        """The bank of ``queue_dense``, by columns."""
        self.bank = self.queue_dense.feature.T.contiguous()


def view(batch: int, size: int, seed: int) -> ViewBatch:
    """Random images of distinct sources."""
    image = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))
    ids = torch.arange(batch)
    sizes = torch.full((batch, 2), size)
    return ViewBatch(image, Affine.stack([Affine.identity()] * batch), ids, 0 * ids, sizes)


def build(options: dict, views: list[ViewBatch]) -> dict[str, Method]:
    """The three methods, DenseCL's two forms with the same weights."""
    torch.manual_seed(0)
    ours, reference = DenseCL(**options), ReferenceForm(**options)
    reference.load_state_dict(ours.state_dict())
    reference.start()
    return {"MoCo v2": MoCoV2(**options), "DenseCL": ours, "DenseCL, reference form": reference}


def results(method: Method, views: list[ViewBatch]) -> list[Tensor]:
    """Losses and the gradients of all weights."""
    losses = method(views).losses
    weights = [p for p in method.parameters() if p.requires_grad]
    grads = torch.autograd.grad(sum(losses.values()), weights, allow_unused=True)
    return [*(loss.detach() for loss in losses.values()), *(g for g in grads if g is not None)]


def stepper(method: Method, views: list[ViewBatch]) -> timing.Form:
    """One optimiser step of the method, with an optimiser of its own."""
    weights = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(weights, 1e-3, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        sum(method(views).losses.values()).backward()
        optimizer.step()
        method.after_step(1)

    return step


def parts(method: DenseCL, reference: ReferenceForm, cells: Tensor) -> dict[str, timing.Form]:
    """The dense branch apart, on maps of the size that the backbone gives."""
    ours, other = cells[0].requires_grad_(), cells[1]
    seen = view(len(ours), 224, 0)
    assert method.stride is not None
    features = Features({method.stride: ours.detach()}), Features({method.stride: other})
    with torch.no_grad():
        queries = method.points(method.online, features[0], seen)
        keys = method.points(method.teacher, features[1], seen)
        dense = method.teacher["dense_projector"](other)
        head_output = method.online["dense_projector"](ours)
    pairs = match_by_similarity(queries, keys, field="match")
    key = keys.fields["loss"][pairs.dst]
    source = seen.source[queries.sample[pairs.src]]
    bank = method.queue_dense.feature

    def head() -> None:
        with torch.no_grad():
            method.teacher["dense_projector"](other)
        method.online["dense_projector"](ours).sum().backward()

    def match() -> None:
        match_by_similarity(queries, keys, field="match")

    def loss() -> None:
        rows = queries.fields["dense"].clone().requires_grad_()
        query = normalise(rows)[pairs.src]
        method.contrast(query, key, source, method.queue_dense).backward()

    def products() -> None:
        scores = key @ bank.T
        torch.mm(scores, bank)

    def telemetry() -> None:
        similarities(key, key, method.queue_dense)
        (pairs.per_sample(queries) == 0).float().mean()

    def literal_loss() -> None:
        leaf = head_output.clone().requires_grad_()
        matched = reference.matched(ours.detach(), other, dense)
        reference.loss(leaf, matched).backward()

    return {
        "head: convolutions": head,
        "loss: its two products": products,
        "loss, whole": loss,
        "matching": match,
        "queue": lambda: method.queue_dense.push(*method.dense_keys(keys, seen)),
        "telemetry": telemetry,
        "reference: matching": lambda: reference.matched(ours.detach(), other, dense),
        "reference: matching and loss": literal_loss,
        "reference: queue": lambda: reference.enqueue(dense),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = timing.parser(__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--queue", type=int, default=65536)
    options = parser.parse_args(arguments)
    timing.prepare(options)
    backbone = {"type": "ResNet", "depth": options.depth}
    if options.quick:
        options.batch, options.size, options.queue = 2, 64, 256
        backbone |= {"depth": 18, "width": 8}
    views = [view(options.batch, options.size, seed) for seed in (0, 1)]
    settings = {"backbone": backbone, "queue_size": options.queue, "queue_start": "random"}
    methods = build(settings, views)
    found, literal = (
        results(methods[name], views) for name in ("DenseCL", "DenseCL, reference form")
    )
    apart = timing.equal("reference form", found, literal, limit=1e-3)
    for method in methods.values():
        getattr(method, "_pushes", []).clear()

    run = {name: stepper(method, views) for name, method in methods.items()}
    steps = timing.alternate(run, options.rounds)
    base = steps["MoCo v2"]
    title = f"ResNet-{backbone['depth']}, {options.size} px, batch {options.batch}"
    title += f", {options.queue} keys: one optimiser step"
    rows = [[n, t.cpu, t.wall, f"{100 * (t.cpu / base.cpu - 1):+.1f} %"] for n, t in steps.items()]
    for row, mark in zip(rows, ("-", "-", apart), strict=True):
        row.append(mark)
    timing.table(title, ["method", "CPU ms", "wall ms", "over MoCo v2", "difference"], rows)

    ours, reference = methods["DenseCL"], methods["DenseCL, reference form"]
    assert isinstance(ours, DenseCL)
    assert isinstance(reference, ReferenceForm)
    width = ours.online["backbone"].channels[ours.stride]  # type: ignore[index]
    side = options.size // int(ours.stride or 1)
    cells = torch.randn(2, options.batch, width, side, side)  # type: ignore[arg-type]
    spent = timing.alternate(parts(ours, reference, cells), max(5, options.rounds))
    cpu = {name: time.cpu for name, time in spent.items()}
    products = cpu["loss: its two products"]
    names = ("loss, whole", "matching", "queue", "telemetry")
    cpu["loss, beside its products"] = cpu["loss, whole"] - products
    cpu["the rest: matching, loss beside its products, queue, telemetry"] = (
        sum(cpu[name] for name in names) - products
    )
    rows = [[name, value, f"{100 * value / base.cpu:.2f} %"] for name, value in cpu.items()]
    timing.table("DenseCL's dense branch apart", ["part", "CPU ms", "of a MoCo v2 step"], rows)


if __name__ == "__main__":
    main()
