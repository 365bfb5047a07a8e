"""The first schema."""

import sqlalchemy as sa
from alembic import op

from headrace.store.column_types import UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "catalogue",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("catalogue_pkey")),
    )
    op.create_table(
        "organizations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("organizations_pkey")),
    )
    op.create_table(
        "domains",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("color", sa.String(length=7), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=("domains_organization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=("domains_pkey")),
        sa.UniqueConstraint("organization_id", "id", name=("domains_organization_id_id_key")),
        sa.UniqueConstraint("organization_id", "name", name=("domains_organization_id_name_key")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("answer_key_id", sa.String(length=16), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=("idempotency_keys_organization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=("idempotency_keys_pkey")),
        sa.UniqueConstraint("organization_id", "key", name=("idempotency_keys_organization_id_key_key")),
    )
    op.create_index(("idempotency_keys_answer_key_id"), "idempotency_keys", ["answer_key_id"], unique=False)
    op.create_index(("idempotency_keys_created_at"), "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("reads_secrets", sa.Boolean(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.Column("expires_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'editor', 'viewer')", name=("tokens_role_check")),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=("tokens_organization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=("tokens_pkey")),
        sa.UniqueConstraint("hash", name=("tokens_hash_key")),
    )
    op.create_table(
        "pipelines",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("stream", sa.String(length=1000), nullable=False),
        sa.Column("destination", sa.String(length=200), nullable=False),
        sa.Column("sync_mode", sa.String(length=20), nullable=False),
        sa.Column("schedule", sa.String(length=100), nullable=True),
        sa.Column("timezone", sa.String(length=100), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("domain_id", sa.Uuid(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("config", sa.LargeBinary(), nullable=True),
        sa.Column("config_revision", sa.Integer(), nullable=False),
        sa.Column("config_key_id", sa.String(length=16), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.Column("purged_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["organization_id", "domain_id"],
            ["domains.organization_id", "domains.id"],
            name=("pipelines_organization_id_domain_id_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=("pipelines_organization_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=("pipelines_pkey")),
        sa.UniqueConstraint("organization_id", "id", name=("pipelines_organization_id_id_key")),
    )
    op.create_index(("pipelines_config_key_id"), "pipelines", ["config_key_id"], unique=False)
    op.create_index("pipelines_newest", "pipelines", ["organization_id", "created_at", "id"], unique=False)
    op.create_index(("pipelines_sequence"), "pipelines", ["sequence"], unique=False)
    op.create_table(
        "pipeline_tags",
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("tag", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["pipeline_id"], ["pipelines.id"], name=("pipeline_tags_pipeline_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pipeline_id", "position", name=("pipeline_tags_pkey")),
    )
    op.create_index(("pipeline_tags_tag"), "pipeline_tags", ["tag"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("triggered_by", sa.String(length=10), nullable=False),
        sa.Column("scheduled_at", UtcDateTime(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("dagster_run_id", sa.String(length=100), nullable=True),
        sa.Column("launches", sa.Integer(), nullable=False),
        sa.Column("launch_at", UtcDateTime(), nullable=True),
        sa.Column("stop_at", UtcDateTime(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("phase", sa.String(length=20), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("output_file", sa.Text(), nullable=True),
        sa.Column("output_file_size", sa.BigInteger(), nullable=True),
        sa.Column("error_code", sa.String(length=100), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('pending', 'running', 'success', 'failed', 'cancelled')", name=("runs_status_check")
        ),
        sa.CheckConstraint("triggered_by IN ('manual', 'schedule')", name=("runs_triggered_by_check")),
        sa.ForeignKeyConstraint(
            ["organization_id", "pipeline_id"],
            ["pipelines.organization_id", "pipelines.id"],
            name=("runs_organization_id_pipeline_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=("runs_pkey")),
        sa.UniqueConstraint("pipeline_id", "scheduled_at", name=("runs_pipeline_id_scheduled_at_key")),
    )
    op.create_index(("runs_dagster_run_id"), "runs", ["dagster_run_id"], unique=False)
    op.create_index(
        "runs_due_launch_at",
        "runs",
        ["launch_at"],
        unique=False,
        sqlite_where=sa.text("launch_at IS NOT NULL"),
        postgresql_where=sa.text("launch_at IS NOT NULL"),
    )
    op.create_index(
        "runs_due_lease_until",
        "runs",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        "runs_due_stop_at",
        "runs",
        ["stop_at"],
        unique=False,
        sqlite_where=sa.text("stop_at IS NOT NULL"),
        postgresql_where=sa.text("stop_at IS NOT NULL"),
    )
    op.create_index("runs_newest", "runs", ["organization_id", "created_at", "id"], unique=False)
    op.create_index(
        "runs_newest_by_status", "runs", ["organization_id", "status", "created_at", "id"], unique=False
    )
    op.create_index("runs_newest_of_pipeline", "runs", ["pipeline_id", "created_at", "id"], unique=False)
    op.create_index(
        "runs_one_active",
        "runs",
        ["pipeline_id"],
        unique=True,
        sqlite_where=sa.text("status IN ('pending', 'running')"),
        postgresql_where=sa.text("status IN ('pending', 'running')"),
    )
    op.execute("INSERT INTO catalogue (id, sequence) VALUES (1, 0)")
