"""How PHP reads forms, and how MariaDB compares text: the rules under the recorded answers."""

from __future__ import annotations

import pytest

from sandbox.moodle.collation import equality_key, like
from sandbox.moodle.phpform import PhpArray, parse_body, parse_query

FORM = "application/x-www-form-urlencoded"


def post(body: str, max_input_vars: int = 1000) -> PhpArray:
    return parse_body(body.encode(), FORM, max_input_vars=max_input_vars, post_max_size_bytes=1024 * 1024)


@pytest.mark.parametrize(
    ("body", "variables"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a[0][b]=1&a[0][c]=2&a[1][b]=3", {"a": {"0": {"b": "1", "c": "2"}, "1": {"b": "3"}}}),
        ("a[]=x&a[]=y", {"a": {"0": "x", "1": "y"}}),
        ("a[5]=x&a[]=y", {"a": {"5": "x", "6": "y"}}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("a%5B0%5D%5Bn%5D=%C3%89lodie+B", {"a": {"0": {"n": "Élodie B"}}}),
        ("x.y=1&+z=2", {"x_y": "1", "z": "2"}),
        ("a[b=1", {"a_b": "1"}),
        ("a[b]c=1", {"a": {"b": "1"}}),
        ("novalue&=nokey&&b=1", {"novalue": "", "b": "1"}),
        ("a=x%3Dy=z", {"a": "x=y=z"}),
    ],
)
def test_a_form_becomes_nested_arrays(body: str, variables: PhpArray) -> None:
    assert post(body) == variables


def test_a_form_keeps_one_variable_more_than_the_limit_and_drops_the_rest() -> None:
    body = "&".join(f"v{number}=x" for number in range(10))
    assert list(post(body, max_input_vars=4)) == ["v0", "v1", "v2", "v3", "v4"]


def test_a_query_string_keeps_exactly_the_limit() -> None:
    assert list(parse_query("a=1&b=2&c=3", 2)) == ["a", "b"]


def test_a_body_that_is_too_big_or_no_form_leaves_no_variable() -> None:
    assert parse_body(b"a=1", FORM, max_input_vars=10, post_max_size_bytes=2) == {}
    assert parse_body(b'{"a": 1}', "application/json", max_input_vars=10, post_max_size_bytes=100) == {}


def test_a_multipart_body_keeps_exactly_the_limit() -> None:
    part = '--x\r\nContent-Disposition: form-data; name="a[{}]"\r\n\r\né{}\r\n'
    body = "".join(part.format(number, number) for number in range(3)) + "--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    variables = parse_body(body.encode(), kind, max_input_vars=2, post_max_size_bytes=1000)
    assert variables == {"a": {"0": "é0", "1": "é1"}}


@pytest.mark.parametrize("other", ["c31", "C31 ", "ç31", "C31"])
def test_equality_ignores_case_accents_and_trailing_spaces(other: str) -> None:
    assert equality_key(other) == equality_key("c31")


@pytest.mark.parametrize("other", [" c31", "c31x", "c 31"])
def test_equality_does_not_ignore_anything_else(other: str) -> None:
    assert equality_key(other) != equality_key("c31")


def test_like_knows_its_wildcards_and_minds_trailing_spaces() -> None:
    assert like("él%")("ELODIE")
    assert like("c_1")("C31")
    assert like(r"100\%")("100%")
    assert not like(r"100\%")("1000")
    assert not like("c31")("c31 ")
