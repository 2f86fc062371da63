"""Suites: the protocols that are run together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from densecl.engine.config import find_config
from densecl.engine.domain import Domain
from densecl.engine.names import unknown_name
from densecl.errors import UsageError

VERSION = 1
FIELDS = ("version", "protocols")


@dataclass(frozen=True)
class Suite:
    """What is run.

    Attributes:
        name: of the file, or of what was put together on the command line.
        protocols: names or paths, in the order they are run.
    """

    name: str
    protocols: tuple[str, ...]


def read_suite(source: str | Path, domain: Domain) -> Suite:
    """Read a suite file, or a shipped one by name.

    Args:
        source: path or name.
        domain: says which suites are shipped.

    Raises:
        UsageError: no such file, an unknown field or version, a protocol twice, or one that is
            not there.
    """
    path = find_config(source, domain)
    given = {k: v for k, v in Config.fromfile(str(path)).items() if not k.startswith("_")}
    for key in given:
        if key not in FIELDS:
            raise unknown_name(f"{path.stem}: {key}", key, FIELDS)
    if given.get("version") != VERSION:
        raise UsageError(f"{path.stem}: version = {given.get('version')}", needed=str(VERSION))
    protocols = given.get("protocols") or ()
    if isinstance(protocols, str) or not all(isinstance(name, str) for name in protocols):
        raise UsageError(f"{path.stem}: protocols = {protocols!r}", needed="a list of names")
    return suite_of(path.stem, tuple(protocols), domain)


def suite_of(name: str, protocols: tuple[str, ...], domain: Domain) -> Suite:
    """A suite of these protocols.

    Raises:
        UsageError: none, one that is not there, or two files of one name, whose results would
            share a folder.
    """
    if not protocols:
        raise UsageError(f"{name}: no protocol", needed="at least one")
    stems = [find_config(protocol, domain).stem for protocol in protocols]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UsageError(f"{name}: protocol {stem!r} twice", needed="each once")
    return Suite(name, protocols)
