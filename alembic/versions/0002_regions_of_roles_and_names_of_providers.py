"""The region in which a role was last used, and names of providers as long as their URLs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No region yet for the roles that exist: no use of them was ever written."""
    op.add_column(
        "roles",
        sa.Column("last_used_region", sa.String(length=64), nullable=False, server_default=""),
    )
    with op.batch_alter_table("identity_providers") as table:
        for column in ("name", "name_key"):
            table.alter_column(
                column,
                existing_type=sa.String(length=128),
                type_=sa.String(length=255),
                existing_nullable=False,
            )
