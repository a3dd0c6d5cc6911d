"""Wildcards and policy variables: which texts a pattern of a policy matches, in bounded time."""

import functools
import re
from collections.abc import Callable

import msgspec

Lookup = Callable[[str], tuple[str, ...] | None]
"""The values of a condition key (in lower case) in this request; None: the key is absent."""

# Inside a prepared pattern these two stand for the wildcards, so that a star that is meant as a
# star needs no escape. They are lone surrogates: no text that came as UTF-8 can hold them.
_MANY = "\udc2a"
_ONE = "\udc3f"

# Policies of nothing but such pieces are the dearest there are, and their tenant's requests share
# a process with those of others.
_SHORT_CHARS_MAX = 16

_SPECIAL = {"*": "*", "?": "?", "$": "$"}


class PatternError(ValueError):
    """A policy variable is not written as one; the text says how."""


class Variable(msgspec.Struct, frozen=True):
    """``${key, 'default'}``: the key is in lower case, None as default means there is none."""

    key: str
    default: str | None = None

    def resolve(self, lookup: Lookup) -> str | None:
        """Return the one value in this request, else the default.

        None when the key has no value or several and there is no default: the pattern then
        matches nothing.
        """
        values = lookup(self.key)
        if values is None or len(values) != 1:
            return self.default
        value = values[0]
        return None if _MANY in value or _ONE in value else value


class Pattern(msgspec.Struct, frozen=True):
    """A text of a policy, prepared for matching.

    ``prefix`` is what every match starts with. ``pieces`` are the texts between the stars when
    the pattern has no variables; ``parts`` are its texts and variables when it has.
    """

    text: str
    prefix: str
    pieces: tuple[str, ...] = ()
    parts: tuple[str | Variable, ...] = ()

    @property
    def is_prefix(self) -> bool:
        """Tell whether the pattern is a text and one star behind it."""
        pieces = self.pieces
        return len(pieces) == 2 and not pieces[1] and _ONE not in pieces[0]

    def matches(self, value: str, lookup: Lookup) -> bool:
        """Tell whether the whole of ``value`` matches."""
        if not value.startswith(self.prefix):
            return False
        pieces = self.pieces
        if not pieces:
            text = resolve(self.parts, lookup)
            if text is None:
                return False
            pieces = tuple(text.split(_MANY))
        elif len(pieces) == 2 and not pieces[1] and len(pieces[0]) == len(self.prefix):
            return True  # the text so far and a star: the commonest of all
        return _matches(pieces, value)


@functools.lru_cache(maxsize=16_384)
def pattern(text: str, *, has_variables: bool, has_wildcards: bool = True) -> Pattern:
    """Prepare a text of a policy; without the two features it is taken literally.

    Raises:
        PatternError: A variable is malformed.
    """
    if has_variables and "${" in text:
        parts = _parts(text, has_wildcards=has_wildcards)
        if all(isinstance(part, str) for part in parts):  # only ${*}, ${?} and ${$}
            joined = "".join(part for part in parts if isinstance(part, str))
            return Pattern(text, _literal_prefix(joined), tuple(joined.split(_MANY)))
        first = parts[0]
        return Pattern(text, _literal_prefix(first) if isinstance(first, str) else "", (), parts)
    if has_wildcards:
        head, star, rest = text.partition("*")
        if "?" not in text:
            return Pattern(text, head, (head, *rest.split("*")) if star else (head,))
        prepared = _prepared(text)
        return Pattern(text, _literal_prefix(prepared), tuple(prepared.split(_MANY)))
    return Pattern(text, text, (text,))


def variables_of(prepared: Pattern) -> tuple[Variable, ...]:
    """Return the variables of a pattern, in order."""
    return tuple(part for part in prepared.parts if isinstance(part, Variable))


def split(prepared: Pattern, separator: str, count: int) -> tuple[Pattern, ...]:
    """Cut a pattern at separators in its own text (not in values) into at most ``count``."""
    parts = prepared.parts or (_MANY.join(prepared.pieces),)
    cut: list[list[str | Variable]] = [[]]
    for part in parts:
        if isinstance(part, Variable):
            cut[-1].append(part)
            continue
        first, *rest = part.split(separator, count - len(cut))
        cut[-1].append(first)
        cut += [[text] for text in rest]
    return tuple(_from_parts(tuple(piece)) for piece in cut)


def resolve(parts: tuple[str | Variable, ...], lookup: Lookup) -> str | None:
    """Join texts and the values of variables; None when a variable has no value."""
    texts: list[str] = []
    for part in parts:
        text = part if isinstance(part, str) else part.resolve(lookup)
        if text is None:
            return None
        texts.append(text)
    return "".join(texts)


def matches_text(wildcard: str, value: str) -> bool:
    """Tell whether a text with ``*`` and ``?`` but without variables matches ``value``."""
    return _matches(tuple(_prepared(wildcard).split(_MANY)), value)


def _prepared(text: str) -> str:
    return text.replace("*", _MANY).replace("?", _ONE)


def _literal_prefix(prepared: str) -> str:
    return prepared.partition(_MANY)[0].partition(_ONE)[0]


def _from_parts(parts: tuple[str | Variable, ...]) -> Pattern:
    if all(isinstance(part, str) for part in parts):
        text = "".join(part for part in parts if isinstance(part, str))
        return Pattern(text, _literal_prefix(text), tuple(text.split(_MANY)))
    first = parts[0]
    return Pattern("", _literal_prefix(first) if isinstance(first, str) else "", (), parts)


def _parts(text: str, *, has_wildcards: bool) -> tuple[str | Variable, ...]:
    parts: list[str | Variable] = []
    plain = ""
    position = 0
    while (start := text.find("${", position)) >= 0:
        literal = text[position:start]
        plain += _prepared(literal) if has_wildcards else literal
        inside, position = _inside(text, start + 2)
        if inside in _SPECIAL:
            plain += inside
        else:
            parts += [plain, _variable(inside)] if plain else [_variable(inside)]
            plain = ""
    rest = text[position:]
    plain += _prepared(rest) if has_wildcards else rest
    return (*parts, plain) if plain else tuple(parts)


def _inside(text: str, start: int) -> tuple[str, int]:
    """Return what stands between the braces, and the position behind them.

    A default is quoted and may hold a closing brace.
    """
    brace, quote = text.find("}", start), text.find("'", start)
    if 0 <= quote < brace:
        closing = text.find("'", quote + 1)
        brace = text.find("}", closing + 1) if closing >= 0 else -1
    if brace < 0:
        raise PatternError(
            f"the variable that starts at {text[start - 2 : start + 30]!r} has no end"
        )
    return text[start:brace], brace + 1


def _variable(inside: str) -> Variable:
    key, comma, rest = inside.partition(",")
    key = key.strip().lower()
    if not key or ":" not in key or any(letter in key for letter in "${*?'\" \t\r\n"):
        raise PatternError(f"${{{inside}}} is not a policy variable")
    if not comma:
        return Variable(key)
    default = rest.strip()
    if len(default) < 2 or default[0] != "'" or default[-1] != "'":
        raise PatternError(f"the default in ${{{inside}}} has to stand in single quotes")
    return Variable(key, default[1:-1])


# --- Matching: leftmost, without going back ------------------------------------------------------


def _matches(pieces: tuple[str, ...], value: str) -> bool:
    """Match texts between stars. Each is taken where it is found first: going back never helps."""
    head, tail = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return len(head) == len(value) and _fits(head, value, 0)
    start, end = len(head), len(value) - len(tail)
    if end < start or not _fits(head, value, 0) or not _fits(tail, value, end):
        return False
    for piece in pieces[1:-1]:
        found = _find(piece, value, start, end)
        if found < 0:
            return False
        start = found + len(piece)
    return True


def _fits(piece: str, value: str, at: int) -> bool:
    if _ONE not in piece:
        return value.startswith(piece, at)
    if len(value) - at < len(piece):
        return False
    return all(wanted in (_ONE, value[position]) for position, wanted in enumerate(piece, start=at))


@functools.lru_cache(maxsize=16_384)
def _short(piece: str) -> re.Pattern[str]:
    """Return a search for a short piece; there is no repetition in it, so none to go back to."""
    return re.compile(
        "".join("." if sign == _ONE else re.escape(sign) for sign in piece), re.DOTALL
    )


def _find(piece: str, value: str, start: int, end: int) -> int:
    """Return the first position of a piece in ``value[start:end]``, or -1.

    With a ``?`` inside, a short piece is tried at each place, and a longer one found by the
    bit-parallel search: one step for each character, whatever the piece is (Baeza-Yates and
    Gonnet, "A new approach to text searching", 1992).
    """
    if _ONE not in piece:
        return value.find(piece, start, end)
    if len(piece) <= _SHORT_CHARS_MAX:
        found = _short(piece).search(value, start, end)
        return -1 if found is None else found.start()
    anything = sum(1 << index for index, wanted in enumerate(piece) if wanted == _ONE)
    masks: dict[str, int] = {}
    for index, wanted in enumerate(piece):
        if wanted != _ONE:
            masks[wanted] = masks.get(wanted, anything) | 1 << index
    last = 1 << (len(piece) - 1)
    state = 0
    for position in range(start, end):
        state = (state << 1 | 1) & masks.get(value[position], anything)
        if state & last:
            return position - len(piece) + 1
    return -1
