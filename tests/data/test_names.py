import pickle

import pytest

from densecl.data.names import Names

TEXTS = [
    b"",
    b"\n",
    b"a",
    b"a\n",
    b"a\nbb\n\nccc",
    b"  a b \r\n\t\n x\r\n",
    b"\n\n  \n",
    "strasse/größe.jpg\nb.png\n".encode(),
]


@pytest.mark.parametrize("text", TEXTS)
def test_lines_are_those_of_a_plain_loop(text):
    names = Names.lines(text)
    expected = [line.strip(" \t\r") for line in text.decode().split("\n")]
    assert [names[i] for i in range(len(names))] == [line for line in expected if line]


def test_packed_strings_come_back():
    items = ["", "a", "größe", "x" * 1000]
    names = Names.of(items)
    assert [names[i] for i in range(4)] == items
    assert [names.raw(i) for i in range(4)] == [item.encode() for item in items]
    assert len(Names.of([])) == 0


def test_names_that_are_no_text_survive():
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    assert Names.of([name])[0] == name
    assert Names.of([name]).raw(0) == b"caf\xe9.jpg"


def test_digest_tells_apart_order_and_borders():
    digests = {Names.of(items).digest() for items in (["ab", "c"], ["a", "bc"], ["c", "ab"], [])}
    assert len(digests) == 4
    assert Names.of(["ab", "c"]).digest() == Names.of(["ab", "c"]).digest()


def test_a_million_names_fit_in_their_text_and_two_offsets():
    text = b"".join(b"train/n%08d/image_%07d.jpg\n" % (i // 1000, i) for i in range(1_000_000))
    names = Names.lines(text)
    assert len(names) == 1_000_000
    assert names[999_999] == "train/n00000999/image_0999999.jpg"
    assert names.nbytes == len(text) + 16 * 1_000_000
    assert len(pickle.dumps(names)) < names.nbytes + 1000
