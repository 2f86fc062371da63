from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _load():
    spec = importlib.util.spec_from_file_location("mutations", ROOT / "tools" / "mutations.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["mutations"] = module
    spec.loader.exec_module(module)
    return module


mutations = _load()


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda m: m.name)
def test_the_mutated_text_stands_exactly_once_and_the_test_exists(mutation):
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    file, _, name = mutation.test.partition("::")
    text = (ROOT / file).read_text()
    assert f"def {name.partition('[')[0]}(" in text if name else text


@pytest.mark.slow
@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda m: m.name)
def test_every_mutation_turns_its_test_red(mutation):
    assert mutations.noticed(mutation)
