"""Hand a backbone to another library, with a proof that it arrives there unchanged."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densecl.errors import UsageError
from densecl.files import write_atomically
from densecl.models.build import build_backbone
from densecl.weights import safetensors_file
from densecl.weights.load import load_backbone
from densecl.weights.schema import SCHEMA, code_version
from densecl.weights.snippet import mmseg_snippet, safetensors_snippet, torchvision_snippet
from densecl.weights.targets import (
    Plan,
    Verdict,
    maps_of,
    plan_mmseg,
    plan_safetensors,
    plan_torchvision,
)

PLANS = {"torchvision": plan_torchvision, "mmseg": plan_mmseg, "safetensors": plan_safetensors}
SNIPPETS = {
    "torchvision": torchvision_snippet,
    "mmseg": mmseg_snippet,
    "safetensors": safetensors_snippet,
}
# The same operations in the same order agree to the bit; another library may fuse differently,
# which in float32 moves features by about 1e-6 of their size.
RELATIVE_TOLERANCE = 1e-5
# Neither square nor a single image, so that swapped axes or mixed samples show.
IMAGE_SHAPE = (2, 3, 64, 96)


@dataclass
class ExportReport:
    """What was written and how far it is proven.

    Attributes:
        target: "torchvision", "mmseg" or "safetensors".
        verdict: "proven" (loaded and run by the target itself), "proven by stand-in" (the target
            does not import here; an independent forward in its naming agrees), or "refused".
        path: the file, None when refused.
        coverage: share of the target backbone's tensors that are filled, 1.0 when proven.
        max_abs_diff: largest difference over all feature maps; None when it was not run.
        key_map: our name -> the target's name.
        reasons: why it was refused.
        notes: what the user should know besides.
        snippet: what to paste into a config of the target.
    """

    target: str
    verdict: Verdict = "refused"
    path: Path | None = None
    coverage: float = 0.0
    max_abs_diff: float | None = None
    key_map: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    snippet: str = ""

    def summary(self) -> str:
        """Verdict, coverage and difference, then reasons and notes: a few lines."""
        renamed = sum(a != b for a, b in self.key_map.items())
        diff = "not run" if self.max_abs_diff is None else f"{self.max_abs_diff:.3g}"
        lines = [
            f"export to {self.target}: {self.verdict}",
            f"  file: {self.path or 'not written'}",
            f"  coverage: {self.coverage:.1%} of the target backbone, "
            f"{len(self.key_map)} keys mapped, {renamed} renamed",
            f"  largest feature difference: {diff}",
        ]
        lines += [f"  refused because: {reason}" for reason in self.reasons[:6]]
        if len(self.reasons) > 6:
            lines.append(f"  and {len(self.reasons) - 6} more in .reasons")
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def __str__(self) -> str:
        pairs = [f"    {ours} -> {theirs}" for ours, theirs in self.key_map.items()]
        parts = [self.summary(), "  key map:", *pairs]
        return "\n".join(parts + (["", self.snippet] if self.snippet else []))


def export(
    source: str | Path | nn.Module,
    target: str,
    out: str | Path,
    *,
    branch: str | None = None,
    backbone: Mapping[str, Any] | nn.Module | None = None,
    meta: Mapping[str, Any] | None = None,
) -> ExportReport:
    """Write a backbone for another library and prove that it computes the same features there.

    The file is written only if every tensor of the target backbone is filled by a tensor of the
    same shape, none of ours is left over, and the target, after loading the file in its own way,
    gives the same maps on a fixed random image.

    Args:
        source: a weight file that ``load_backbone`` reads, or a backbone.
        target: "torchvision", "mmseg" or "safetensors".
        out: the file; replaced in one step if it exists.
        branch: of a pretraining checkpoint; None takes the one that the method hands over.
        backbone: architecture of ``source`` where the file does not say it.
        meta: entries that replace what is known about the source (method, mean, std, ...).

    Returns:
        The report; ``print(report)`` shows the key map and the snippet to paste.

    Raises:
        UsageError: unknown target, or the source cannot be read.
    """
    if target not in PLANS:
        raise UsageError(f"export target {target!r}", needed=f"one of {sorted(PLANS)}")
    if isinstance(source, nn.Module):
        module = build_backbone(copy.deepcopy(source))
    else:
        module = load_backbone(source, branch=branch, backbone=backbone)
    module = module.cpu().float()
    module.eval()
    with torch.random.fork_rng(devices=[]):
        plan = PLANS[target](module)
        report = ExportReport(target, key_map=plan.key_map, notes=plan.notes)
        report.reasons = [*plan.reasons, *_compare(module, plan, report)]
        if report.reasons:
            return report
        about = _describe(module, plan, meta or {})
        tensors = {plan.key_map[k]: v.detach() for k, v in module.state_dict().items()}
        content = _content(target, tensors, about)
        _write_if_proven(Path(out), content, plan, report)
    if report.path is not None:
        report.snippet = SNIPPETS[target](report.path, plan.target_config or plan.config, about)
    return report


def _compare(module: nn.Module, plan: Plan, report: ExportReport) -> list[str]:
    """Fill in the coverage; say what is missing, of another shape, or left over."""
    given = {plan.key_map.get(k, k): tuple(v.shape) for k, v in module.state_dict().items()}
    reasons = []
    filled = 0
    for name, shape in plan.shapes.items():
        if name not in given:
            reasons.append(f"{name} {shape} of the target is not filled")
        elif given[name] != shape:
            reasons.append(f"{name} is {given[name]}, the target has {shape}")
        else:
            filled += 1
    if plan.shapes:
        report.coverage = filled / len(plan.shapes)
        reasons += [f"{name} has no place in the target" for name in given.keys() - plan.shapes]
    return reasons


def _describe(module: nn.Module, plan: Plan, more: Mapping[str, Any]) -> dict[str, Any]:
    """The ``meta`` of the file; what the module does not know stays None."""
    known = dict(getattr(module, "meta", None) or {})
    for key in ("backbone_prefix", "branch_prefixes", "layout"):
        known.pop(key, None)
    about = {
        "method": None,
        "branch": "online",
        **known,
        "backbone": plan.config,
        "channel_order": getattr(module, "channel_order", None),
        "mean": getattr(module, "mean", None),
        "std": getattr(module, "std", None),
        "naming": plan.naming,
        "code_version": code_version(),
        **more,
    }
    # Through JSON: config dicts of other libraries would keep the file from loading safely.
    return json.loads(json.dumps(about, default=str))


def _content(target: str, tensors: dict[str, Tensor], about: dict[str, Any]) -> bytes:
    if target == "safetensors":
        text = json.dumps({"schema": SCHEMA, **about}, default=str)
        return safetensors_file.encode(tensors, {"densecl": text, "format": "pt"})
    state = dict(tensors)
    if target == "mmseg":
        # Listed twice, stored once: `Pretrained` works with and without prefix="backbone.", and
        # the file also serves as `load_from` of a whole segmentor.
        state |= {f"backbone.{name}": tensor for name, tensor in tensors.items()}
    buffer = io.BytesIO()
    content = {"schema": SCHEMA, "kind": "backbone", "state_dict": state, "meta": about}
    torch.save(content, buffer)
    return buffer.getvalue()


class _NotProvenError(Exception):
    """Keeps a draft from taking its final place."""


def _write_if_proven(out: Path, content: bytes, plan: Plan, report: ExportReport) -> None:
    """Write beside the final place, prove what was written, then move it there in one step."""

    def write(draft: Path) -> None:
        draft.write_bytes(content)
        _prove(draft, plan, report)
        if report.reasons:
            raise _NotProvenError

    try:
        write_atomically(out, write)
    except _NotProvenError:
        return
    report.path, report.verdict = out, plan.verdict


@torch.no_grad()
def _prove(draft: Path, plan: Plan, report: ExportReport) -> None:
    image = torch.randn(IMAGE_SHAPE, generator=torch.Generator().manual_seed(0))
    source = plan.source
    source.eval()
    ours = maps_of(source, image)
    assert plan.outputs is not None
    theirs = plan.outputs(draft, image)
    if [m.shape for m in ours] != [m.shape for m in theirs]:
        shapes = [tuple(m.shape) for m in ours], [tuple(m.shape) for m in theirs]
        report.reasons.append(f"maps of shapes {shapes[0]} became {shapes[1]}")
        return
    diffs = [float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)]
    report.max_abs_diff = max(diffs, key=lambda d: float("inf") if d != d else d)
    for index, (diff, a) in enumerate(zip(diffs, ours, strict=True)):
        if not diff <= RELATIVE_TOLERANCE * float(a.abs().max()):
            report.reasons.append(f"features of map {index} differ by {diff:.3g}")
        if not float(a.std()) > 0:
            report.reasons.append(f"features of map {index} are constant: equality proves nothing")
