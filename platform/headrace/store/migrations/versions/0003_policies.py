"""Run policies, attempts, and the ledger of schedules' slots."""

import sqlalchemy as sa
from alembic import op

from headrace.store.column_types import UtcDateTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("pipelines", sa.Column("policy", sa.Text(), server_default="{}", nullable=False))
    op.add_column("runs", sa.Column("priority", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("dagster_run_id", sa.String(length=100), nullable=True),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=False),
        sa.Column("error_code", sa.String(length=100), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.id"], name=op.f("attempts_run_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "attempt", name=op.f("attempts_pkey")),
    )
    op.create_table(
        "slots",
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("scheduled_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("outcome IN ('run', 'waiting', 'skipped')", name=op.f("slots_outcome_check")),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name=op.f("slots_pipeline_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pipeline_id", "scheduled_at", name=op.f("slots_pkey")),
    )
    op.create_index(op.f("slots_created_at"), "slots", ["created_at"])
    waiting = sa.text("outcome = 'waiting'")
    op.create_index(
        "slots_waiting", "slots", ["scheduled_at"], sqlite_where=waiting, postgresql_where=waiting
    )
