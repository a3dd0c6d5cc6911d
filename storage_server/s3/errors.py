"""The catalogue of S3's errors: one class per code, with AWS's status and sentence."""

from typing import Self

from storage_server.core.errors import ApiError


class S3Error(ApiError):
    """Base of every error of the S3 port; details are named as in the error document."""

    headers: tuple[tuple[str, str], ...] = ()
    """Headers that the answer carries besides the document (``x-amz-delete-marker``, ``Allow``)."""

    def with_headers(self, *headers: tuple[str, str]) -> Self:
        """Return the error with headers for its answer."""
        self.headers = headers
        return self


# --- Requests and their form ---------------------------------------------------------------------


class InvalidRequest(
    S3Error,
    code="InvalidRequest",
    status=400,
    message="The request is not valid.",
):
    """The request is well-formed, but S3 has no such combination; the sentence says which."""


class InvalidArgument(S3Error, code="InvalidArgument", status=400, message="Invalid Argument"):
    """A header, parameter or element has a value that S3 does not allow."""


class BadRequest(S3Error, code="BadRequest", status=400, message="Bad Request"):
    """The request breaks a count that has no code of its own; the sentence says which."""


class InvalidURI(
    S3Error,
    code="InvalidURI",
    status=400,
    message="Couldn't parse the specified URI.",
):
    """The request target cannot be decoded into a bucket and a key."""


class MalformedXML(
    S3Error,
    code="MalformedXML",
    status=400,
    message=(
        "The XML you provided was not well-formed or did not validate against our published schema"
    ),
):
    """The document is not XML, is too deep or too long, or is not what the operation expects."""


class MissingRequestBodyError(
    S3Error,
    code="MissingRequestBodyError",
    status=400,
    message="Request body is empty.",
):
    """The operation needs a document and got an empty body."""


class MaxMessageLengthExceeded(
    S3Error,
    code="MaxMessageLengthExceeded",
    status=400,
    message="Your request was too big.",
):
    """The document is longer than any legitimate one."""


class RequestHeaderSectionTooLarge(
    S3Error,
    code="RequestHeaderSectionTooLarge",
    status=400,
    message=(
        "The request header and query parameters used to make the request exceed the maximum "
        "allowed size."
    ),
):
    """The head is longer than the server reads."""


class MissingAttachment(
    S3Error,
    code="MissingAttachment",
    status=400,
    message="A SOAP attachment was expected, but none was found.",
):
    """S3 once spoke SOAP; kept because clients know the code."""


class MethodNotAllowed(
    S3Error,
    code="MethodNotAllowed",
    status=405,
    message="The specified method is not allowed against this resource.",
):
    """The path exists, the method on it does not; or a version id names a delete marker."""


class NotImplementedByServer(
    S3Error,
    code="NotImplemented",
    status=501,
    message="A header or query you provided implies functionality that is not implemented.",
):
    """The request asks for something that this server does not have.

    And pretending would lose data.
    """


class RequestTimeout(
    S3Error,
    code="RequestTimeout",
    status=400,
    message=(
        "Your socket connection to the server was not read from or written to within the "
        "timeout period."
    ),
):
    """The client stopped sending; what it sent was discarded."""


class RequestIsNotMultiPartContent(
    S3Error,
    code="RequestIsNotMultiPartContent",
    status=412,
    message="A bucket POST request must be of the enclosure-type multipart/form-data.",
):
    """The form was not sent as a form with files."""


class IncorrectEndpoint(
    S3Error,
    code="IncorrectEndpoint",
    status=400,
    message=(
        "The specified bucket exists in another Region. Direct requests to the correct endpoint."
    ),
):
    """The bucket is not served at this address."""


class PermanentRedirect(
    S3Error,
    code="PermanentRedirect",
    status=301,
    message=(
        "The bucket you are attempting to access must be addressed using the specified "
        "endpoint. Send all future requests to this endpoint."
    ),
):
    """The bucket is served elsewhere for good."""


class Redirect(S3Error, code="Redirect", status=307, message="Temporary redirect."):
    """The bucket is served elsewhere for now."""


class TemporaryRedirect(
    S3Error,
    code="TemporaryRedirect",
    status=307,
    message="You are being redirected to the bucket while the DNS server is being updated.",
):
    """The bucket is served elsewhere until DNS agrees."""


class UnsupportedArgument(
    S3Error,
    code="UnsupportedArgument",
    status=400,
    message="The request contained an unsupported argument.",
):
    """The argument exists in S3, but not for this operation."""


class UnexpectedContent(
    S3Error,
    code="UnexpectedContent",
    status=400,
    message="This request contains unsupported content.",
):
    """The request has a body where the operation has none."""


class ConditionalRequestConflict(
    S3Error,
    code="ConditionalRequestConflict",
    status=409,
    message=(
        "The conditional request cannot succeed due to a conflicting operation against this "
        "resource."
    ),
):
    """Another write took the key between this one's check and its commit; trying again is safe."""


class OperationAborted(
    S3Error,
    code="OperationAborted",
    status=409,
    message=(
        "A conflicting conditional operation is currently in progress against this resource. "
        "Try again."
    ),
):
    """Another change of the same thing is under way."""


# --- Conditions and ranges -----------------------------------------------------------------------


class NotModified(S3Error, code="NotModified", status=304, message="Not Modified"):
    """The reader's copy is still good; the answer has no body."""


class PreconditionFailed(
    S3Error,
    code="PreconditionFailed",
    status=412,
    message="At least one of the pre-conditions you specified did not hold",
):
    """What is stored is not what the request demanded; nothing was changed."""


class InvalidRange(
    S3Error,
    code="InvalidRange",
    status=416,
    message="The requested range is not satisfiable",
):
    """The range starts at or behind the end of the object."""


class InvalidPartNumber(
    S3Error,
    code="InvalidPartNumber",
    status=416,
    message="The requested partnumber is not satisfiable",
):
    """The object has fewer parts than the number asked for."""


# --- Bodies and their integrity ------------------------------------------------------------------


class MissingContentLength(
    S3Error,
    code="MissingContentLength",
    status=411,
    message="You must provide the Content-Length HTTP header.",
):
    """The length of the body is not known before it is sent."""


class IncompleteBody(
    S3Error,
    code="IncompleteBody",
    status=400,
    message=("You did not provide the number of bytes specified by the Content-Length HTTP header"),
):
    """The body ended early; nothing was stored."""


class EntityTooLarge(
    S3Error,
    code="EntityTooLarge",
    status=400,
    message="Your proposed upload exceeds the maximum allowed size",
):
    """The body is larger than an object or part may be."""


class EntityTooSmall(
    S3Error,
    code="EntityTooSmall",
    status=400,
    message="Your proposed upload is smaller than the minimum allowed size",
):
    """A part that is not the last has less than 5 MiB.

    Or a form's file less than its policy asks for.
    """


class InvalidDigest(
    S3Error,
    code="InvalidDigest",
    status=400,
    message="The Content-MD5 you specified was invalid.",
):
    """The digest header is not the base64 of 16 bytes."""


class BadDigest(
    S3Error,
    code="BadDigest",
    status=400,
    message="The Content-MD5 you specified did not match what we received.",
):
    """The body is not the one whose digest or checksum was promised; nothing was stored."""


class XAmzContentSHA256Mismatch(
    S3Error,
    code="XAmzContentSHA256Mismatch",
    status=400,
    message="The provided 'x-amz-content-sha256' header does not match what was computed.",
):
    """The body is not the one that was signed; nothing was stored."""


class XAmzContentChecksumMismatch(
    S3Error,
    code="XAmzContentChecksumMismatch",
    status=400,
    message="The provided 'x-amz-checksum' header does not match what was computed.",
):
    """The body is not the one whose checksum was promised; nothing was stored."""


class InvalidChunkSizeError(
    S3Error,
    code="InvalidChunkSizeError",
    status=403,
    message="Only the last chunk is allowed to have a size less than 8192 bytes",
):
    """A signed chunk is smaller than S3 allows."""


class MalformedTrailerError(
    S3Error,
    code="MalformedTrailerError",
    status=400,
    message=(
        "The request contained trailing data that was not well-formed or did not conform to "
        "our published schema."
    ),
):
    """The trailer of a chunked body is not the promised one."""


class UnexpectedEOFError(
    S3Error,
    code="UnexpectedEOFError",
    status=400,
    message="An error occurred while parsing the chunked body: it ended early.",
):
    """A chunked body ended before its last chunk; nothing was stored."""


class InlineDataTooLarge(
    S3Error,
    code="InlineDataTooLarge",
    status=400,
    message="Inline data exceeds the maximum allowed size.",
):
    """Data given in the head is longer than allowed."""


# --- Buckets -------------------------------------------------------------------------------------


class NoSuchBucket(
    S3Error,
    code="NoSuchBucket",
    status=404,
    message="The specified bucket does not exist",
):
    """No bucket has this name."""


class BucketAlreadyExists(
    S3Error,
    code="BucketAlreadyExists",
    status=409,
    message=(
        "The requested bucket name is not available. The bucket namespace is shared by all "
        "users of the system. Please select a different name and try again."
    ),
):
    """Somebody else owns a bucket of this name."""


class BucketAlreadyOwnedByYou(
    S3Error,
    code="BucketAlreadyOwnedByYou",
    status=409,
    message="Your previous request to create the named bucket succeeded and you already own it.",
):
    """The caller owns this bucket already; it was not changed."""


class BucketNotEmpty(
    S3Error,
    code="BucketNotEmpty",
    status=409,
    message="The bucket you tried to delete is not empty",
):
    """The bucket still holds a version, a delete marker or an unfinished upload."""


class InvalidBucketName(
    S3Error,
    code="InvalidBucketName",
    status=400,
    message="The specified bucket is not valid.",
):
    """The name breaks AWS's rules for bucket names."""


class InvalidBucketState(
    S3Error,
    code="InvalidBucketState",
    status=409,
    message="The request is not valid with the current state of the bucket.",
):
    """The bucket's versioning or object lock forbids this change."""


class InvalidBucketOwnerAWSAccountID(
    S3Error,
    code="InvalidBucketOwnerAWSAccountID",
    status=400,
    message="The value of the expected bucket owner parameter must be an AWS account ID.",
):
    """The expected owner is not a 12-digit account id."""


class InvalidLocationConstraint(
    S3Error,
    code="InvalidLocationConstraint",
    status=400,
    message="The specified location-constraint is not valid",
):
    """The server is strict about regions and this is not its own."""


class IllegalLocationConstraintException(
    S3Error,
    code="IllegalLocationConstraintException",
    status=400,
    message=(
        "The unspecified location constraint is incompatible for the region specific endpoint"
        " this request was sent to."
    ),
):
    """The server is strict about regions and the request names none or another one."""


class TooManyBuckets(
    S3Error,
    code="TooManyBuckets",
    status=400,
    message="You have attempted to create more buckets than allowed",
):
    """The owner has as many buckets as allowed."""


class BucketHasAccessPointsAttached(
    S3Error,
    code="BucketHasAccessPointsAttached",
    status=400,
    message=(
        "The bucket you tried to delete has access points attached. Delete your access points"
        " before deleting your bucket."
    ),
):
    """The bucket has access points."""


# --- Keys, versions and objects ------------------------------------------------------------------


class NoSuchKey(S3Error, code="NoSuchKey", status=404, message="The specified key does not exist."):
    """The key has no latest version, or its latest version is a delete marker."""


class NoSuchVersion(
    S3Error,
    code="NoSuchVersion",
    status=404,
    message="The specified version does not exist.",
):
    """The key has no version of this id."""


class KeyTooLongError(S3Error, code="KeyTooLongError", status=400, message="Your key is too long"):
    """The key has more than 1,024 bytes."""


class MetadataTooLarge(
    S3Error,
    code="MetadataTooLarge",
    status=400,
    message="Your metadata headers exceed the maximum allowed metadata size",
):
    """User metadata has more than 2 KiB."""


class InvalidRedirectLocation(
    S3Error,
    code="InvalidRedirectLocation",
    status=400,
    message=("The website redirect location must have a prefix of 'http://' or 'https://' or '/'."),
):
    """The object is to send browsers where no browser goes."""


class InvalidStorageClass(
    S3Error,
    code="InvalidStorageClass",
    status=400,
    message="The storage class you specified is not valid",
):
    """AWS has no storage class of this name."""


class InvalidObjectState(
    S3Error,
    code="InvalidObjectState",
    status=403,
    message="The operation is not valid for the object's storage class",
):
    """The object's storage class forbids reading it as it is."""


class ObjectAlreadyInActiveTierError(
    S3Error,
    code="ObjectAlreadyInActiveTierError",
    status=403,
    message="This object is already in the active tier.",
):
    """There is nothing to restore."""


class RestoreAlreadyInProgress(
    S3Error,
    code="RestoreAlreadyInProgress",
    status=409,
    message="Object restore is already in progress",
):
    """A restore of this object runs."""


class ObjectNotInActiveTierError(
    S3Error,
    code="ObjectNotInActiveTierError",
    status=403,
    message="The source object of the COPY operation is not in the active tier.",
):
    """The source would have to be restored first."""


class ObjectNotAppendable(
    S3Error,
    code="ObjectNotAppendable",
    status=400,
    message="The object is not appendable.",
):
    """Only some objects can be appended to."""


class InvalidWriteOffset(
    S3Error,
    code="InvalidWriteOffset",
    status=400,
    message="The write offset value that you specified does not match the current object size.",
):
    """An append must start where the object ends."""


class InvalidTargetBucketForLogging(
    S3Error,
    code="InvalidTargetBucketForLogging",
    status=400,
    message=(
        "The target bucket for logging does not exist, is not owned by you, or does not have "
        "the appropriate grants for the log-delivery group."
    ),
):
    """Logs cannot be written to this bucket."""


class EncryptionTypeMismatch(
    S3Error,
    code="EncryptionTypeMismatch",
    status=400,
    message="The encryption parameters of the request do not match those of the object.",
):
    """The object was written with other encryption parameters."""


# --- Multipart uploads ---------------------------------------------------------------------------


class NoSuchUpload(
    S3Error,
    code="NoSuchUpload",
    status=404,
    message=(
        "The specified upload does not exist. The upload ID may be invalid, or the upload may"
        " have been aborted or completed."
    ),
):
    """The upload was never begun, was aborted, or is completed."""


class InvalidPart(
    S3Error,
    code="InvalidPart",
    status=400,
    message=(
        "One or more of the specified parts could not be found.  The part may not have been "
        "uploaded, or the specified entity tag may not match the part's entity tag."
    ),
):
    """Complete names a part that is not there or has another ETag or checksum."""


class InvalidPartOrder(
    S3Error,
    code="InvalidPartOrder",
    status=400,
    message=("The list of parts was not in ascending order. Parts must be ordered by part number."),
):
    """Complete lists its parts out of order."""


class CompletedUploadPreconditionFailed(
    S3Error,
    code="CompletedUploadPreconditionFailed",
    status=412,
    message="The completed upload does not satisfy the precondition.",
):
    """The key changed while the upload was completed."""


# --- Who asks, and may they ----------------------------------------------------------------------


class AccessDenied(S3Error, code="AccessDenied", status=403, message="Access Denied"):
    """The caller may not do this; nothing else is told."""


class AccessForbidden(S3Error, code="AccessForbidden", status=403, message="Access Forbidden"):
    """A page from another origin asks for what the bucket's rules do not give it."""


class AllAccessDisabled(
    S3Error,
    code="AllAccessDisabled",
    status=403,
    message="All access to this object has been disabled.",
):
    """Nobody may reach this resource."""


class AccountProblem(
    S3Error,
    code="AccountProblem",
    status=403,
    message=(
        "There is a problem with your account that prevents the operation from completing "
        "successfully."
    ),
):
    """The caller's account is not active."""


class NotSignedUp(
    S3Error,
    code="NotSignedUp",
    status=403,
    message="Your account is not signed up for the Amazon S3 service.",
):
    """The account has no storage."""


class InvalidAccessKeyId(
    S3Error,
    code="InvalidAccessKeyId",
    status=403,
    message="The AWS Access Key Id you provided does not exist in our records.",
):
    """No live access key has this id."""


class SignatureDoesNotMatch(
    S3Error,
    code="SignatureDoesNotMatch",
    status=403,
    message=(
        "The request signature we calculated does not match the signature you provided. Check"
        " your key and signing method."
    ),
):
    """The request is not the one that was signed, or the secret key is another one."""


class RequestTimeTooSkewed(
    S3Error,
    code="RequestTimeTooSkewed",
    status=403,
    message="The difference between the request time and the current time is too large.",
):
    """The request's date is more than 15 minutes from the server's."""


class RequestExpired(S3Error, code="RequestExpired", status=400, message="Request has expired"):
    """The request carries an expiry that has passed."""


class ExpiredToken(
    S3Error,
    code="ExpiredToken",
    status=400,
    message="The provided token has expired.",
):
    """The session is over."""


class InvalidToken(
    S3Error,
    code="InvalidToken",
    status=400,
    message="The provided token is malformed or otherwise invalid.",
):
    """The session token is not one of ours, or does not fit the key."""


class TokenRefreshRequired(
    S3Error,
    code="TokenRefreshRequired",
    status=400,
    message="The provided token must be refreshed.",
):
    """The session must be renewed."""


class TokenCodeInvalidError(
    S3Error,
    code="TokenCodeInvalidError",
    status=400,
    message="The serial number and/or token code you provided is not valid.",
):
    """The one-time code is wrong."""


class AuthorizationHeaderMalformed(
    S3Error,
    code="AuthorizationHeaderMalformed",
    status=400,
    message="The authorization header is malformed",
):
    """The Authorization header cannot be read, or its scope is not for this service."""


class AuthorizationQueryParametersError(
    S3Error,
    code="AuthorizationQueryParametersError",
    status=400,
    message="Error parsing the X-Amz-Credential parameter",
):
    """The signing parameters of a presigned URL are missing, malformed or out of bounds."""


class CredentialsNotSupported(
    S3Error,
    code="CredentialsNotSupported",
    status=400,
    message="This request does not support credentials.",
):
    """The operation takes no credentials."""


class CrossLocationLoggingProhibited(
    S3Error,
    code="CrossLocationLoggingProhibited",
    status=403,
    message="Cross-location logging not allowed.",
):
    """Logs stay where the bucket is."""


class InvalidSecurity(
    S3Error,
    code="InvalidSecurity",
    status=403,
    message="The provided security credentials are not valid.",
):
    """The credentials cannot be used here."""


class InvalidPayer(
    S3Error,
    code="InvalidPayer",
    status=403,
    message="All access to this object has been disabled.",
):
    """The payer's account is not active."""


class MissingAuthenticationToken(
    S3Error,
    code="MissingAuthenticationToken",
    status=403,
    message="The request was not signed.",
):
    """The request has no credentials, and the operation wants some."""


class MissingSecurityElement(
    S3Error,
    code="MissingSecurityElement",
    status=400,
    message="The SOAP 1.1 request is missing a security element.",
):
    """S3 once spoke SOAP; kept because clients know the code."""


class MissingSecurityHeader(
    S3Error,
    code="MissingSecurityHeader",
    status=400,
    message="Your request was missing a required header",
):
    """A header without which the request cannot be authenticated is not there."""


class HeadersNotSigned(
    S3Error,
    code="HeadersNotSigned",
    status=403,
    message="There were headers present in the request which were not signed",
):
    """Every x-amz-* header must be part of the signature."""


class UnsignedHeadersNotAllowed(
    S3Error,
    code="UnsignedHeadersNotAllowed",
    status=403,
    message="Unsigned headers are not allowed in this request.",
):
    """A header that changes what is done was added to a signed URL."""


class AmbiguousGrantByEmailAddress(
    S3Error,
    code="AmbiguousGrantByEmailAddress",
    status=400,
    message="The email address you provided is associated with more than one account.",
):
    """The e-mail address names several principals."""


class UnresolvableGrantByEmailAddress(
    S3Error,
    code="UnresolvableGrantByEmailAddress",
    status=400,
    message="The email address you provided does not match any account on record.",
):
    """The e-mail address names nobody the caller may know."""


class AccessControlListNotSupported(
    S3Error,
    code="AccessControlListNotSupported",
    status=400,
    message="The bucket does not allow ACLs",
):
    """Object ownership is enforced: access control lists have no meaning here."""


class InvalidBucketAclWithObjectOwnership(
    S3Error,
    code="InvalidBucketAclWithObjectOwnership",
    status=400,
    message="Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
):
    """Access control lists and enforced ownership exclude each other."""


# --- Browser forms -------------------------------------------------------------------------------


class MalformedPOSTRequest(
    S3Error,
    code="MalformedPOSTRequest",
    status=400,
    message="The body of your POST request is not well-formed multipart/form-data.",
):
    """The form cannot be read."""


class MaxPostPreDataLengthExceededError(
    S3Error,
    code="MaxPostPreDataLengthExceededError",
    status=400,
    message="Your POST request fields preceding the upload file were too large.",
):
    """The fields before the file are longer than 20 KB."""


class UserKeyMustBeSpecified(
    S3Error,
    code="UserKeyMustBeSpecified",
    status=400,
    message=(
        "The bucket POST must contain the specified field name. If it is specified, check the"
        " order of the fields."
    ),
):
    """The form has no key field before its file."""


class IncorrectNumberOfFilesInPostRequest(
    S3Error,
    code="IncorrectNumberOfFilesInPostRequest",
    status=400,
    message="POST requires exactly one file upload per request.",
):
    """The form has no file, or several."""


class InvalidPolicyDocument(
    S3Error,
    code="InvalidPolicyDocument",
    status=400,
    message=(
        "The content of the form does not meet the conditions specified in the policy document."
    ),
):
    """The form's policy cannot be read, or the form breaks it."""


# --- Configuration: what was never set -----------------------------------------------------------


class NoSuchTagSet(S3Error, code="NoSuchTagSet", status=404, message="The TagSet does not exist"):
    """The bucket has no tags."""


class NoSuchTagSetError(
    S3Error,
    code="NoSuchTagSetError",
    status=404,
    message="The TagSet does not exist",
):
    """The older spelling of NoSuchTagSet; kept because clients know the code."""


class NoSuchBucketPolicy(
    S3Error,
    code="NoSuchBucketPolicy",
    status=404,
    message="The bucket policy does not exist",
):
    """The bucket has no policy."""


class NoSuchCORSConfiguration(
    S3Error,
    code="NoSuchCORSConfiguration",
    status=404,
    message="The CORS configuration does not exist",
):
    """The bucket has no CORS rules."""


class NoSuchLifecycleConfiguration(
    S3Error,
    code="NoSuchLifecycleConfiguration",
    status=404,
    message="The lifecycle configuration does not exist",
):
    """The bucket has no lifecycle rules."""


class NoSuchWebsiteConfiguration(
    S3Error,
    code="NoSuchWebsiteConfiguration",
    status=404,
    message="The specified bucket does not have a website configuration",
):
    """The bucket is not a website."""


class NoSuchConfiguration(
    S3Error,
    code="NoSuchConfiguration",
    status=404,
    message="The specified configuration does not exist.",
):
    """The bucket has no configuration of this id."""


class NoSuchPublicAccessBlockConfiguration(
    S3Error,
    code="NoSuchPublicAccessBlockConfiguration",
    status=404,
    message="The public access block configuration was not found",
):
    """The bucket has no public access block of its own."""


class ReplicationConfigurationNotFoundError(
    S3Error,
    code="ReplicationConfigurationNotFoundError",
    status=404,
    message="The replication configuration was not found",
):
    """The bucket is not replicated."""


class ServerSideEncryptionConfigurationNotFoundError(
    S3Error,
    code="ServerSideEncryptionConfigurationNotFoundError",
    status=404,
    message="The server side encryption configuration was not found",
):
    """The bucket has no encryption setting of its own."""


class ObjectLockConfigurationNotFoundError(
    S3Error,
    code="ObjectLockConfigurationNotFoundError",
    status=404,
    message="Object Lock configuration does not exist for this bucket",
):
    """The bucket was made without object lock."""


class NoSuchObjectLockConfiguration(
    S3Error,
    code="NoSuchObjectLockConfiguration",
    status=404,
    message="The specified object does not have a ObjectLock configuration",
):
    """The version has neither retention nor a legal hold."""


class OwnershipControlsNotFoundError(
    S3Error,
    code="OwnershipControlsNotFoundError",
    status=404,
    message="The bucket ownership controls were not found",
):
    """The bucket has no ownership setting of its own."""


class MetadataConfigurationNotFound(
    S3Error,
    code="MetadataConfigurationNotFound",
    status=404,
    message="The metadata configuration was not found",
):
    """The bucket has no metadata table."""


class NoSuchAccessPoint(
    S3Error,
    code="NoSuchAccessPoint",
    status=404,
    message="The specified access point does not exist",
):
    """No access point has this name."""


class NoSuchAccessPointPolicy(
    S3Error,
    code="NoSuchAccessPointPolicy",
    status=404,
    message="The access point policy does not exist",
):
    """The access point has no policy."""


class NoSuchMultiRegionAccessPoint(
    S3Error,
    code="NoSuchMultiRegionAccessPoint",
    status=404,
    message="The specified Multi-Region Access Point does not exist",
):
    """No such access point."""


class NoSuchAsyncRequest(
    S3Error,
    code="NoSuchAsyncRequest",
    status=404,
    message="The specified request was not found",
):
    """No asynchronous request has this id."""


# --- Configuration: what cannot be set -----------------------------------------------------------


class InvalidTag(
    S3Error,
    code="InvalidTag",
    status=400,
    message="The tag provided was not a valid tag.",
):
    """A tag key or value is too long, empty, doubled or has characters that are not allowed."""


class MalformedPolicy(
    S3Error,
    code="MalformedPolicy",
    status=400,
    message="Policies must be valid JSON and the first byte must be '{'",
):
    """The bucket policy cannot be read."""


class PolicyTooLarge(
    S3Error,
    code="PolicyTooLarge",
    status=400,
    message="Your policy exceeds the maximum allowed document size.",
):
    """The bucket policy is longer than 20 KB."""


class MalformedACLError(
    S3Error,
    code="MalformedACLError",
    status=400,
    message=(
        "The XML you provided was not well-formed or did not validate against our published schema"
    ),
):
    """The access control list cannot be read."""


class IllegalVersioningConfigurationException(
    S3Error,
    code="IllegalVersioningConfigurationException",
    status=400,
    message="The Versioning element must be specified",
):
    """The versioning document says neither Enabled nor Suspended."""


class InvalidEncryptionAlgorithmError(
    S3Error,
    code="InvalidEncryptionAlgorithmError",
    status=400,
    message="The encryption request that you specified is not valid. The valid value is AES256.",
):
    """S3 has no such encryption."""


class InvalidSOAPRequest(
    S3Error,
    code="InvalidSOAPRequest",
    status=400,
    message="The SOAP request body is invalid.",
):
    """S3 once spoke SOAP; kept because clients know the code."""


class InvalidAddressingHeader(
    S3Error,
    code="InvalidAddressingHeader",
    status=400,
    message="You must specify the Anonymous role.",
):
    """The header addresses nobody."""


class InvalidSessionException(
    S3Error,
    code="InvalidSessionException",
    status=400,
    message="The session token does not match this bucket.",
):
    """The session belongs to another bucket."""


class TooManyMultiRegionAccessPointregionsError(
    S3Error,
    code="TooManyMultiRegionAccessPointregionsError",
    status=400,
    message="Too many Regions were requested.",
):
    """More Regions than allowed."""


class TooManyConfigurations(
    S3Error,
    code="TooManyConfigurations",
    status=400,
    message=(
        "You are attempting to create a new configuration but have already reached the "
        "1,000-configuration limit."
    ),
):
    """The bucket has as many configurations of this kind as allowed."""


class InvalidNextToken(
    S3Error,
    code="InvalidNextToken",
    status=400,
    message="The continuation token provided is incorrect",
):
    """The token was not made by this listing."""


# --- The server's side ---------------------------------------------------------------------------


class InternalError(
    S3Error,
    code="InternalError",
    status=500,
    message="We encountered an internal error. Please try again.",
):
    """Our mistake, or damaged storage; the log has the reason under the request id."""


class ServiceUnavailable(
    S3Error,
    code="ServiceUnavailable",
    status=503,
    message="Service is unable to handle request.",
):
    """The server cannot answer now; trying again is safe."""


class SlowDown(S3Error, code="SlowDown", status=503, message="Please reduce your request rate."):
    """The caller is over its rate, or the server over its capacity."""


class Busy(
    S3Error,
    code="Busy",
    status=503,
    message="The service is unavailable. Try again later.",
):
    """The server cannot answer now; trying again is safe."""


class InsufficientStorage(
    S3Error,
    code="InsufficientStorage",
    status=507,
    message="There is not enough free storage to complete the request.",
):
    """The disk is full: writes are refused, reads and deletes work.

    SDKs do not retry a 507, and they should not.
    """


class QuotaExceeded(
    S3Error,
    code="QuotaExceeded",
    status=403,
    message="The write would exceed a storage quota.",
):
    """A hard limit of the bucket, tenant or user.

    Code and status are Ceph's, which SDKs do not retry and s3 tools print as they are.
    """
