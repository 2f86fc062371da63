from __future__ import annotations

import pytest

from densecl.engine.domain import IMAGES
from densecl.errors import UsageError
from densecl.evaluation.suite import read_suite, suite_of
from densecl.transfer.of_images import PICTURES
from densecl.transfer.protocol_file import read_protocol
from pointcl.engine.domain import POINTS
from pointcl.transfer.of_scans import SCANS


@pytest.mark.parametrize("name", ["quick", "streets", "camvid"])
def test_shipped_suites_name_protocols_that_are_there(name):
    for protocol in read_suite(name, IMAGES).protocols:
        assert read_protocol(protocol, kind=PICTURES).name == protocol


@pytest.mark.parametrize("name", ["quick", "streets"])
def test_shipped_suites_of_scans_name_protocols_that_are_there(name):
    for protocol in read_suite(name, POINTS).protocols:
        assert read_protocol(protocol, kind=SCANS).name == protocol


def test_quick_trains_nothing():
    for name, kind in (("quick", PICTURES), ("quick", SCANS)):
        runs = [
            read_protocol(protocol, kind=kind).run
            for protocol in read_suite(name, kind.domain).protocols
        ]
        assert not {"finetune", "detection"} & set(runs)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("version = 1\nprotocol = ['probe_streets']", "protocols"),
        ("version = 7\nprotocols = ['probe_streets']", "version"),
        ("version = 1\nprotocols = []", "no protocol"),
        ("version = 1\nprotocols = 'probe_streets'", "a list of names"),
        ("version = 1\nprotocols = ['probe_street']", "did you mean 'probe_streets'"),
        ("version = 1\nprotocols = ['probe_streets', 'probe_streets']", "twice"),
    ],
)
def test_a_faulty_suite_is_refused(tmp_path, text, named):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=named):
        read_suite(tmp_path / "mine.py", IMAGES)


def test_a_suite_put_together_on_the_command_line():
    assert suite_of("mine", ("probe_streets",), IMAGES).protocols == ("probe_streets",)
