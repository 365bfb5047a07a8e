"""What each pipeline fills, what each state belongs to, and each run's receipt."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "hash_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("key_key_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("hash_keys_organization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("hash_keys_pkey")),
        sa.UniqueConstraint("organization_id", name=op.f("hash_keys_organization_id_key")),
    )
    op.add_column("pipelines", sa.Column("target", sa.String(length=64), nullable=True))
    op.add_column(
        "pipelines", sa.Column("target_use", sa.String(length=10), server_default="own", nullable=False)
    )
    op.add_column(
        "pipelines", sa.Column("target_held", sa.Boolean(), server_default=sa.true(), nullable=False)
    )
    alive = sa.text("deleted_at IS NULL AND target IS NOT NULL")
    op.create_index(
        "pipelines_of_target",
        "pipelines",
        ["organization_id", "target"],
        sqlite_where=alive,
        postgresql_where=alive,
    )
    op.add_column("states", sa.Column("identity", sa.String(length=200), nullable=True))
    op.add_column("runs", sa.Column("receipt", sa.Text(), nullable=True))
