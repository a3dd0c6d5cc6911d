"""The catalogue of IAM's and STS's errors, where their words differ from S3's."""

from storage_server.core.errors import ApiError


class IamError(ApiError):
    """Base of the errors that only the IAM and STS query APIs know."""


# --- Requests and their form ---------------------------------------------------------------------


class InvalidAction(
    IamError,
    code="InvalidAction",
    status=400,
    message="The action or operation requested is invalid.",
):
    """No row of the table has this name."""


class MissingAction(
    IamError,
    code="MissingAction",
    status=400,
    message="The request is missing an action or a required parameter.",
):
    """The form names no action."""


class ValidationError(
    IamError,
    code="ValidationError",
    status=400,
    message="The input fails to satisfy the constraints of the service.",
):
    """A parameter is missing, malformed, too long or repeated; the sentence says which."""


class InvalidInput(
    IamError,
    code="InvalidInput",
    status=400,
    message="An invalid or out-of-range value was supplied for an input parameter.",
):
    """The parameter is well-formed, but no such value can be."""


class MalformedQueryString(
    IamError,
    code="MalformedQueryString",
    status=400,
    message="The form contains a syntax error.",
):
    """The body is not a form, or one of its names comes twice."""


# --- Entities ------------------------------------------------------------------------------------


class NoSuchEntity(
    IamError,
    code="NoSuchEntity",
    status=404,
    message="The entity does not exist.",
):
    """The tenant has nobody and nothing of this name."""


class EntityAlreadyExists(
    IamError,
    code="EntityAlreadyExists",
    status=409,
    message="The entity exists already.",
):
    """The name is taken within the tenant."""


class DeleteConflict(
    IamError,
    code="DeleteConflict",
    status=409,
    message="The entity has subordinate entities and cannot be deleted.",
):
    """Something still hangs on the entity; the sentence says what."""


class LimitExceeded(
    IamError,
    code="LimitExceeded",
    status=409,
    message="The request would exceed a limit of the account.",
):
    """There are as many of these as there may be."""


class UnmodifiableEntity(
    IamError,
    code="UnmodifiableEntity",
    status=400,
    message="Only the service that made the entity can change it.",
):
    """The entity is shipped with the program."""


class MalformedPolicyDocument(
    IamError,
    code="MalformedPolicyDocument",
    status=400,
    message="The policy document is malformed.",
):
    """The policy is not one; the sentence says where."""


class PackedPolicyTooLarge(
    IamError,
    code="PackedPolicyTooLarge",
    status=400,
    message="The session policies and tags do not fit into a session token.",
):
    """What the session should carry is longer than a token may be."""


# --- Who asks ------------------------------------------------------------------------------------


class InvalidClientTokenId(
    IamError,
    code="InvalidClientTokenId",
    status=403,
    message="The security token included in the request is invalid.",
):
    """No live access key or session fits the request."""


class IncompleteSignature(
    IamError,
    code="IncompleteSignature",
    status=400,
    message="The request signature does not conform to AWS standards.",
):
    """The authorization header cannot be read, or is for another service."""


class InvalidIdentityToken(
    IamError,
    code="InvalidIdentityToken",
    status=403,
    message="The identity token could not be validated.",
):
    """The token is refused; one sentence for every reason, which would else tell an attacker."""


class IDPCommunicationError(
    IamError,
    code="IDPCommunicationError",
    status=400,
    message="There is no identity provider to ask.",
):
    """The identity provider is not configured or cannot be asked."""


class InternalFailure(
    IamError,
    code="InternalFailure",
    status=500,
    message="The request processing has failed because of an unknown error.",
):
    """What nobody foresaw; the log has it."""
