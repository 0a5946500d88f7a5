"""Failed logins are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from backend.store import types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "login_failures",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("count", sa.Float(), nullable=False),
        sa.Column("updated", types.Instant(timezone=True), nullable=False),
        sa.Column("expires", types.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_login_failures"),
    )
    op.create_index("ix_login_failures_expires", "login_failures", ["expires"])


def downgrade() -> None:
    op.drop_table("login_failures")
