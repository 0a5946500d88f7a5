"""First tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from backend.store import types

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _users()
    _jobs()
    _stages()
    _services()


def _users() -> None:
    """Users, their tokens, processes and files."""
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("issuer", sa.String(length=255), nullable=True),
        sa.Column("subject", sa.String(length=255), nullable=True),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_index("ix_users_issuer_subject", "users", ["issuer", "subject"], unique=True)
    op.create_table(
        "tokens",
        sa.Column("hash", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("expires", types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tokens_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", name="pk_tokens"),
    )
    op.create_index("ix_tokens_user_id", "tokens", ["user_id"])
    op.create_table(
        "process_graphs",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("public", sa.Boolean(), nullable=False),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("updated", types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_process_graphs_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_process_graphs"),
    )
    op.create_table(
        "files",
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified", types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_files_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "path", name="pk_files"),
    )


def _jobs() -> None:
    """Jobs, their results and logs; synchronous requests."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("plan", sa.String(length=255), nullable=True),
        sa.Column("budget", sa.Float(), nullable=True),
        sa.Column("log_level", sa.String(length=255), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=255), nullable=False),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("updated", types.Instant(timezone=True), nullable=False),
        sa.Column("queued", types.Instant(timezone=True), nullable=True),
        sa.Column("started", types.Instant(timezone=True), nullable=True),
        sa.Column("finished", types.Instant(timezone=True), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("lease_owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", types.Instant(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sent", types.Instant(timezone=True), nullable=True),
        sa.Column("waiting_stage", sa.String(length=255), nullable=True),
        sa.Column("error_code", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_jobs_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_status_lease_until", "jobs", ["status", "lease_until"])
    op.create_index("ix_jobs_user_id", "jobs", ["user_id"])
    op.create_index("ix_jobs_waiting_stage", "jobs", ["waiting_stage"])
    op.create_table(
        "job_assets",
        sa.Column("job_id", sa.String(length=255), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.String(length=255), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("properties", sa.JSON(), nullable=False),
        sa.Column("geometry", sa.JSON(), nullable=True),
        sa.Column("bbox", sa.JSON(), nullable=True),
        sa.Column("cube", sa.JSON(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_assets_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "ordinal", name="pk_job_assets"),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_requests_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_user_id", "requests", ["user_id"])
    op.create_table(
        "job_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("source", sa.String(length=255), nullable=False),
        sa.Column("time", types.Instant(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=255), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=255), nullable=True),
        sa.Column("path", sa.JSON(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_job_logs"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_logs_source_id", "job_logs", ["source", "id"])


def _stages() -> None:
    """Stages of chains."""
    op.create_table(
        "stages",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("chain", sa.String(length=255), nullable=False),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("status", sa.String(length=255), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("remaining", sa.Integer(), nullable=False),
        sa.Column("error_code", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("updated", types.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_stages"),
    )
    op.create_table(
        "stage_tasks",
        sa.Column("stage_key", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=255), nullable=False),
        sa.Column("lease_owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", types.Instant(timezone=True), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sent", types.Instant(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=255), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["stage_key"], ["stages.key"], name="fk_stage_tasks_stage_key_stages", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("stage_key", "key", name="pk_stage_tasks"),
    )
    op.create_index("ix_stage_tasks_status_lease_until", "stage_tasks", ["status", "lease_until"])


def _services() -> None:
    """Secondary web services."""
    op.create_table(
        "services",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("process", sa.JSON(), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("plan", sa.String(length=255), nullable=True),
        sa.Column("budget", sa.Float(), nullable=True),
        sa.Column("log_level", sa.String(length=255), nullable=False),
        sa.Column("secret", sa.String(length=255), nullable=True),
        sa.Column("created", types.Instant(timezone=True), nullable=False),
        sa.Column("expires", types.Instant(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_services_user_id_users", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
    )
    op.create_index("ix_services_user_id", "services", ["user_id"])


def downgrade() -> None:
    for table in (
        "services",
        "stage_tasks",
        "stages",
        "job_logs",
        "requests",
        "job_assets",
        "jobs",
        "files",
        "process_graphs",
        "tokens",
        "users",
    ):
        op.drop_table(table)
