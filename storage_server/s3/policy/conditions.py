"""Conditions: when a statement counts, by AWS's operators and its rules for absent keys.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators", "Set operators for
multivalued context keys".
"""

import base64
import binascii
import datetime as dt
import enum
import functools
import ipaddress
import re
from collections.abc import Callable
from typing import Final

import msgspec

from storage_server.s3.policy import matching
from storage_server.s3.policy.matching import Lookup, Pattern


class ConditionError(ValueError):
    """An operator does not exist or a value does not fit it; the text says what is wrong."""


class Quantifier(enum.Enum):
    """How several values of one request are taken together."""

    NONE = ""
    ALL = "ForAllValues"
    ANY = "ForAnyValue"


Test = Callable[[str, Lookup], bool]
"""Does one value of the request match one value of the policy?"""


class Written(msgspec.Struct, frozen=True):
    """One value as the policy has it; variables count from the version 2012-10-17 on."""

    text: str
    has_variables: bool

    def pattern(self, *, has_wildcards: bool) -> Pattern:
        """Prepare the value for matching.

        Raises:
            PatternError: A variable is malformed.
        """
        return matching.pattern(
            self.text, has_variables=self.has_variables, has_wildcards=has_wildcards
        )


Make = Callable[[Written], Test]
"""Prepares one value of a policy, or raises ConditionError when it does not fit the operator."""


class Condition(msgspec.Struct, frozen=True):
    """One operator on one key. ``tests`` are one for each value of the policy; any may match.

    ``wanted_absence`` (operator Null): whether the key is to be absent, both wanted is always true;
    None: another operator. ``exact`` is the values in one set where they are compared as they
    are written, which saves the tests. ``is_plain``: there is neither a quantifier nor Null.
    ``has_variables``: what looks like one in the values is one.
    """

    operator: str
    key: str
    values: tuple[str, ...]
    tests: tuple[Test, ...]
    is_negated: bool
    if_exists: bool
    quantifier: Quantifier
    wanted_absence: frozenset[bool] | None = None
    exact: frozenset[str] | None = None
    is_plain: bool = False
    has_variables: bool = False

    def holds(self, lookup: Lookup) -> bool:
        """Tell whether the request fulfils the condition."""
        values = lookup(self.key)
        if values and self.is_plain:
            if self.exact is not None and len(values) == 1:
                return (values[0] in self.exact) is not self.is_negated
            for value in values:
                for test in self.tests:
                    if test(value, lookup):
                        return not self.is_negated
            return self.is_negated
        if self.wanted_absence is not None:
            return (not values) in self.wanted_absence
        if not values:
            return self._holds_when_absent()
        negated = self.is_negated
        if self.quantifier is Quantifier.ALL:
            # A value without content is no value: AWS lets such a set pass like an absent one.
            return all(self._matches(value, lookup) != negated for value in values if value != "")
        return any(self._matches(value, lookup) != negated for value in values)

    def _holds_when_absent(self) -> bool:
        if self.if_exists or self.quantifier is Quantifier.ALL:
            return True
        return self.is_negated and self.quantifier is Quantifier.NONE

    def _matches(self, value: str, lookup: Lookup) -> bool:
        return any(test(value, lookup) for test in self.tests)


@functools.lru_cache(maxsize=16_384)
def compile_condition(
    operator: str, key: str, values: tuple[str, ...], *, has_variables: bool
) -> Condition:
    """Prepare one operator on one key.

    Raises:
        ConditionError: The operator does not exist, or a value does not fit it.
    """
    name, quantifier, if_exists = _parse_operator(operator)
    if name == "null":
        wanted = frozenset(_bool(value) for value in values)
        return Condition(operator, key, values, (), False, False, Quantifier.NONE, wanted)
    make, is_negated = _OPERATORS[name]
    try:
        tests = tuple(make(Written(value, has_variables)) for value in values)
    except matching.PatternError as error:
        raise ConditionError(str(error)) from None
    is_exact = make is _equals and not (has_variables and any("${" in value for value in values))
    return Condition(
        operator,
        key,
        values,
        tests,
        is_negated,
        if_exists,
        quantifier,
        exact=frozenset(values) if is_exact else None,
        is_plain=quantifier is Quantifier.NONE,
        has_variables=has_variables,
    )


def _parse_operator(operator: str) -> tuple[str, Quantifier, bool]:
    prefix, colon, name = operator.rpartition(":")
    quantifier = _QUANTIFIERS.get(prefix.lower()) if colon else Quantifier.NONE
    name = name.lower()
    if_exists = name.endswith("ifexists")
    name = name.removesuffix("ifexists")
    if quantifier is None or (name not in _OPERATORS and name != "null"):
        raise ConditionError(f"{operator[:64]} is not a condition operator")
    if name == "null" and (if_exists or quantifier is not Quantifier.NONE):
        raise ConditionError(f"{operator[:64]} is not a condition operator: Null stands alone")
    return name, quantifier, if_exists


_QUANTIFIERS: Final = {"forallvalues": Quantifier.ALL, "foranyvalue": Quantifier.ANY}


# --- Strings -------------------------------------------------------------------------------------


def _equals(value: Written) -> Test:
    prepared = value.pattern(has_wildcards=False)
    if prepared.parts:
        return prepared.matches
    fixed = prepared.pieces[0]
    return lambda given, _lookup: given == fixed


def _equals_ignoring_case(value: Written) -> Test:
    prepared = value.pattern(has_wildcards=False)
    if not prepared.parts:
        fixed = prepared.pieces[0].lower()
        return lambda given, _lookup: given.lower() == fixed

    def test(given: str, lookup: Lookup) -> bool:
        text = matching.resolve(prepared.parts, lookup)
        return text is not None and given.lower() == text.lower()

    return test


def _like(value: Written) -> Test:
    return value.pattern(has_wildcards=True).matches


# --- Numbers, dates, booleans, bytes -------------------------------------------------------------

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_DATE: Final = re.compile(
    r"(?P<year>[0-9]{4})(-(?P<month>[0-9]{2})(-(?P<day>[0-9]{2})"
    r"(T(?P<clock>[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?)"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?)?)?)?",
    re.ASCII,
)


def parse_number(text: str) -> float | None:
    """Read a number as a policy or a request writes it; None: it is none."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    return float(text) if "." in text else int(text)


@functools.lru_cache(maxsize=1024)  # many conditions ask about the same moment
def parse_date(text: str) -> float | None:
    """Read a date in one of the W3C's forms, or seconds since 1970; None: it is neither.

    Source: IAM User Guide, "Date condition operators"; W3C, "Date and Time Formats".
    """
    found = _DATE.fullmatch(text)
    if found is None or found["month"] is None:
        seconds = parse_number(text)
        if seconds is not None and (found is None or len(text) != 4):
            return seconds
    if found is None:
        return None
    clock = found["clock"] or "00:00"
    zone = found["zone"] or "Z"
    iso = f"{found['year']}-{found['month'] or '01'}-{found['day'] or '01'}T{clock}"
    try:
        return dt.datetime.fromisoformat(iso + zone).timestamp()
    except ValueError:
        return None


def _compared(
    parse: Callable[[str], float | None], what: str, compare: Callable[[float, float], bool]
) -> Make:
    def make(value: Written) -> Test:
        bound = parse(value.text)
        if bound is None:
            raise ConditionError(f"{value.text!r} is not {what}")

        def test(given: str, _lookup: Lookup) -> bool:
            number = parse(given)
            return number is not None and compare(number, bound)

        return test

    return make


def _bool(value: str) -> bool:
    lowered = value.lower()
    if lowered not in ("true", "false"):
        raise ConditionError(f"{value!r} is neither true nor false")
    return lowered == "true"


def _is_bool(value: Written) -> Test:
    wanted = "true" if _bool(value.text) else "false"
    return lambda given, _lookup: given.lower() == wanted


def _binary_equals(value: Written) -> Test:
    wanted = _unbase64(value.text)
    if wanted is None:
        raise ConditionError(f"{value.text!r} is not base64")
    return lambda given, _lookup: _unbase64(given) == wanted


def _unbase64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


# --- Addresses -----------------------------------------------------------------------------------

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read an address or CIDR range; an IPv4 range written as IPv6 is the IPv4 one. None: neither.

    Bits behind the prefix are ignored, as AWS does.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((low, network.prefixlen - 96))
    return network


def _in_network(value: Written) -> Test:
    network = parse_network(value.text)
    if network is None:
        raise ConditionError(f"{value.text!r} is neither an IP address nor a CIDR range")
    version, mask, base = network.version, int(network.netmask), int(network.network_address)

    def test(given: str, _lookup: Lookup) -> bool:
        given_version, address = _address(given)
        return given_version == version and address & mask == base

    return test


@functools.lru_cache(maxsize=1024)  # many conditions ask about the same address
def _address(text: str) -> tuple[int, int]:
    """Return the version of an address and its number; version 0: it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address)


# --- ARNs ----------------------------------------------------------------------------------------


def _arn_like(value: Written) -> Test:
    prepared = value.pattern(has_wildcards=True)
    if value.text == "*":
        return lambda _given, _lookup: True
    fields = matching.split(prepared, ":", 6)
    if len(fields) != 6:
        raise ConditionError(
            f"{value.text!r} is not an ARN: arn:partition:service:region:account:resource"
        )

    def test(given: str, lookup: Lookup) -> bool:
        parts = given.split(":", 5)
        return len(parts) == 6 and _all_match(fields, parts, lookup)

    return test


def _all_match(fields: tuple[Pattern, ...], parts: list[str], lookup: Lookup) -> bool:
    return all(field.matches(part, lookup) for field, part in zip(fields, parts, strict=True))


# --- The table -----------------------------------------------------------------------------------


def _equal(one: float, other: float) -> bool:
    return one == other


def _less(one: float, other: float) -> bool:
    return one < other


def _at_most(one: float, other: float) -> bool:
    return one <= other


def _greater(one: float, other: float) -> bool:
    return one > other


def _at_least(one: float, other: float) -> bool:
    return one >= other


def _numeric(compare: Callable[[float, float], bool]) -> Make:
    return _compared(parse_number, "a number", compare)


def _date(compare: Callable[[float, float], bool]) -> Make:
    return _compared(parse_date, "a date", compare)


# Name in lower case: how a value of the policy becomes a test, and whether the result is negated.
_OPERATORS: Final[dict[str, tuple[Make, bool]]] = {
    "stringequals": (_equals, False),
    "stringnotequals": (_equals, True),
    "stringequalsignorecase": (_equals_ignoring_case, False),
    "stringnotequalsignorecase": (_equals_ignoring_case, True),
    "stringlike": (_like, False),
    "stringnotlike": (_like, True),
    "numericequals": (_numeric(_equal), False),
    "numericnotequals": (_numeric(_equal), True),
    "numericlessthan": (_numeric(_less), False),
    "numericlessthanequals": (_numeric(_at_most), False),
    "numericgreaterthan": (_numeric(_greater), False),
    "numericgreaterthanequals": (_numeric(_at_least), False),
    "dateequals": (_date(_equal), False),
    "datenotequals": (_date(_equal), True),
    "datelessthan": (_date(_less), False),
    "datelessthanequals": (_date(_at_most), False),
    "dategreaterthan": (_date(_greater), False),
    "dategreaterthanequals": (_date(_at_least), False),
    "bool": (_is_bool, False),
    "binaryequals": (_binary_equals, False),
    "ipaddress": (_in_network, False),
    "notipaddress": (_in_network, True),
    "arnequals": (_arn_like, False),
    "arnlike": (_arn_like, False),
    "arnnotequals": (_arn_like, True),
    "arnnotlike": (_arn_like, True),
}
