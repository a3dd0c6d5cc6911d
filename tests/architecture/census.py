"""The census of routes: every operation, asked by everybody, in every way of signing.

``python -m tests.architecture.census`` writes ``census.txt`` anew; a change in it is a change of
who may do what, and is read before it is committed.
"""

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from storage_server.engine.records import TenantState
from storage_server.s3.operations import OPERATIONS, Operation, Scope
from storage_server.s3_api.handlers.table import TABLE
from storage_server.s3_api.options import S3Options
from tests.s3_api.asking import Answer, Asker, asker
from tests.s3_api.port import running_port
from tests.services.people import People, Person, allow
from tests.signing import Keys

GOLDEN: Final = Path(__file__).with_name("census.txt")
OWN_AUTHENTICATION: Final = ("PostObject", "OptionsBucket", "OptionsObject")
"""Forms and preflights: they prove their sender elsewhere, or have none."""

_TAGS = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
_DELETE = b"<Delete><Object><Key>k</Key></Object></Delete>"
_BLOCK = (
    b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
    b"</PublicAccessBlockConfiguration>"
)
_BODIES = {
    "PutObjectTagging": _TAGS,
    "PutBucketTagging": _TAGS,
    "DeleteObjects": _DELETE,
    "PutAccountPublicAccessBlock": _BLOCK,
}
_HEADERS = {"x-amz-copy-source": "/bkt/k", "x-amz-rename-source": "k"}
_PUBLIC = (
    b'{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",'
    b'"Resource":["arn:aws:s3:::open","arn:aws:s3:::open/*"]}]}'
)


def target(row: Operation, bucket: str) -> str:
    """Return a request target that is this operation and no other."""
    if row.scope is Scope.ACCOUNT:
        return f"/v20180820/configuration/{row.subresource}"
    path = {
        Scope.SERVICE: "/",
        Scope.BUCKET: f"/{bucket}",
        Scope.OBJECT: f"/{bucket}/k",
    }[row.scope]
    names = [name for name in (row.subresource, row.selector) if name]
    if "partNumber" in row.query and row.subresource == "uploadId":
        names.append("partNumber")
    values = {"list-type": "2", "partNumber": "1", "uploadId": "u" * 32}
    query = "&".join(f"{name}={values[name]}" if name in values else name for name in names)
    return f"{path}?{query}" if query else path


def headers(row: Operation, account_id: str) -> dict[str, str]:
    """Return the headers that the operation needs to be recognised and to get that far."""
    found = {row.header: _HEADERS[row.header]} if row.header else {}
    if row.name == "RenameObject":
        found["x-amz-rename-source"] = _HEADERS["x-amz-rename-source"]
    if row.name == "GetObjectAttributes":
        found["x-amz-object-attributes"] = "ETag"
    if row.scope is Scope.ACCOUNT:
        found["x-amz-account-id"] = account_id
    body = _BODIES.get(row.name)
    if body is not None:
        found["Content-MD5"] = base64.b64encode(hashlib.md5(body).digest()).decode()
    return found


def is_refused(answer: Answer) -> bool:
    """Tell whether the sender was refused, for the whole or for the one key of a batch.

    405 is what a foreign account gets that wants at a bucket's policy.
    """
    return answer.status in {403, 405} or b"<Code>AccessDenied</Code>" in answer.body


class Scene:
    """A store with everybody in it, and two buckets: one closed, one open to the world."""

    def __init__(self, ask: Asker, people: People) -> None:
        """Ask a pipeline about these people."""
        self.ask = ask
        self.people = people
        self.senders: dict[str, Keys | None] = {}
        self.dead: dict[str, Keys] = {}
        self.account_id = ""
        self.owner: Person

    async def fill(self) -> None:
        """Make the people and the buckets."""
        people = self.people
        home, away = await people.tenant("home"), await people.tenant("away")
        shut = await people.tenant("shut")
        self.account_id = home.account_id
        self.owner = await people.user(home, "owner", "user")
        everything = await people.user(home, "everything", allow("*"))
        self.senders = {
            "root": (await people.root(home)).keys,
            "owner": self.owner.keys,
            "admin": (await people.user(home, "admin", "tenant-admin")).keys,
            "reader": (await people.user(home, "reader", "read-only")).keys,
            "neighbour": (await people.user(home, "neighbour", "user")).keys,
            "guest": (await people.user(home, "guest", "guest")).keys,
            "bare": (await people.user(home, "bare")).keys,
            "foreigner": (await people.user(away, "foreigner", allow("*"))).keys,
            "foreign root": (await people.root(away)).keys,
            "anonymous": None,
        }
        disabled = await people.user(home, "disabled", allow("*"), enabled=False)
        gone = await people.user(home, "gone", allow("*"))
        await people.change(gone, deleted=True)
        suspended = await people.user(shut, "suspended", allow("*"))
        await people.change_tenant(shut, state=TenantState.SUSPENDED)
        deleted_key = await people.key(everything.record)
        await people.change_key(deleted_key, deleted=True)
        self.dead = {
            "disabled user": disabled.keys,
            "deleted user": gone.keys,
            "suspended tenant": suspended.keys,
            "disabled key": await people.key(everything.record, enabled=False),
            "deleted key": deleted_key,
            "expired key": await people.key(everything.record, expires_us=1),
            "wrong secret": Keys(everything.keys.access_key, "wrong"),
            "unknown key": Keys("AKIA" + "X" * 16, "x"),
            "session key without token": Keys("ASIA" + "X" * 16, "x"),
        }
        await self.restore()

    async def restore(self) -> None:
        """Bring back what a request that passed may have taken away."""
        keys = self.owner.keys
        for bucket in ("bkt", "open"):
            await self.ask.ask(keys, "PUT", f"/{bucket}")
            await self.ask.ask(keys, "PUT", f"/{bucket}/k", None, b"x")
        await self.ask.ask(keys, "DELETE", "/open?publicAccessBlock")
        await self.ask.ask(keys, "PUT", "/open?policy", None, _PUBLIC)

    async def send(self, row: Operation, keys: Keys | None, bucket: str) -> Answer:
        """Send an operation, signed in its headers."""
        body = _BODIES.get(row.name, b"")
        made = target(row, "new-bucket" if row.name == "CreateBucket" else bucket)
        return await self.ask.ask(keys, row.method, made, headers(row, self.account_id), body)

    async def passing(self, row: Operation, bucket: str) -> list[str]:
        """Return who is not refused."""
        found: list[str] = []
        for name, keys in self.senders.items():
            if not is_refused(await self.send(row, keys, bucket)):
                found.append(name)
                if row.method not in {"GET", "HEAD"}:
                    await self.restore()
                    await self.ask.ask(keys, "DELETE", "/new-bucket")
        return found

    async def ways(self, row: Operation) -> list[str]:
        """Return the ways of signing that the owner may use."""
        keys, made = self.owner.keys, target(row, "bkt")
        if headers(row, self.account_id) or row.name == "CreateBucket":
            return ["v4"]  # they need headers that are signed with them
        asked: dict[str, Answer] = {
            "v4 query": await self.ask.ask_presigned(keys, row.method, made),
            "v2": await self.ask.ask_v2(keys, row.method, made, is_presigned=False),
            "v2 query": await self.ask.ask_v2(keys, row.method, made, is_presigned=True),
        }
        await self.restore()
        return ["v4", *(name for name, answer in asked.items() if not is_refused(answer))]

    async def line(self, row: Operation) -> str:
        """Return the census of one operation."""
        if row.name not in TABLE:
            return f"{row.name}: not implemented"
        if row.name in OWN_AUTHENTICATION:
            return f"{row.name}: authenticates for itself"
        closed = ", ".join(await self.passing(row, "bkt")) or "nobody"
        text = f"{row.name}: {closed} | by {', '.join(await self.ways(row))}"
        if row.scope in (Scope.SERVICE, Scope.ACCOUNT) or row.name == "CreateBucket":
            return text
        more = [name for name in await self.passing(row, "open") if name not in closed.split(", ")]
        return f"{text} | when open to all also: {', '.join(more) or 'nobody'}"


async def take(scene: Scene) -> list[str]:
    """Ask everything of everybody; return a line for each operation."""
    return [await scene.line(row) for row in OPERATIONS]


async def with_scene(folder: Path, work: Callable[[Scene], Awaitable[None]]) -> None:
    """Do something with a filled scene in a new folder."""
    options = S3Options(failed_lookups_per_minute=0)
    with ThreadPoolExecutor(2) as lanes:
        async with running_port(folder, options) as port:
            scene = Scene(asker(port.services, lanes, options), People(port.store.identity))
            await scene.fill()
            await work(scene)


async def _write() -> None:
    async def write(scene: Scene) -> None:
        GOLDEN.write_text("\n".join(await take(scene)) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        await with_scene(Path(folder), write)


if __name__ == "__main__":
    asyncio.run(_write())
