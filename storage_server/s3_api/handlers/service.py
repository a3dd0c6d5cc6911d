"""Handlers of what concerns no stored thing: a browser's preflight."""

from storage_server.s3 import errors
from storage_server.s3.reply import Reply
from storage_server.s3_api.call import Call, Handler


async def preflight(call: Call) -> Reply:
    """Refuse a preflight: no bucket has cross-origin rules.

    Raises:
        BadRequest: The request is no preflight.
        AccessForbidden: It is.
    """
    headers = call.head.headers
    if "origin" not in headers:
        raise errors.BadRequest("Insufficient information. Origin request header needed.")
    if "access-control-request-method" not in headers:
        raise errors.BadRequest(
            "Invalid Access-Control-Request-Method: null",
        )
    raise errors.AccessForbidden(
        "CORSResponse: CORS is not enabled for this bucket.",
        Method=headers["access-control-request-method"],
        ResourceType="OBJECT" if call.head.key else "BUCKET",
    )


TABLE: dict[str, Handler] = {"OptionsBucket": preflight, "OptionsObject": preflight}
