"""Access keys: made or brought along, switched, and removed for good."""

from typing import Final

from sqlalchemy.orm import Session

from storage_server.control_db import access_keys, settings, users
from storage_server.control_db.views import AccessKeyView, TenantView, UserView
from storage_server.core import limits
from storage_server.core.clock import Clock
from storage_server.core.ids import TenantId, new_access_key_id, new_secret_key
from storage_server.engine.identity import Entity, Identity
from storage_server.s3 import arns
from storage_server.s3.iam_errors import NoSuchEntity, ValidationError
from storage_server.s3.policy.document import PolicyKind
from storage_server.services.account_control import AccountControl, account_of, arn, touch
from storage_server.services.account_forms import require_importable, require_text
from storage_server.services.account_pages import PAGE_ITEMS, Page, page_of, require_limit
from storage_server.services.account_views import AccessKey, NewAccessKey
from storage_server.services.control import By, Changes
from storage_server.services.policy_documents import require_policy
from storage_server.services.users import require_user

AS_SET: Final = -1
"""As many keys per user as the installation's setting says."""


class AccessKeyService:
    """Access keys of a tenant's users."""

    def __init__(self, accounts: AccountControl, identity: Identity, clock: Clock) -> None:
        """Change control data; secrets are sealed by ``identity`` before they get there."""
        self._accounts = accounts
        self._identity = identity
        self._clock = clock

    def require_tenant(self, access_key_id: str) -> TenantId:
        """Return the tenant of a living key, from the projection.

        Raises:
            NoSuchEntity: No tenant has a key of this id.
        """
        found = self._identity.find_credential_now(access_key_id)
        owner = None if found is None else self._identity.find_principal_now(found.principal_id)
        if owner is None:
            raise NoSuchEntity(f"The access key with id {access_key_id} cannot be found.")
        return owner.tenant_id

    async def create(
        self,
        by: By,
        tenant_id: TenantId,
        user: str,
        *,
        access_key_id: str = "",
        secret_key: str = "",
        description: str = "",
        expires_us: int = 0,
        scope: str = "",
        per_user_max: int | None = AS_SET,
        is_root: bool = False,
    ) -> NewAccessKey:
        """Make a key, generated or brought along, and return its secret: the only time.

        ``scope`` is a policy that narrows what the key may do. ``per_user_max`` holds where the
        user has no limit of its own; None is no limit, ``AS_SET`` the installation's setting.
        ``is_root``: the key is of the tenant's root, and ``user`` is not looked at.

        Raises:
            ValidationError: Id, secret, description or expiry has not its form.
            MalformedPolicyDocument: The scope is no policy.
            NoSuchEntity: There is no such user.
            EntityAlreadyExists: The id is another key's, or was: ids are never given again.
            LimitExceeded: The user or the tenant has as many keys as may be.

        A key that an expiring one makes, or a session that came from an expiring one, ends with it
        at the latest: otherwise whoever has a key for a day would have one for good. What a key
        with a scope makes has that scope, for the same reason.
        """
        if bool(access_key_id) != bool(secret_key):
            raise ValidationError("A key that is brought along has both an id and a secret.")
        if access_key_id:
            require_importable(access_key_id, secret_key)
        else:
            access_key_id, secret_key = new_access_key_id(), new_secret_key()
        require_text("A description", description, limits.DESCRIPTION_CHARS_MAX)
        if expires_us and expires_us <= self._clock.now_us():
            raise ValidationError("A key can't expire in the past.")
        expires_us = self._within(by, expires_us)
        if scope:
            require_policy(scope, PolicyKind.SESSION)
        if by.scope:
            if scope and scope.encode() != by.scope:
                raise ValidationError("A key with a scope makes keys of the same scope only.")
            scope = by.scope.decode()
        # Under the id that it is bound to; so a secret can't be moved to another key.
        sealed = self._identity.seal_secret(access_key_id, secret_key)

        def work(session: Session, changes: Changes) -> NewAccessKey:
            account = account_of(session, tenant_id)
            owner = _root(session, tenant_id) if is_root else require_user(session, tenant_id, user)
            key = access_keys.create(
                session,
                access_key_id=access_key_id,
                tenant_id=tenant_id,
                user_id=owner.user_id,
                sealed_secret=sealed,
                description=description,
                expires_us=expires_us,
                scope=scope.encode(),
                per_user_max=(
                    settings.in_force(session).access_keys_per_user
                    if per_user_max == AS_SET
                    else per_user_max
                ),
                now_us=changes.now_us,
            )
            changes.touch(Entity("credential", access_key_id))
            changes.audit(
                "iam:CreateAccessKey",
                _arn(account, owner),
                {"access_key": access_key_id, "expires_us": expires_us, "scope": scope},
            )
            return NewAccessKey(
                access_key_id=access_key_id,
                secret_key=secret_key,
                user_name=owner.name,
                user_id=owner.user_id,
                created_us=key.created_us,
            )

        return await self._accounts.change(by, tenant_id, work)

    async def list(
        self,
        tenant_id: TenantId,
        user: str = "",
        *,
        marker: str = "",
        limit: int = PAGE_ITEMS,
    ) -> Page[AccessKey]:
        """Return a user's keys by id; without a user, the tenant's.

        Raises:
            NoSuchEntity: There is no such user.
        """
        require_limit(limit)

        def work(session: Session) -> Page[AccessKey]:
            if user:
                owner = require_user(session, tenant_id, user)
                found = access_keys.list_page(session, owner.user_id, marker=marker, limit=limit)
            else:
                found = access_keys.tenant_page(session, tenant_id, marker=marker, limit=limit)
            return page_of([_shown(session, key) for key in found.items], found.marker)

        return await self._accounts.read(work)

    async def get(self, tenant_id: TenantId, access_key_id: str) -> AccessKey:
        """Return a key, with its last use.

        Raises:
            NoSuchEntity: The tenant has none with this id.
        """

        def work(session: Session) -> AccessKey:
            return _shown(session, _key(session, tenant_id, "", access_key_id))

        return await self._accounts.read(work)

    async def last_used(self, tenant_id: TenantId, access_key_id: str) -> AccessKey:
        """Return a key, with its last use: as ``get`` does, in IAM's word.

        Raises:
            NoSuchEntity: The tenant has none with this id.
        """
        return await self.get(tenant_id, access_key_id)

    async def set_enabled(
        self, by: By, tenant_id: TenantId, user: str, access_key_id: str, *, enabled: bool
    ) -> None:
        """Let a key work, or not any more from the next request on; no ``user``: whosever it is.

        Raises:
            NoSuchEntity: The user, or the tenant, has no such key.
            ValidationError: It is to work, and may do more or lasts longer than the key at work,
                which could not have made it.
        """
        key = await self._find(tenant_id, user, access_key_id)
        if enabled:
            self._require_no_more(by, key)

        def work(session: Session, changes: Changes) -> None:
            access_keys.update(session, key.access_key_id, changes.now_us, enabled=enabled)
            changes.touch(_entity(key))
            state = "Active" if enabled else "Inactive"
            _note(session, changes, key, "iam:UpdateAccessKey", {"status": state})

        removes = () if enabled else (_entity(key),)
        await self._accounts.change(by, tenant_id, work, removes=removes)

    async def delete(self, by: By, tenant_id: TenantId, user: str, access_key_id: str) -> None:
        """Remove a key for good; its id stays taken. No ``user``: whosever it is.

        Raises:
            NoSuchEntity: The user, or the tenant, has no such key.
        """
        key = await self._find(tenant_id, user, access_key_id)

        def work(session: Session, changes: Changes) -> None:
            touch(changes, access_keys.delete(session, key.access_key_id, changes.now_us))
            _note(session, changes, key, "iam:DeleteAccessKey", {})

        await self._accounts.change(by, tenant_id, work, removes=(_entity(key),))

    def _require_no_more(self, by: By, key: AccessKeyView) -> None:
        end_us = self._end(by)
        if by.scope and key.scope != by.scope:
            raise ValidationError("A key with a scope enables keys of the same scope only.")
        if end_us and not 0 < key.expires_us <= end_us:
            raise ValidationError("An expiring key can't enable one that lasts longer than itself.")

    def _end(self, by: By) -> int:
        """Return when the key at work ends, or the one that its session came from; 0 is never."""
        acting = self._identity.find_credential_now(by.access_key_id)
        return by.ends_us if acting is None else acting.expires_us

    def _within(self, by: By, expires_us: int) -> int:
        """Return when a key ends that somebody makes: as asked, or when the key at work does.

        Raises:
            ValidationError: More was asked for.
        """
        end_us = self._end(by)
        if not end_us:
            return expires_us
        if expires_us > end_us:
            raise ValidationError("An expiring key can't make one that lasts longer than itself.")
        return expires_us or end_us

    async def _find(self, tenant_id: TenantId, user: str, access_key_id: str) -> AccessKeyView:
        return await self._accounts.read(
            lambda session: _key(session, tenant_id, user, access_key_id)
        )


def _key(session: Session, tenant_id: TenantId, user: str, access_key_id: str) -> AccessKeyView:
    found = access_keys.find(session, access_key_id)
    owner_id = require_user(session, tenant_id, user).user_id if user else ""
    if (
        found is None
        or found.deleted_us
        or found.tenant_id != tenant_id
        or (owner_id and found.user_id != owner_id)
    ):
        raise NoSuchEntity(f"The access key with id {access_key_id} cannot be found.")
    _refuse_installation_root(users.get(session, found.user_id))
    return found


def _root(session: Session, tenant_id: TenantId) -> UserView:
    found = users.find_root(session, tenant_id)
    if found is None:
        raise NoSuchEntity("The tenant has no root.")
    _refuse_installation_root(found)
    return found


def _refuse_installation_root(owner: UserView) -> None:
    if owner.is_root:
        raise ValidationError(
            "The installation's root key is root_access_key in the settings: change it there."
        )


def _arn(account: TenantView, owner: UserView) -> str:
    if owner.kind == "root":
        return arns.of_root(account.account_id)
    return arn(account, "user", owner.path, owner.name)


def _entity(key: AccessKeyView) -> Entity:
    return Entity("credential", key.access_key_id)


def _note(
    session: Session,
    changes: Changes,
    key: AccessKeyView,
    action: str,
    detail: dict[str, object],
) -> None:
    owner: UserView = users.get(session, key.user_id)
    account = account_of(session, key.tenant_id)
    changes.audit(
        action,
        _arn(account, owner),
        {"access_key": key.access_key_id, **detail},
    )


def _shown(session: Session, key: AccessKeyView) -> AccessKey:
    return AccessKey(
        access_key_id=key.access_key_id,
        user_name=users.get(session, key.user_id).name,
        user_id=key.user_id,
        enabled=key.enabled,
        description=key.description,
        scope=key.scope.decode(),
        created_us=key.created_us,
        expires_us=key.expires_us,
        last_used_us=key.last_used_us,
        last_used_service=key.last_used_service,
        last_used_region=key.last_used_region,
    )
