"""How many runs each pipeline has in each state, kept by the database itself, whoever writes a run; indexes
by which each list of runs or pipelines finds its page and its length at once.

On PostgreSQL many runs that one statement inserts or deletes are counted together, and counts are locked in
the order of their keys: two transactions that remove runs of the same pipelines do not lock each other out.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_SQLITE = (
    """
    CREATE TRIGGER runs_count_new AFTER INSERT ON runs BEGIN
        INSERT INTO run_counts (organization_id, pipeline_id, status, runs)
        VALUES (NEW.organization_id, NEW.pipeline_id, NEW.status, 1)
        ON CONFLICT (organization_id, pipeline_id, status) DO UPDATE SET runs = runs + 1;
    END
    """,
    """
    CREATE TRIGGER runs_count_gone AFTER DELETE ON runs BEGIN
        UPDATE run_counts SET runs = runs - 1
        WHERE (organization_id, pipeline_id, status) = (OLD.organization_id, OLD.pipeline_id, OLD.status);
    END
    """,
    """
    CREATE TRIGGER runs_count_moved AFTER UPDATE OF status ON runs WHEN OLD.status <> NEW.status BEGIN
        UPDATE run_counts SET runs = runs - 1
        WHERE (organization_id, pipeline_id, status) = (OLD.organization_id, OLD.pipeline_id, OLD.status);
        INSERT INTO run_counts (organization_id, pipeline_id, status, runs)
        VALUES (NEW.organization_id, NEW.pipeline_id, NEW.status, 1)
        ON CONFLICT (organization_id, pipeline_id, status) DO UPDATE SET runs = runs + 1;
    END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION runs_count_new() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO run_counts AS kept (organization_id, pipeline_id, status, runs)
        SELECT organization_id, pipeline_id, status, count(*) FROM changed GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (organization_id, pipeline_id, status) DO UPDATE SET runs = kept.runs + EXCLUDED.runs;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION runs_count_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        gone record;
    BEGIN
        FOR gone IN
            SELECT organization_id, pipeline_id, status, count(*) AS runs FROM changed
            GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        LOOP
            UPDATE run_counts AS kept SET runs = kept.runs - gone.runs
            WHERE (kept.organization_id, kept.pipeline_id, kept.status)
                = (gone.organization_id, gone.pipeline_id, gone.status);
        END LOOP;
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION runs_count_moved() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE run_counts AS kept SET runs = kept.runs - 1
        WHERE (kept.organization_id, kept.pipeline_id, kept.status)
            = (OLD.organization_id, OLD.pipeline_id, OLD.status);
        INSERT INTO run_counts AS kept (organization_id, pipeline_id, status, runs)
        VALUES (NEW.organization_id, NEW.pipeline_id, NEW.status, 1)
        ON CONFLICT (organization_id, pipeline_id, status) DO UPDATE SET runs = kept.runs + 1;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER runs_count_new AFTER INSERT ON runs REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION runs_count_new()
    """,
    """
    CREATE TRIGGER runs_count_gone AFTER DELETE ON runs REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION runs_count_gone()
    """,
    """
    CREATE TRIGGER runs_count_moved AFTER UPDATE OF status ON runs
    FOR EACH ROW WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION runs_count_moved()
    """,
)


def upgrade() -> None:
    op.create_table(
        "run_counts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("pipeline_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id", "pipeline_id"],
            ["pipelines.organization_id", "pipelines.id"],
            name=op.f("run_counts_organization_id_pipeline_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("organization_id", "pipeline_id", "status", name=op.f("run_counts_pkey")),
        sqlite_with_rowid=False,
    )
    deleted = sa.text("deleted_at IS NOT NULL AND purged_at IS NULL")
    op.create_index(
        "pipelines_to_purge", "pipelines", ["organization_id"], sqlite_where=deleted, postgresql_where=deleted
    )
    alive = sa.text("deleted_at IS NULL")
    op.drop_index("pipelines_newest", table_name="pipelines")
    op.create_index(
        "pipelines_newest",
        "pipelines",
        ["organization_id", "created_at", "id"],
        sqlite_where=alive,
        postgresql_where=alive,
    )
    op.create_index(
        "runs_newest_of_pipeline_by_status",
        "runs",
        ["organization_id", "pipeline_id", "status", "created_at", "id"],
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:
        # What another process of the old version writes meanwhile waits, and is counted.
        op.execute("LOCK TABLE runs IN SHARE ROW EXCLUSIVE MODE")
    op.execute(
        "INSERT INTO run_counts (organization_id, pipeline_id, status, runs) "
        "SELECT organization_id, pipeline_id, status, count(*) FROM runs GROUP BY 1, 2, 3"
    )
    for statement in _POSTGRESQL if is_postgresql else _SQLITE:
        op.execute(statement)
