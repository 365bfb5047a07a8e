"""Sync state: how far each pipeline has read."""

import sqlalchemy as sa
from alembic import op

from headrace.store.column_types import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "states",
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("load_id", sa.Uuid(), nullable=True),
        sa.Column("demand", sa.String(length=10), nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint("demand IN ('set', 'reset')", name=op.f("states_demand_check")),
        sa.ForeignKeyConstraint(
            ["organization_id", "pipeline_id"],
            ["pipelines.organization_id", "pipelines.id"],
            name=op.f("states_organization_id_pipeline_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pipeline_id", name=op.f("states_pkey")),
    )
