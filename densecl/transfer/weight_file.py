"""What a weight file holds, as far as a number measured on it depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from densecl.errors import UsageError
from densecl.transfer.cells import init_fingerprint
from densecl.weights.architecture import in_words
from densecl.weights.find import BackboneState

INPUT = ("channel_order", "mean", "std")


@dataclass(frozen=True)
class Told:
    """What is said of a file beside what it says itself.

    Attributes:
        branch: which network of the file; None = the one that its method hands over.
        backbone: its architecture, where the file cannot tell or tells it wrongly.
        channel_order, mean, std: of the input, where the file does not say them.
    """

    branch: str | None = None
    backbone: Mapping[str, Any] | None = None
    channel_order: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def of_weights(self) -> bool:
        """Whether other weights are meant than the file gives by itself."""
        return self.branch is not None or self.backbone is not None


@dataclass(frozen=True)
class WeightFile:
    """A file that was opened and whose backbone is whole.

    Attributes:
        path: the file.
        fingerprint: of its content.
        weights: fingerprint of the backbone alone: equal in two files that differ in the rest.
        layout, branch, method: what was recognised; no method in foreign files.
        tensors: (filled, all) tensors of the backbone, batch counters left out: equal, or the
            file is refused.
        backbone: config of the backbone.
        input: what the file says of its input.
        key_map: (name in the file, name in the backbone); empty where names are not kept.
        notes: what a reader of the numbers should know.
        load: the backbone itself.
    """

    path: Path
    fingerprint: str
    weights: str
    layout: str
    branch: str
    method: str
    tensors: tuple[int, int]
    backbone: Mapping[str, Any]
    input: Mapping[str, Any]
    key_map: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    load: Callable[[], nn.Module]

    @property
    def words(self) -> str:
        """The backbone in a few words."""
        return in_words(self.backbone)


def inspect_file(
    path: Path,
    told: Told,
    read: Callable[..., BackboneState],
    load: Callable[..., nn.Module],
) -> WeightFile:
    """Open a file and load its backbone once; see ``Kind.inspect``.

    Args:
        path: the file.
        told: what it does not say itself.
        read: from (file, branch) to the state found in it.
        load: from a file to a backbone; refuses what does not fit tensor by tensor.
    """
    if not path.is_file():
        raise UsageError(f"no such file {path}", fix="correct the path")
    state = read(path, told.branch)

    def whole() -> nn.Module:
        return load(path, branch=told.branch, backbone=told.backbone)

    module = whole()
    about: dict[str, Any] = getattr(module, "meta", {})
    wanted = [name for name in module.state_dict() if not name.endswith("num_batches_tracked")]
    stated = {name: getattr(module, name, None) for name in INPUT}
    return WeightFile(
        path,
        init_fingerprint(path),
        init_fingerprint(module.state_dict()),
        layout=state.layout,
        branch=state.branch,
        method=str(about.get("method") or ""),
        tensors=(len(wanted), len(wanted)),
        backbone=dict(about["backbone"]) if about.get("backbone") else {},
        input={k: list(v) if isinstance(v, (list, tuple)) else v for k, v in stated.items()},
        key_map=tuple((theirs, ours) for ours, theirs in state.origin.items()),
        notes=tuple(about.get("notes", ())),
        load=whole,
    )


def told_input(file: WeightFile, told: Told) -> dict[str, Any]:
    """Channel order, mean and std of a file's input: its own, or what is told of it.

    Raises:
        UsageError: neither says it, or they contradict each other.
    """
    given: dict[str, Any] = {}
    for name in INPUT:
        own, said = file.input.get(name), getattr(told, name)
        own, said = (tuple(v) if isinstance(v, (list, tuple)) else v for v in (own, said))
        if own is None and said is None:
            raise UsageError(
                f"{file.path} does not say how its input is normalised: {name} is unknown",
                needed="channel order, mean and std of the pretraining",
                fix="say it: --tell NAME.channel_order=RGB NAME.mean=[...] NAME.std=[...]",
            )
        if own is not None and said is not None and own != said:
            raise UsageError(
                f"{file.path} says {name} = {own}, you say {said}",
                needed="one of them: the weights mean nothing on other inputs",
                fix=f"leave out --tell NAME.{name}",
            )
        given[name] = said if own is None else own
    return given
