"""Alembic's entry: runs the migrations on the connection that `backend.store.schema` hands over."""

from __future__ import annotations

from alembic import context

from backend.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    compare_type=True,
    user_module_prefix="types.",
)
with context.begin_transaction():
    context.run_migrations()
