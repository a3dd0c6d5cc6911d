"""Patterns: the same answers as a plain regular expression, in bounded work."""

import random
import re
from typing import Self

import pytest

from storage_server.s3.policy import matching
from storage_server.s3.policy.matching import PatternError


def _nothing(_key: str) -> None:
    return None


def test_patterns_match_what_a_regular_expression_would() -> None:
    """30,000 random patterns and texts over a small alphabet, where near misses are many."""
    rng = random.Random(11)
    matched = 0
    for _ in range(30_000):
        pattern = "".join(rng.choices("ab*?", k=rng.randint(0, 8)))
        text = "".join(rng.choices("ab", k=rng.randint(0, 10)))
        expected = (
            re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text)
            is not None
        )
        prepared = matching.pattern(pattern, has_variables=False)
        assert prepared.matches(text, _nothing) is expected, (pattern, text)
        assert matching.matches_text(pattern, text) is expected
        variable = matching.pattern("${aws:x}" + pattern, has_variables=True)
        assert variable.matches("v" + text, lambda _key: ("v",)) is expected
        matched += expected
    assert matched > 3000


class _Steps(str):
    """A text that counts how often it is looked into."""

    __slots__ = ("looks",)

    looks: int

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.looks = 0
        return made

    def __getitem__(self, index: object) -> str:
        self.looks += 1
        return super().__getitem__(index)  # type: ignore[index]


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 200 + "b", "*?a" * 200 + "b*", "*" + "?" * 400 + "b*", "*" + "a?" * 250 + "b*"],
)
def test_hostile_patterns_look_at_each_character_a_bounded_number_of_times(pattern: str) -> None:
    """A policy must not become a way to occupy the server: no going back over the text."""
    text = _Steps("a" * 1024)
    assert matching.matches_text(pattern, text) is False
    assert text.looks <= 4 * 1024


def test_a_value_is_never_a_pattern() -> None:
    """User names are chosen by users, and the wildcards inside are letters."""
    prepared = matching.pattern("home/${aws:username}/*", has_variables=True)
    for name in ("*", "a*", "?", "${*}", "\udc2a", "\udc3f"):
        assert not prepared.matches("home/ana/x", lambda _key, name=name: (name,))  # type: ignore[misc]
    assert not matching.pattern("${aws:username}", has_variables=True).matches(
        "\udc2a", lambda _key: ("\udc2a",)
    )


def test_variables_are_texts_in_the_old_version() -> None:
    """2008-10-17 has none, and ${…} stands for itself."""
    prepared = matching.pattern("${aws:username}", has_variables=False)
    assert prepared.matches("${aws:username}", lambda _key: ("ana",))
    assert not prepared.matches("ana", lambda _key: ("ana",))


def test_defaults_count_when_there_is_no_single_value() -> None:
    """Absent and ambiguous are the same: there is no one value."""
    prepared = matching.pattern("${aws:x, 'd'}", has_variables=True)
    assert prepared.matches("d", _nothing)
    assert prepared.matches("d", lambda _key: ())
    assert prepared.matches("d", lambda _key: ("a", "b"))
    assert not prepared.matches("d", lambda _key: ("a",))
    (variable,) = matching.variables_of(prepared)
    assert (variable.key, variable.default) == ("aws:x", "d")


@pytest.mark.parametrize(
    "text",
    ["${", "${aws:x", "${}", "${x}", "${aws:x,}", "${aws:x, d}", "${aws:x, 'd}", "${a:${b:c}}"],
)
def test_malformed_variables_are_refused(text: str) -> None:
    """A typing error must not become a text that never matches."""
    with pytest.raises(PatternError):
        matching.pattern(text, has_variables=True)


def test_patterns_know_whether_they_are_a_prefix() -> None:
    """What the quick way relies on."""
    for text, is_prefix in (
        ("abc", False),
        ("abc*", True),
        ("ab?*", False),
        ("a*c", False),
        ("${aws:x}", False),
        ("*", True),
    ):
        assert matching.pattern(text, has_variables=True).is_prefix == is_prefix, text
