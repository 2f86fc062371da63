from __future__ import annotations

import pytest

from densecl.engine.names import accepted_arguments, registered, unknown_name
from densecl.errors import UsageError
from densecl.registry import METHODS


class Base:
    def __init__(self, a, *, b=1):
        pass


class Closed(Base):
    def __init__(self, c):
        super().__init__(c)


class Open(Base):
    def __init__(self, d, **rest):
        super().__init__(**rest)


class Anything:
    def __init__(self, **rest):
        pass


def test_a_closed_constructor_hides_its_bases():
    assert accepted_arguments(Closed) == {"c"}


def test_an_open_constructor_is_read_with_its_bases():
    assert accepted_arguments(Open) == {"d", "a", "b"}


def test_a_class_that_takes_anything_has_no_list():
    assert accepted_arguments(Anything) is None


def test_no_suggestion_where_nothing_is_near():
    assert unknown_name("x.zzz", "zzz", ["alpha", "beta"]).fix == ""


def test_capitals_do_not_hide_the_nearest_name():
    assert "'DummyMethod'" in unknown_name("", "dummymethod", METHODS.module_dict).fix


def test_a_type_that_is_no_string_is_refused():
    with pytest.raises(UsageError, match=r"method.type"):
        registered(METHODS, None, "method.type")
