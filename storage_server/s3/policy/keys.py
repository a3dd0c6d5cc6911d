"""The condition keys that a policy may name: a closed list, so that no condition is decoration.

A key of the first table gets its values from the verified identity, the socket, the stored record
or the signed request. AWS's other keys are accepted and absent in every request, by AWS's own
rule for absent keys. What is on neither list is refused when the policy is written: keys that do
not exist, and ``s3:TlsVersion``, which a proxy in front does not tell: a Deny on it would be dead.

Source: IAM User Guide, "AWS global condition context keys"; Service Authorization Reference,
"Condition keys for Amazon S3", "… AWS Identity and Access Management", "… AWS Security Token
Service".
"""

import re
from typing import Final

# --- Keys with values in some request here -------------------------------------------------------

PRESENT: Final = frozenset(
    """
    aws:CurrentTime aws:EpochTime aws:MultiFactorAuthPresent
    aws:PrincipalAccount aws:PrincipalArn aws:PrincipalIsAWSService aws:PrincipalType
    aws:Referer aws:RequestedRegion aws:ResourceAccount aws:SecureTransport aws:SourceIdentity
    aws:SourceIp aws:TagKeys aws:TokenIssueTime aws:UserAgent aws:userid aws:username
    aws:ViaAWSService aws:FederatedProvider

    s3:authType s3:delimiter s3:if-match s3:if-none-match
    s3:LocationConstraint s3:max-keys s3:object-lock-legal-hold s3:object-lock-mode
    s3:object-lock-remaining-retention-days s3:object-lock-retain-until-date
    s3:ObjectCreationOperation s3:prefix s3:RequestObjectTagKeys s3:ResourceAccount
    s3:signatureAge s3:signatureversion s3:VersionId s3:x-amz-acl
    s3:x-amz-content-sha256 s3:x-amz-copy-source s3:x-amz-grant-full-control s3:x-amz-grant-read
    s3:x-amz-grant-read-acp s3:x-amz-grant-write s3:x-amz-grant-write-acp
    s3:x-amz-metadata-directive s3:x-amz-object-ownership s3:x-amz-server-side-encryption
    s3:x-amz-server-side-encryption-aws-kms-key-id
    s3:x-amz-server-side-encryption-customer-algorithm s3:x-amz-storage-class
    s3:x-amz-website-redirect-location

    sts:ExternalId sts:RoleSessionName sts:SourceIdentity sts:TransitiveTagKeys
    iam:PermissionsBoundary iam:PolicyARN

    holdfast:PrincipalOwner holdfast:ResourceOwner
    """.lower().split()
)
"""In lower case, as a request's values are asked for.

``holdfast:ResourceOwner`` is the canonical id that owns the bucket or object asked for,
``holdfast:PrincipalOwner`` the canonical id as which the caller owns what it creates.
"""

PRESENT_FAMILIES: Final = (
    "aws:principaltag/",
    "aws:requesttag/",
    "aws:resourcetag/",
    "s3:buckettag/",
    "s3:existingobjecttag/",
    "s3:requestobjecttag/",
    "iam:resourcetag/",
)
"""Keys that end in the name of a tag."""

# --- Keys that AWS has and that no request here can have -----------------------------------------

ABSENT: Final = frozenset(
    """
    aws:AssumedRoot aws:CalledVia aws:CalledViaFirst aws:CalledViaLast aws:ChatbotSourceArn
    aws:CalledViaAWSMCP aws:Ec2InstanceSourcePrivateIPv4 aws:Ec2InstanceSourceVpc
    aws:IsMcpServiceAction aws:MultiFactorAuthAge aws:PrincipalOrgID aws:PrincipalOrgPaths
    aws:PrincipalServiceName aws:PrincipalServiceNamesList aws:ResourceOrgID aws:ResourceOrgPaths
    aws:SignInSessionArn aws:SourceAccount aws:SourceArn aws:SourceOrgID aws:SourceOrgPaths
    aws:SourceVpc aws:SourceVpcArn aws:SourceVpce aws:ViaAWSMCPService aws:VpceAccount
    aws:SourceOwner aws:VpceMultiRegion aws:VpceOrgID aws:VpceOrgPaths aws:VpcSourceIp

    s3:AccessGrantsInstanceArn s3:AccessPointNetworkOrigin s3:AccessPointTag
    s3:BucketNamespace s3:DataAccessPointAccount s3:DataAccessPointArn s3:destinationRegion
    s3:ExistingJobOperation s3:ExistingJobPriority s3:InventoryAccessibleOptionalFields
    s3:isReplicationPauseRequest s3:JobSuspendedCause s3:RequestJobOperation
    s3:RequestJobPriority

    sts:AWSServiceName sts:DurationSeconds sts:IdentityTokenAudience sts:SigningAlgorithm
    sts:TaskPolicyArn

    iam:AssociatedResourceArn iam:AWSServiceName iam:DelegationDuration
    iam:DelegationRequestOwner iam:FIDO-certification iam:FIDO-FIPS-140-2-certification
    iam:FIDO-FIPS-140-3-certification iam:NotificationChannel iam:OrganizationsPolicyId
    iam:PassedToService iam:RegisterSecurityKey iam:ServiceSpecificCredentialAgeDays
    iam:ServiceSpecificCredentialServiceName iam:TemplateArn
    """.lower().split()
)

# Services of AWS that S3 policies name in conditions, and identity systems that are not here.
_ABSENT_FAMILIES: Final = (
    *("kms:", "ec2:", "s3express:", "s3-outposts:", "s3-object-lambda:", "organizations:"),
    *("saml:", "cognito-identity.amazonaws.com:", "graph.facebook.com:", "www.amazon.com:"),
    *("sts:requestcontext/", "s3:accesspointtag/"),
)

# The claims of a web identity, by the host (and path) of its issuer.
_CLAIM: Final = re.compile(
    r"(?:localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?"
    r"(?:/[a-z0-9._~/-]*)?"
    r":(?:sub|aud|azp|amr|oaud|iss|email|groups|roles|name|preferred_username|hd)",
    re.ASCII,
)


def is_known(key: str) -> bool:
    """Tell whether a policy may name this condition key; ``key`` is in lower case."""
    if key in PRESENT or key in ABSENT:
        return True
    if key.startswith(PRESENT_FAMILIES):
        return not key.endswith("/")
    return key.startswith(_ABSENT_FAMILIES) or _CLAIM.fullmatch(key) is not None
