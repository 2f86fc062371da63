"""What the pages tell a reader to type, import or set exists."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
from typing import Any

import pytest
from docs.pages import ROOT, blocks, command_lines, inline_code, pages, words

import densecl.cli
import pointcl.cli
from densecl.engine.config import find_config, list_configs, load_config, parse_overrides
from densecl.engine.domain import IMAGES, Domain
from densecl.engine.names import accepted_arguments, registered
from densecl.engine.schema import FREE, OPTIM_COMMON, OPTIM_TYPES, SECTIONS, TOP
from densecl.evaluation.suite import read_suite
from densecl.registry import BACKBONES
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import fields_of as fields_of_protocol
from densecl.transfer.protocol_file import read_protocol
from densecl.views.recipe import ViewRecipe
from pointcl.engine.domain import POINTS
from pointcl.transfer.of_scans import SCANS
from pointcl.views.recipe import CloudRecipe

PAGES = pages()
PROGRAMS = {"densecl": densecl.cli, "pointcl": pointcl.cli}
DOMAINS = {"densecl": IMAGES, "pointcl": POINTS}
FOLDERS = {"densecl": "ImageFolder", "pointcl": "ScanFolder"}
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SHELLS = ("sh", "bash", "shell", "text", "")
PLACEHOLDER = re.compile(r"^(\.\.\.|[A-Z_]+|.*[<>*].*|my_.*|.*\.py)$")
every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Subcommands of a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parser_of(program: str, arguments: list[str]) -> argparse.ArgumentParser:
    """The parser that the words after the program's name reach."""
    parser = actions_of(PROGRAMS[program].build_parser(arguments[0]))[arguments[0]]
    inner = actions_of(parser)
    return inner[arguments[1]] if len(arguments) > 1 and arguments[1] in inner else parser


def written_commands(text: str) -> list[tuple[str, list[str]]]:
    """Program and words of the whole commands in the code blocks."""
    lines = [
        line.removeprefix("python -m ")
        for block in blocks(text)
        if block.language in SHELLS
        for line in command_lines(block)
    ]
    called = [words(line) for line in lines if line.split(" ")[0] in PROGRAMS and " " in line]
    return [(line[0], line[1:]) for line in called]


def mentioned_commands(text: str) -> list[tuple[str, list[str]]]:
    """Program and words of the commands between backticks, which may be cut short."""
    spans = [span.removeprefix("python -m ").split() for span in inline_code(text)]
    return [(span[0], span[1:]) for span in spans if len(span) > 1 and span[0] in PROGRAMS]


@every_page
def test_written_commands_parse(page, capsys):
    for program, arguments in written_commands(page.read_text()):
        assert arguments[0] in PROGRAMS[program].COMMANDS, arguments
        if "..." in arguments:
            continue
        try:
            PROGRAMS[program].build_parser(arguments[0]).parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{program} {' '.join(arguments)}\n{capsys.readouterr().err}")


@every_page
def test_commands_between_backticks_exist_with_their_options(page):
    for program, arguments in mentioned_commands(page.read_text()):
        commands = PROGRAMS[program].COMMANDS
        assert arguments[0] in commands or PLACEHOLDER.match(arguments[0]), arguments
        if arguments[0] in commands:
            known = parser_of(program, arguments)._option_string_actions
            unknown = [a for a in arguments if a.startswith("--") and a not in known]
            assert not unknown, arguments


@every_page
def test_options_named_alone_belong_to_some_command(page):
    known = {"--help"}
    for program in PROGRAMS.values():
        for command in program.COMMANDS:
            parser = actions_of(program.build_parser(command))[command]
            for one in (parser, *actions_of(parser).values()):
                known |= set(one._option_string_actions)
    spans = [s for s in inline_code(page.read_text()) if re.match(r"--[a-z]", s)]
    named = [word for span in spans for word in span.split() if word.startswith("--")]
    assert not [word for word in named if word.split("=")[0] not in known]


def accept_evaluation(args: argparse.Namespace, domain: Domain) -> None:
    """Suites and protocols that an evaluation names are there."""
    for name in args.protocols or ():
        if not PLACEHOLDER.match(name) and "/" not in name:
            find_config(name, domain)
    if args.suite and not PLACEHOLDER.match(args.suite):
        read_suite(args.suite, domain)


@every_page
def test_configs_and_overrides_of_written_commands_are_accepted(page):
    for program, arguments in written_commands(page.read_text()):
        known = ("pretrain", "validate", "transfer", "evaluate")
        if arguments[0] not in known or "..." in arguments:
            continue
        args = PROGRAMS[program].build_parser(arguments[0]).parse_args(arguments)
        if arguments[0] == "evaluate":
            accept_evaluation(args, DOMAINS[program])
            continue
        name = args.protocol if arguments[0] == "transfer" else args.config
        if PLACEHOLDER.match(name) or "/" in name:
            continue
        if arguments[0] == "transfer":
            kind = SCANS if program == "pointcl" else PICTURES
            read_protocol(name, args.cfg_options, args.data_root, kind=kind)
        else:
            own = {"_delete_": True, "type": FOLDERS[program], "root": "."}
            data = {} if args.data is None else {"data": own}
            changes = {**data, **parse_overrides(args.cfg_options)}
            load_config(name, changes, domain=DOMAINS[program])


@every_page
def test_names_that_look_like_a_shipped_config_are_one(page):
    shipped = [(name, domain) for domain in DOMAINS.values() for name in list_configs(domain)]
    pattern = r"\b[a-z0-9-]+_[a-z]+\d+[a-z]?(?:w\d+)?_\d+xb\d+-[\w.-]+(?:px|cm)\b"
    named = re.findall(pattern, page.read_text())
    assert not set(named) - {name for name, _ in shipped}
    folders = {find_config(name, domain).parent.name for name, domain in shipped}
    mentioned = re.findall(r"`configs/(?:pointcl/)?([a-z0-9_]+)/`", page.read_text())
    assert not set(mentioned) - folders


def fields_of(section: str) -> set[str]:
    """What a section of the config may hold, over all classes it can name."""
    if section == "optim":
        return set(OPTIM_COMMON) | {key for fields in OPTIM_TYPES.values() for key in fields}
    if section in SECTIONS:
        return set(SECTIONS[section])
    if section == "views":
        from densecl.views import ViewGenerator
        from pointcl.views import CloudViewGenerator

        own = set(ViewRecipe.__dataclass_fields__) | set(CloudRecipe.__dataclass_fields__)
        for generator in (ViewGenerator, CloudViewGenerator):
            own |= set(inspect.signature(generator).parameters) - {"settings", "overrides"}
        return own | {"pictures", "segments"}
    if section == "voxels":
        return set(POINTS.sections[section])
    found = {"type", "_delete_"}
    for domain in DOMAINS.values():
        registry = {"method": domain.methods, "data": domain.datasets}[section]
        registered(registry, next(iter(_names(registry))), section)
        for cls in registry.module_dict.values():
            found |= accepted_arguments(cls) or set()
    return found


def _names(registry: Any) -> list[str]:
    registry.import_from_location()
    return list(registry.module_dict)


@every_page
def test_config_fields_between_backticks_exist(page):
    sections = (*FREE, *SECTIONS, "optim", "voxels")
    own = {"predictor"}  # of the method that docs/add_a_method.md defines
    unknown = []
    for span in inline_code(page.read_text()):
        for word in span.split():
            match = re.fullmatch(r"([a-z]+)\.([a-z_]+)((?:\.[a-z_]+)*)(=.*)?", word)
            if not match or match[1] not in sections or match[2] == "py":
                continue
            if match[2] in fields_of(match[1]) | own:
                continue
            if match[1] == "data" and match[2] in ("train", "val", "test", "unlabelled"):
                continue  # parts of a protocol file
            unknown.append(word)
    assert not unknown


@every_page
def test_python_blocks_import_what_exists(page):
    for block in blocks(page.read_text()):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(tuple(PROGRAMS)):
                module = importlib.import_module(node.module or "")
                assert not [a.name for a in node.names if not hasattr(module, a.name)]


@every_page
def test_files_and_modules_between_backticks_exist(page):
    text = page.read_text()
    missing = []
    for span in inline_code(text):
        if re.fullmatch(r"(?:densecl|pointcl|tests|tools|configs|docs)/[\w/.-]+", span):
            if not (ROOT / span).exists():
                missing.append(span)
        elif re.fullmatch(r"(?:densecl|pointcl)(\.\w+)+", span) and not importable(span):
            missing.append(span)
    assert not missing


def importable(dotted: str) -> bool:
    """Whether a dotted name is a module or an attribute of one."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("name", ["your_own_pictures.md", "your_own_scans.md"])
def test_protocol_fields_of_pages_are_accepted_by_name(name):
    page = (ROOT / "docs" / name).read_text()
    block = next(b for b in blocks(page) if b.file and b.file.endswith("protocol.py"))
    names = [t.id for n in ast.parse(block.text).body if isinstance(n, ast.Assign)
             for t in n.targets if isinstance(t, ast.Name)]  # fmt: skip
    known = fields_of_protocol(PICTURES) | fields_of_protocol(SCANS)
    assert not {n for n in names if not n.startswith("_")} - known


def test_pages_describe_top_level_sections_that_exist():
    known = {*FREE, *SECTIONS, "optim", "voxels", *TOP}
    for page in PAGES:
        for block in blocks(page.read_text()):
            if block.language == "python" and re.search(r"^method = dict\(", block.text, re.M):
                names = re.findall(r"^([a-z]\w*) = ", block.text, re.M)
                assert not set(names) - known, page


def test_the_registry_of_backbones_that_pages_name_is_imported():
    assert "ResNet" in _names(BACKBONES)
