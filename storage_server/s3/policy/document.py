"""Policy documents: bounded JSON in, statements out; what is not understood is refused.

``parse`` is for what a client sends: it checks everything and says what is wrong and where.
``load`` is for what was parsed before it was stored: it only builds the statements.
"""

import enum
import json
import re
from collections.abc import Callable
from typing import Any, Final, Literal, NoReturn

import msgspec

from storage_server.core import limits
from storage_server.s3.errors import MalformedPolicy
from storage_server.s3.policy import actions, keys, matching
from storage_server.s3.policy.conditions import Condition, ConditionError, compile_condition
from storage_server.s3.policy.matching import Lookup, Pattern, PatternError


class PolicyKind(enum.Enum):
    """What a document is for; it decides which elements it must and must not have."""

    IDENTITY = "identity"
    BUCKET = "bucket"
    SESSION = "session"
    BOUNDARY = "boundary"
    TENANT = "tenant"
    TRUST = "trust"


class Principals(msgspec.Struct, frozen=True):
    """Whom a statement names.

    ``ids`` are account ids, principal ids, sessions, canonical ids and whatever could not be
    resolved, which never matches. ``everyone`` is ``*``; ``authenticated`` everyone who signed.
    """

    everyone: bool = False
    authenticated: bool = False
    ids: frozenset[str] = frozenset()
    federated: frozenset[str] = frozenset()


class Statement(msgspec.Struct, frozen=True):
    """One statement, ready to be asked.

    ``actions`` are in lower case. ``prefixes`` are what a resource must start with before a
    closer look is worth it, and ``is_prefix_enough`` when there is no need for one.
    ``principals`` is None where the kind of policy has none.
    """

    is_allow: bool
    sid: str = ""
    index: int = 0
    principals: Principals | None = None
    is_not_principal: bool = False
    actions: tuple[Pattern, ...] = ()
    is_not_action: bool = False
    resources: tuple[Pattern, ...] = ()
    is_not_resource: bool = False
    prefixes: tuple[str, ...] = ("",)
    is_prefix_enough: bool = False
    conditions: tuple[Condition, ...] = ()

    def covers_action(self, action: str) -> bool:
        """Tell whether the statement is about the action (in lower case)."""
        for candidate in self.actions:
            if candidate.matches(action, _nothing):
                return not self.is_not_action
        return self.is_not_action

    def covers_resource(self, resource: str, lookup: Lookup) -> bool:
        """Tell whether the statement is about the resource; without Resource it is about all."""
        if self.is_prefix_enough:
            return resource.startswith(self.prefixes)
        for candidate in self.resources:
            if candidate.matches(resource, lookup):
                return not self.is_not_resource
        return self.is_not_resource or not self.resources


class Policy(msgspec.Struct, frozen=True):
    """A document that was understood."""

    kind: PolicyKind
    statements: tuple[Statement, ...]
    version: str = "2008-10-17"
    policy_id: str = ""


def parse(document: bytes | str, kind: PolicyKind, *, bucket: str = "") -> Policy:
    """Read a policy; ``bucket`` is the name of the bucket that a bucket policy is for.

    Raises:
        MalformedPolicy: It is too large, not JSON, or says something that is not understood; the
            sentence says what and where.
    """
    text = _text(document)
    _check_size(text, kind)
    if not text.startswith("{"):
        raise MalformedPolicy
    _Checker(kind, bucket).check(_json(text))
    return load(text, kind)


def load(document: bytes | str, kind: PolicyKind) -> Policy:
    """Read a policy that ``parse`` accepted when it was written: fast, and without its checks.

    Raises:
        MalformedPolicy: It is no such policy, and what it meant must not be guessed.
    """
    try:
        top = _DECODER.decode(document)
        stated = top.Statement if isinstance(top.Statement, list) else [top.Statement]
        has_variables = top.Version == "2012-10-17"
        statements = tuple(
            [_built(index, each, has_variables=has_variables) for index, each in enumerate(stated)]
        )
    except (msgspec.MsgspecError, PatternError, ConditionError, UnicodeError) as error:
        raise MalformedPolicy(f"The policy cannot be read: {error}.") from error
    return Policy(kind, statements, top.Version, top.Id)


def with_principals(document: bytes, rename: Callable[[str, str], str]) -> bytes:
    """Return a document that ``parse`` accepted with its principals renamed.

    ``rename(type, value)`` gets each value but ``*`` with its type (``AWS``, ``CanonicalUser``,
    ``Federated``, ``Service``). Everything else stays as it was written, order included.
    """
    top = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
    raw = bytes(top["Statement"])
    statements: list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw]
    if raw.lstrip().startswith(b"["):
        statements = msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]])
        for statement in statements:
            _rename_in(statement, rename)
    else:
        statements = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        _rename_in(statements, rename)
    top["Statement"] = msgspec.Raw(msgspec.json.encode(statements))
    return msgspec.json.encode(top)


def size_of(document: bytes | str) -> int:
    """Return the characters that IAM counts against a quota: all that are not white space."""
    return len("".join(_text(document).split()))


def _rename_in(statement: dict[str, msgspec.Raw], rename: Callable[[str, str], str]) -> None:
    for element in ("Principal", "NotPrincipal"):
        raw = statement.get(element)
        if raw is None:
            continue
        principal = msgspec.json.decode(raw, type=str | dict[str, str | list[str]])
        if isinstance(principal, str):
            continue
        renamed: dict[str, str | list[str]] = {}
        for kind, values in principal.items():
            if isinstance(values, str):
                renamed[kind] = values if values == "*" else rename(kind, values)
            else:
                renamed[kind] = [value if value == "*" else rename(kind, value) for value in values]
        statement[element] = msgspec.Raw(msgspec.json.encode(renamed))


def _nothing(_key: str) -> None:
    return None


# --- JSON ----------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)

_CHARS_MAX: Final = {
    PolicyKind.IDENTITY: limits.INLINE_CHARS_MAX["role"],
    PolicyKind.SESSION: limits.SESSION_POLICY_CHARS_MAX,
    PolicyKind.BOUNDARY: limits.MANAGED_POLICY_CHARS_MAX,
    PolicyKind.TENANT: limits.TENANT_POLICY_CHARS_MAX,
    PolicyKind.TRUST: limits.TRUST_POLICY_CHARS_MAX,
}


class _Number(str):
    """A number as it was written, so that no digit of it is lost before it is judged."""

    __slots__ = ()


def _text(document: bytes | str) -> str:
    if isinstance(document, str):
        return document
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedPolicy("The policy is not encoded as UTF-8.") from None


def _check_size(text: str, kind: PolicyKind) -> None:
    if kind is PolicyKind.BUCKET:
        if len(text) > limits.BUCKET_POLICY_BYTES_MAX or (
            len(text.encode("utf-8", "surrogatepass")) > limits.BUCKET_POLICY_BYTES_MAX
        ):
            raise MalformedPolicy(
                f"The policy is longer than {limits.BUCKET_POLICY_BYTES_MAX} bytes."
            )
        return
    if len(text) > limits.POLICY_BYTES_MAX or size_of(text) > _CHARS_MAX[kind]:
        raise MalformedPolicy(
            f"The {kind.value} policy has more than {_CHARS_MAX[kind]} characters that are not"
            " white space."
        )


def _json(text: str) -> dict[str, Any]:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first in "[{":
            depth += 1
            if depth > limits.POLICY_DEPTH_MAX:
                raise MalformedPolicy("The policy is nested too deeply.")
        elif first != '"':
            depth -= 1
    try:
        top: dict[str, Any] = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise MalformedPolicy(
            f"The policy is not valid JSON: {error.msg} (line {error.lineno}, column"
            f" {error.colno})."
        ) from None
    try:  # \u escapes can spell half a character, which no text that is compared ever has
        json.dumps(top, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedPolicy("The policy holds half a character (a lone surrogate).") from None
    return top


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedPolicy(f"The element {name[:64]!r} occurs twice in one object.")
            seen.add(name)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedPolicy(f"The policy is not valid JSON: {name} is not a value.")


# --- Principals ----------------------------------------------------------------------------------

_ACCOUNT: Final = re.compile(r"[0-9]{12}", re.ASCII)
_ACCOUNT_ARN: Final = re.compile(r"arn:aws:iam::([0-9]{12}):root", re.ASCII)
_PRINCIPAL_ARN: Final = re.compile(
    r"arn:aws:iam::[0-9]{12}:(?:user|role)/[!-~]{1,576}"
    r"|arn:aws:sts::[0-9]{12}:(?:assumed-role/[!-~]{1,64}/[!-~]{1,64}"
    r"|federated-user/[!-~]{1,64})",
    re.ASCII,
)
_PRINCIPAL_ID: Final = re.compile(r"(?:AIDA|AROA)[A-Z0-9]{12,28}(?::[!-~]{1,64})?", re.ASCII)
_CANONICAL_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SERVICE: Final = re.compile(r"[a-z0-9.-]{1,100}\.(?:amazonaws\.com|amazon\.com)", re.ASCII)
_FEDERATED: Final = re.compile(
    r"arn:aws:iam::[0-9]{12}:(?:oidc|saml)-provider/[!-)+->@-~]{1,255}"
    r"|[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[!-)+->@-~]{0,255})?",
    re.ASCII,
)
_AWS_FORMS: Final = (_ACCOUNT, _ACCOUNT_ARN, _PRINCIPAL_ARN, _PRINCIPAL_ID, _CANONICAL_ID)
_PRINCIPAL_TYPES: Final = ("AWS", "CanonicalUser", "Federated", "Service")


def _principals(principal: "str | dict[str, _Strings]") -> Principals:
    if isinstance(principal, str):
        return Principals(everyone=True)
    everyone = False
    ids: set[str] = set()
    for kind in ("AWS", "CanonicalUser"):
        for name in _listed(principal.get(kind)):
            if name == "*":
                everyone = True
            else:
                account = _ACCOUNT_ARN.fullmatch(name)
                ids.add(name if account is None else account[1])
    federated = frozenset(_listed(principal.get("Federated")))
    return Principals(everyone, False, frozenset(ids), federated)


# --- From a document that is right to its statements ---------------------------------------------

_Strings = str | list[str]
_Value = str | bool | int


class _Stated(msgspec.Struct, forbid_unknown_fields=True):
    """A statement as it is written."""

    Effect: Literal["Allow", "Deny"]
    Sid: str = ""
    Principal: str | dict[str, _Strings] | None = None
    NotPrincipal: str | dict[str, _Strings] | None = None
    Action: _Strings | None = None
    NotAction: _Strings | None = None
    Resource: _Strings | None = None
    NotResource: _Strings | None = None
    Condition: dict[str, dict[str, _Value | list[_Value]]] = msgspec.field(default_factory=dict)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """A document as it is written."""

    Statement: _Stated | list[_Stated]
    Version: Literal["2012-10-17", "2008-10-17"] = "2008-10-17"
    Id: str = ""


_DECODER: Final = msgspec.json.Decoder(_Document)


def _built(index: int, stated: _Stated, *, has_variables: bool) -> Statement:
    is_not_action = stated.Action is None
    is_not_resource = stated.Resource is None and stated.NotResource is not None
    is_not_principal = stated.NotPrincipal is not None
    names = _listed(stated.NotAction if is_not_action else stated.Action)
    about = _listed(stated.NotResource if is_not_resource else stated.Resource)
    principal = stated.NotPrincipal if is_not_principal else stated.Principal
    resources = tuple([matching.pattern(name, has_variables=has_variables) for name in about])
    has_prefixes = bool(resources) and not is_not_resource
    return Statement(
        is_allow=stated.Effect == "Allow",
        sid=stated.Sid,
        index=index,
        principals=None if principal is None else _principals(principal),
        is_not_principal=is_not_principal,
        actions=tuple([matching.pattern(name.lower(), has_variables=False) for name in names]),
        is_not_action=is_not_action,
        resources=resources,
        is_not_resource=is_not_resource,
        prefixes=tuple([each.prefix for each in resources]) if has_prefixes else ("",),
        is_prefix_enough=has_prefixes and all(each.is_prefix for each in resources),
        conditions=_conditions(stated.Condition, has_variables=has_variables),
    )


def _conditions(
    stated: dict[str, dict[str, _Value | list[_Value]]], *, has_variables: bool
) -> tuple[Condition, ...]:
    return tuple(
        [
            compile_condition(operator, key.lower(), _texts(value), has_variables=has_variables)
            for operator, tests in stated.items()
            for key, value in tests.items()
        ]
    )


def _listed(value: _Strings | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _texts(value: _Value | list[_Value]) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(
        [each if isinstance(each, str) else str(each).lower() for each in values],
    )


# --- The grammar ---------------------------------------------------------------------------------

_TOP_ELEMENTS: Final = frozenset({"Version", "Id", "Statement"})
_ELEMENTS: Final = frozenset(
    {
        *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
        *("Resource", "NotResource", "Condition"),
    }
)
_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_ACTION: Final = re.compile(r"[A-Za-z0-9-]{1,64}:[A-Za-z0-9*?]{1,128}|\*", re.ASCII)
_WITH_PRINCIPAL: Final = (PolicyKind.BUCKET, PolicyKind.TRUST)
_OWN_ARN: Final = "${aws:PrincipalArn}"


class _Checker:
    """Goes through one document; knows where it is, for the sentence when something is wrong."""

    def __init__(self, kind: PolicyKind, bucket: str) -> None:
        self._kind = kind
        self._bucket = bucket
        self._where = ""
        self._has_variables = False

    def check(self, top: dict[str, Any]) -> None:
        for name in top:
            if name not in _TOP_ELEMENTS:
                raise MalformedPolicy(f"The policy has an unknown element {name[:64]!r}.")
        version = top.get("Version", "2008-10-17")
        if type(version) is not str or version not in _VERSIONS:
            raise MalformedPolicy(
                'Version has to be "2012-10-17" or "2008-10-17"; there are no others.'
            )
        if type(top.get("Id", "")) is not str:
            raise MalformedPolicy("Id has to be a string.")
        self._has_variables = version == "2012-10-17"
        raw = top.get("Statement")
        statements = [raw] if isinstance(raw, dict) else raw
        if not isinstance(statements, list) or not statements:
            raise MalformedPolicy("Statement has to be a statement or a list of them, not empty.")
        if len(statements) > limits.POLICY_STATEMENTS_MAX:
            raise MalformedPolicy(
                f"The policy has more than {limits.POLICY_STATEMENTS_MAX} statements."
            )
        sids: set[str] = set()
        for index, each in enumerate(statements):
            sid = self._statement(index, each)
            if sid and sid in sids:
                raise MalformedPolicy(f"The Sid {sid[:64]!r} is used twice.")
            sids.add(sid)

    def _statement(self, index: int, raw: object) -> str:
        """Check one statement and return its Sid."""
        self._where = f"Statement {index + 1}"
        if not isinstance(raw, dict):
            self._fail("is not an object")
        sid = raw.get("Sid", "")
        if type(sid) is not str:
            self._fail("has a Sid that is not a string")
        if sid:
            self._where += f" ({sid[:64]!r})"
        for name in raw:
            if name not in _ELEMENTS:
                self._fail(f"has an unknown element {name[:64]!r}")
        effect = raw.get("Effect")
        if effect not in ("Allow", "Deny"):
            self._fail('needs an Effect, "Allow" or "Deny"')
        self._check_principals(raw, is_allow=effect == "Allow")
        wanted = self._actions(raw)
        resources = self._resources(raw)
        if self._kind is PolicyKind.BUCKET and "Action" in raw and "Resource" in raw:
            self._check_applicable(wanted, resources)
        self._check_conditions(raw.get("Condition", {}))
        return sid

    def _fail(self, sentence: str) -> NoReturn:
        raise MalformedPolicy(f"{self._where} {sentence}.")

    def _one_of(self, raw: dict[str, Any], element: str) -> tuple[Any, bool]:
        """Return the value of an element or of its ``Not`` form, and whether it was that."""
        negated = f"Not{element}"
        if element in raw and negated in raw:
            self._fail(f"has both {element} and {negated}")
        return raw.get(element, raw.get(negated)), negated in raw

    def _strings(self, value: object, element: str) -> list[str]:
        values: list[Any] = value if isinstance(value, list) else [value]
        if not values:
            self._fail(f"has an empty {element}")
        for each in values:
            if type(each) is not str or not each:
                self._fail(f"has a {element} that is not a string or a list of strings")
        return values

    # --- Who

    def _check_principals(self, raw: dict[str, Any], *, is_allow: bool) -> None:
        value, is_not = self._one_of(raw, "Principal")
        if self._kind not in _WITH_PRINCIPAL:
            if value is not None or is_not or "Principal" in raw:
                kind = self._kind.value
                self._fail(f"has a Principal, which has no place in a policy of this kind ({kind})")
            return
        if value is None:
            self._fail("needs a Principal")
        if is_not and self._kind is PolicyKind.TRUST:
            self._fail("has a NotPrincipal, which has no place in a trust policy")
        if is_not and is_allow:
            self._fail("allows with NotPrincipal, which would allow everyone else")
        names_everyone = self._check_named(value)
        if is_not and names_everyone:
            self._fail("has a NotPrincipal that names everyone, so it would never count")

    def _check_named(self, value: object) -> bool:
        """Check whom a principal names and tell whether that is everyone."""
        if value == "*":
            return True
        if not isinstance(value, dict) or not value:
            self._fail('needs a Principal that is "*" or an object such as {"AWS": …}')
        names_everyone = False
        for kind, named in value.items():
            if kind not in _PRINCIPAL_TYPES:
                self._fail(f"has a Principal of the unknown type {kind[:64]!r}")
            for name in self._strings(named, "Principal"):
                if kind == "AWS" and name == "*":
                    names_everyone = True
                elif kind == "AWS":
                    self._check_aws_principal(name)
                elif kind == "CanonicalUser":
                    self._check_form(_CANONICAL_ID, name, "a canonical id of 64 hex digits")
                elif kind == "Federated":
                    self._check_form(_FEDERATED, name, "the ARN or host of an identity provider")
                else:  # services of AWS never call here: the form is right, and nobody matches
                    self._check_form(_SERVICE, name, "the name of a service")
        return names_everyone

    def _check_aws_principal(self, name: str) -> None:
        if "*" in name or "?" in name:
            self._fail(f"has the Principal {name[:200]!r}: only a whole * is a wildcard here")
        if not any(form.fullmatch(name) for form in _AWS_FORMS):
            self._fail(
                f"has the Principal {name[:200]!r}, which is not an account id, or the ARN of an"
                " account, user, role or session"
            )

    def _check_form(self, form: re.Pattern[str], name: str, what: str) -> None:
        if form.fullmatch(name) is None:
            self._fail(f"has the Principal {name[:200]!r}, which is not {what}")

    # --- What

    def _actions(self, raw: dict[str, Any]) -> list[str]:
        value, _ = self._one_of(raw, "Action")
        if value is None:
            self._fail("needs an Action or a NotAction")
        names = self._strings(value, "Action")
        for name in names:
            if _ACTION.fullmatch(name) is None:
                self._fail(f"has the Action {name[:200]!r}, which is not written service:Name")
            if self._kind is PolicyKind.BUCKET:
                if name != "*" and not actions.matching_actions(name):
                    self._fail(f"has the Action {name[:200]!r}, which S3 does not have")
            elif self._kind is PolicyKind.TRUST and not name.lower().startswith("sts:"):
                self._fail(f"has the Action {name[:200]!r}; a trust policy is about sts: only")
        return names

    def _check_applicable(self, wanted: list[str], resources: list[str]) -> None:
        """Refuse an action that none of the statement's resources can be the object of."""
        has_bucket = any("/" not in each for each in resources)
        has_object = any("/" in each or each.endswith("*") for each in resources)
        for name in wanted:
            scopes = {actions.SCOPES[each] for each in actions.matching_actions(name)}
            if name == "*" or (has_bucket and scopes & actions.BUCKET_SCOPES):
                continue
            if not (has_object and actions.Level.OBJECT in scopes):
                self._fail(f"has the Action {name!r}, which applies to none of its Resources")

    # --- On what

    def _resources(self, raw: dict[str, Any]) -> list[str]:
        value, _ = self._one_of(raw, "Resource")
        if self._kind is PolicyKind.TRUST:
            if value is not None:
                self._fail("has a Resource, which has no place in a trust policy")
            return []
        if value is None:
            self._fail("needs a Resource or a NotResource")
        names = self._strings(value, "Resource")
        for name in names:
            self._check_resource(name)
        return names

    def _check_resource(self, name: str) -> None:
        try:
            prepared = matching.pattern(name, has_variables=self._has_variables)
        except PatternError as error:
            self._fail(f"has a Resource in which {error}")
        self._check_variables(prepared, name)
        if self._kind is PolicyKind.BUCKET:
            self._check_own_bucket(name)
        elif name != "*" and not name.startswith(_OWN_ARN):
            fields = name.split(":", 5)
            if fields[0] != "arn" or (len(fields) < 6 and not name.endswith("*")):
                self._fail(f'has the Resource {name[:200]!r}, which is neither "*" nor an ARN')

    def _check_own_bucket(self, name: str) -> None:
        if name == "*":
            return
        path = name.removeprefix("arn:aws:s3:::")
        bucket = path.partition("/")[0]
        if path == name or not bucket or "$" in bucket:
            self._fail(
                f"has the Resource {name[:200]!r}; arn:aws:s3:::{self._bucket or 'bucket'} or a key"
                " in it is expected"
            )
        if self._bucket and not matching.matches_text(bucket, self._bucket):
            self._fail(f"has the Resource {name[:200]!r}, which is not in {self._bucket}")

    def _check_variables(self, prepared: Pattern, text: str) -> None:
        for variable in matching.variables_of(prepared):
            if not keys.is_known(variable.key):
                self._fail(f"uses an unknown variable in {text[:200]!r}")

    # --- When

    def _check_conditions(self, raw: object) -> None:
        if not isinstance(raw, dict):
            self._fail("has a Condition that is not an object")
        for operator, tests in raw.items():
            if not isinstance(tests, dict) or not tests:
                self._fail(f"has a Condition {operator[:64]!r} without keys")
            asked: set[str] = set()
            for name, value in tests.items():
                key = name.lower()
                if not keys.is_known(key):
                    self._fail(f"has a Condition on the unknown key {name[:200]!r}")
                if key in asked:
                    self._fail(f"has a Condition that names {name[:200]!r} twice")
                asked.add(key)
                self._check_condition(operator, key, value)

    def _check_condition(self, operator: str, key: str, value: object) -> None:
        values: list[Any] = value if isinstance(value, list) else [value]
        if not values:
            self._fail(f"has a Condition on {key!r} without values")
        for each in values:
            if isinstance(each, _Number):
                if _INTEGER.fullmatch(each) is None:
                    self._fail(f"has a Condition on {key!r}: write {each[:64]} as a string")
            elif not isinstance(each, (str, bool)):
                self._fail(f"has a Condition on {key!r} with a value that is not a string")
        texts = _texts(values)
        try:
            compile_condition(operator, key, texts, has_variables=self._has_variables)
        except ConditionError as error:
            self._fail(f"has a Condition on {key!r} in which {error}")
        if self._has_variables:
            for text in texts:
                if "${" in text:
                    self._check_variables(matching.pattern(text, has_variables=True), text)
