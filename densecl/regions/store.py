"""Segments on disk: computed once, found by name, checked whenever they are read.

A store is a folder::

    STORE/store.json            format, kind, method with every setting and version, their hash
    STORE/entries/a7/<hash>     one file an input, named by the hash of the input's name

One file an input, because a file appears whole by one rename: a build may be killed at any moment
and goes on where it was, several may write at once, and damage stays with one input. 256 folders
keep each short (a million inputs are 4000 files a folder). The same input and method give the same
bytes, whoever computes them and in which order.

Images and clouds use it alike::

    store = SegmentStore.create(folder, kind="cloud", method=segmentation.describe())
    report = build(store, Items(dataset), segmentation, workers=4)
    store.get(scan.name, segmentation.identify(scan)).ids
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from densecl.errors import UsageError
from densecl.files import TEMPORARY, read_json
from densecl.regions.entry import DamagedEntryError, Entry, decode, encode, read_header
from densecl.regions.header import check_method, differences, key_of, plain
from densecl.regions.segments import Segments

FORMAT = "densecl.segments/1"
KINDS = {"image": 2, "cloud": 1}
State = Literal["present", "missing", "changed", "damaged"]


class EntryError(UsageError):
    """A segment store cannot serve an input.

    Attributes:
        state: "missing", "changed" (the input is another one than was segmented) or "damaged".
    """

    def __init__(self, given: str, *, state: State = "missing", fix: str = "") -> None:
        super().__init__(given, fix=fix)
        self.state = state


@dataclass
class Check:
    """What ``SegmentStore.verify`` found.

    Attributes:
        whole: entries that can be read.
        damaged: path -> what is wrong with it.
        leftovers: files that a killed process left behind.
        num_bytes: of all whole entries.
    """

    whole: int = 0
    damaged: dict[Path, str] = field(default_factory=dict)
    leftovers: list[Path] = field(default_factory=list)
    num_bytes: int = 0


class SegmentStore:
    """A folder of segments; see the module. ``create`` or ``open`` one.

    It is small, may be pickled into workers, and keeps no file open.

    Attributes:
        folder: where it lies.
        kind: "image" or "cloud".
        method: type, settings and versions of what computes the entries.
    """

    def __init__(self, folder: Path, kind: str, method: dict[str, Any]) -> None:
        self.folder, self.kind, self.method = folder, kind, method

    @classmethod
    def create(cls, folder: str | Path, *, kind: str, method: Mapping[str, Any]) -> SegmentStore:
        """Open the store of a method for writing, made first where there is none.

        Args:
            folder: where it lies, or shall lie.
            kind: "image" or "cloud".
            method: ``Segmentation.describe()``: builtins only.

        Raises:
            UsageError: the folder is the store of another kind, method or version, or holds
                something else.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {sorted(KINDS)}, got {kind!r}")
        folder = Path(folder).expanduser()
        wanted = plain(method)
        if (folder / "store.json").exists():
            store = cls.open(folder)
            check_method(folder, store.kind, store.method, kind, wanted)
            return store
        if folder.exists() and (not folder.is_dir() or any(_visible(folder))):
            raise UsageError(
                f"{folder} exists and is no segment store", fix="choose a new or empty folder"
            )
        store = cls(folder, kind, wanted)
        content = {"format": FORMAT, "key": store.key, "kind": kind, "method": wanted}
        _place(folder / "store.json", (json.dumps(content, indent=1) + "\n").encode())
        return store

    @classmethod
    def open(cls, folder: str | Path, method: Mapping[str, Any] | None = None) -> SegmentStore:
        """Open a store that exists.

        Args:
            folder: where it lies.
            method: settings it must have been built with, those left out may be any.

        Raises:
            UsageError: no such store, one of another version of the library, or one that was
                built with other settings.
        """
        folder = Path(folder).expanduser()
        content = read_json(folder / "store.json") if folder.is_dir() else None
        if not isinstance(content, dict):
            raise UsageError(
                f"{folder} is no segment store",
                needed="a folder with a store.json",
                fix=f"build one: densecl segments build ... --out {folder}, or pointcl for clouds",
            )
        try:
            store = cls(folder, content["kind"], content["method"])
            whole = content["format"] == FORMAT and content["key"] == store.key
        except (KeyError, TypeError):
            whole = False
        if not whole or store.kind not in KINDS:
            raise UsageError(
                f"{folder}/store.json is damaged or of another version",
                needed=f"format {FORMAT!r} and a key that fits the settings",
                fix="remove the folder and build the store again",
            )
        if method is not None and (found := differences(store.method, plain(method))):
            raise UsageError(
                f"the segments in {folder} were computed with other settings: {', '.join(found)}",
                fix=f"give those settings, or build another store: {store.build_command('NEW')}",
            )
        return store

    @cached_property
    def key(self) -> str:
        """Hash of kind and method; every entry carries it."""
        return key_of(self.kind, self.method)

    @property
    def program(self) -> str:
        """The command that fills, checks and draws it."""
        return "densecl" if self.kind == "image" else "pointcl"

    def build_command(self, out: str | Path | None = None) -> str:
        """What to type to fill this store, or one like it at ``out``."""
        return f"{self.program} segments build ... --out {self.folder if out is None else out}"

    def path(self, name: str) -> Path:
        """The file of an input; it may not exist."""
        digest = blake2b(name.encode(errors="surrogateescape"), digest_size=16).hexdigest()
        return self.folder / "entries" / digest[:2] / digest[2:]

    def get(self, name: str, source: str | None = None) -> Segments:
        """The segments of an input.

        Args:
            name: of the input.
            source: hash of its content, ``Segmentation.identify``; None = whatever was
                segmented under this name.

        Raises:
            EntryError: there are none, they are damaged, or belong to another content.
        """
        entry = self.read(name)
        if source is not None and entry.source != source:
            raise EntryError(
                f"{name} is not what it was when {self.folder} was built: its content differs",
                state="changed",
                fix=f"compute its segments again: {self.build_command()}",
            )
        return entry.segments

    def read(self, name: str) -> Entry:
        """An entry with the hash of the content it was computed from.

        Raises:
            EntryError: there is none, or it is damaged.
        """
        path = self.path(name)
        try:
            entry = decode(path.read_bytes())
            self._own(entry.key, entry.name, path)
            return entry
        except FileNotFoundError:
            raise EntryError(
                f"{self.folder} has no segments of {name}", fix=f"build: {self.build_command()}"
            ) from None
        except DamagedEntryError as error:
            raise EntryError(
                f"{path}, the segments of {name}: {error}",
                state="damaged",
                fix=f"compute it again: {self.build_command()}",
            ) from error

    def put(self, name: str, segments: Segments, source: str) -> None:
        """Write an entry, in the place of an older one.

        Two processes may do so at once: each rename leaves a whole file.

        Args:
            name: of the input.
            segments: its regions.
            source: hash of its content.

        Raises:
            ValueError: ids of another kind of input.
        """
        if segments.ids.ndim != KINDS[self.kind]:
            raise ValueError(f"{name}: ids of shape {segments.ids.shape} in a {self.kind} store")
        _place(self.path(name), encode(Entry(self.key, name, source, segments)))

    def state(self, name: str, source: str | None = None) -> State:
        """Whether an input's entry can be used; its content is checked, but not unpacked."""
        path = self.path(name)
        try:
            header, _ = read_header(path.read_bytes())
            self._own(header.get("key"), header.get("name"), path)
        except FileNotFoundError:
            return "missing"
        except DamagedEntryError:
            return "damaged"
        return "present" if source in (None, header.get("source")) else "changed"

    def missing(self, names: Iterable[str]) -> list[str]:
        """The names without an entry, in their order. Lists folders; opens nothing."""
        present = {path.parent.name + path.name for path in self.files()}
        return [n for n in names if (p := self.path(n)).parent.name + p.name not in present]

    def names(self) -> Iterator[str]:
        """Names of the whole entries, in the order of their files."""
        for path in self.files():
            try:
                yield read_header(path.read_bytes())[0]["name"]
            except (DamagedEntryError, FileNotFoundError):
                continue

    def files(self) -> Iterator[Path]:
        """Paths of the entries, sorted."""
        for folder in sorted(_visible(self.folder / "entries")):
            yield from sorted(_visible(folder))

    def __len__(self) -> int:
        return sum(1 for _ in self.files())

    def verify(self, repair: bool = False) -> Check:
        """Read every entry.

        Args:
            repair: remove what is damaged or left behind, so that the next build computes it.
        """
        check = Check(leftovers=list(self._leftovers()))
        for path in self.files():
            data = path.read_bytes()
            try:
                entry = decode(data)
                self._own(entry.key, entry.name, path)
                if entry.segments.ids.ndim != KINDS[self.kind]:
                    raise DamagedEntryError(f"it is none of a {self.kind}")
            except DamagedEntryError as error:
                check.damaged[path] = str(error)
                continue
            check.whole += 1
            check.num_bytes += len(data)
        if repair:
            for path in (*check.damaged, *check.leftovers):
                path.unlink(missing_ok=True)
        return check

    def remove_leftovers(self) -> None:
        """Delete files that processes of this machine left behind when they were killed."""
        for path in self._leftovers():
            path.unlink(missing_ok=True)

    def _leftovers(self) -> Iterator[Path]:
        mine = f"{TEMPORARY}{socket.gethostname()}-"
        for pattern in (f"{mine}*", f"entries/*/{mine}*"):
            for path in self.folder.glob(pattern):
                process = path.name.removeprefix(mine).partition("-")[0]
                if process.isdecimal() and not _alive(int(process)):
                    yield path

    def _own(self, key: object, name: object, path: Path) -> None:
        """Check that an entry is this store's, and lies where it belongs."""
        if key != self.key or not isinstance(name, str) or self.path(name) != path:
            raise DamagedEntryError("it belongs to another store or another input")


def _place(path: Path, data: bytes) -> None:
    """Write a file so that it appears whole.

    Not ``densecl.files.write_atomically``: no flush to disk for each of a million small files,
    since after a power cut the checksum tells; and the machine stands in the temporary name, since
    only there one can tell whether its process still lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
    temporary = path.with_name(f"{TEMPORARY}{writer}-{path.name}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _visible(folder: Path) -> Iterator[Path]:
    """What a folder holds but for hidden and temporary files; nothing where it is absent."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if not path.name.startswith("."))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
