"""The tables. Migrations create them; a test in `tests/integration/store` compares the two.

Every row belongs to an organization. Times are in UTC. States are text, and the database checks them.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
    true,
)

from headrace.store.column_types import UtcDateTime

VERSION = "0005"
"""The newest migration. A process does not start with a database at another one."""


metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

hash_keys = Table(
    "hash_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False, unique=True),
    Column("key", LargeBinary, nullable=False),  # sealed
    Column("key_key_id", String(16), nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", String(10), nullable=False),
    Column("reads_secrets", Boolean(create_constraint=False), nullable=False),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 in hex of a 256-bit random secret
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime),
    Column("expires_at", UtcDateTime),
    _one_of("role", "owner", "editor", "viewer"),
)

domains = Table(
    "domains",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("description", Text),
    Column("color", String(7)),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    UniqueConstraint("organization_id", "id"),
    UniqueConstraint("organization_id", "name"),
)

catalogue = Table(
    "catalogue",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # Counts the changes of pipelines. Each such transaction updates the one row of this table, so numbers
    # become visible in order, and a reader of later changes misses none.
    Column("sequence", BigInteger, nullable=False),
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("source", String(200), nullable=False),
    Column("stream", String(1000), nullable=False),
    Column("destination", String(200), nullable=False),
    Column("sync_mode", String(20), nullable=False),
    Column("schedule", String(100)),
    Column("timezone", String(100), nullable=False),
    Column("enabled", Boolean(create_constraint=False), nullable=False),
    Column("domain_id", Uuid),
    Column(
        "policy", Text, nullable=False, server_default="{}"
    ),  # JSON of the values that differ from the defaults
    Column("revision", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False, index=True),
    Column("config", LargeBinary),  # sealed; null after deletion
    Column("config_revision", Integer, nullable=False),  # the revision to which the sealed config is bound
    Column("config_key_id", String(16), index=True),
    Column("target", String(64)),  # a keyed hash of the table that it fills; empty: none; null: not known
    Column("target_use", String(10), nullable=False, server_default="own"),  # own, shared, adopt
    # False: a copy that may not fill its table until that is found to be free.
    Column("target_held", Boolean(create_constraint=False), nullable=False, server_default=true()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),  # a tombstone, whose runs are being purged
    Column("purged_at", UtcDateTime),  # only this row is left, so that code servers notice the deletion
    ForeignKeyConstraint(["organization_id", "domain_id"], ["domains.organization_id", "domains.id"]),
    UniqueConstraint("organization_id", "id"),
)

_ALIVE = text("deleted_at IS NULL")
_TO_PURGE = text("deleted_at IS NOT NULL AND purged_at IS NULL")
Index(
    "pipelines_newest",
    pipelines.c.organization_id,
    pipelines.c.created_at,
    pipelines.c.id,
    sqlite_where=_ALIVE,
    postgresql_where=_ALIVE,
)
_FILLS = text("deleted_at IS NULL AND target IS NOT NULL")
Index(
    "pipelines_of_target",
    pipelines.c.organization_id,
    pipelines.c.target,
    sqlite_where=_FILLS,
    postgresql_where=_FILLS,
)
Index("pipelines_to_purge", pipelines.c.organization_id, sqlite_where=_TO_PURGE, postgresql_where=_TO_PURGE)

pipeline_tags = Table(
    "pipeline_tags",
    metadata,
    Column("pipeline_id", Uuid, ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("tag", String(100), nullable=False, index=True),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("pipeline_id", Uuid, nullable=False),
    Column("status", String(10), nullable=False),
    Column("triggered_by", String(10), nullable=False),
    Column("scheduled_at", UtcDateTime),  # the schedule's slot
    Column("attempt", Integer, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # The launch. The row is its own outbox.
    Column("dagster_run_id", String(100), index=True),
    Column("launches", Integer, nullable=False),
    Column("launch_at", UtcDateTime),  # when a dispatcher may launch it; null after a worker's claim
    Column("stop_at", UtcDateTime),  # when Dagster must be told to stop it; null: no need
    # The worker's claim. Only the worker with the newest fence may write.
    Column("fence", Integer, nullable=False),
    Column("lease_until", UtcDateTime),  # null unless running
    # The progress and the result.
    Column("phase", String(20)),
    Column("rows", BigInteger),
    Column("bytes", BigInteger),
    Column("output_file", Text),
    Column("output_file_size", BigInteger),
    Column("error_code", String(100)),
    Column("error", Text),
    Column("receipt", Text),  # JSON; null: the run has not ended, or an older release ended it
    ForeignKeyConstraint(
        ["organization_id", "pipeline_id"],
        ["pipelines.organization_id", "pipelines.id"],
        ondelete="CASCADE",
    ),
    UniqueConstraint("pipeline_id", "scheduled_at"),
    _one_of("status", "pending", "running", "success", "failed", "cancelled"),
    _one_of("triggered_by", "manual", "schedule"),
    Index("runs_newest_of_pipeline", "pipeline_id", "created_at", "id"),
    Index(
        "runs_newest_of_pipeline_by_status",
        "organization_id",
        "pipeline_id",
        "status",
        "created_at",
        "id",
    ),
    Index("runs_newest", "organization_id", "created_at", "id"),
    Index("runs_newest_by_status", "organization_id", "status", "created_at", "id"),
)

_ACTIVE = text("status IN ('pending', 'running')")
Index("runs_one_active", runs.c.pipeline_id, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)
# The control loops' work. Each column is null except in the few rows that are due at some time.
for _column in (runs.c.launch_at, runs.c.stop_at, runs.c.lease_until):
    _due = text(f"{_column.name} IS NOT NULL")
    Index(f"runs_due_{_column.name}", _column, sqlite_where=_due, postgresql_where=_due)

run_counts = Table(
    "run_counts",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("pipeline_id", Uuid, primary_key=True),
    Column("status", String(10), primary_key=True),
    # Written only by triggers on `runs`, in the same transaction; see migration 0004. A migration that
    # recreates `runs` must recreate the triggers. Not in an index, so PostgreSQL can update it in place.
    Column("runs", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["organization_id", "pipeline_id"],
        ["pipelines.organization_id", "pipelines.id"],
        ondelete="CASCADE",
    ),
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("dagster_run_id", String(100)),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime, nullable=False),
    Column("error_code", String(100), nullable=False),
    Column("error", Text, nullable=False),
)

slots = Table(
    "slots",
    metadata,
    Column("pipeline_id", Uuid, ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True),
    Column("scheduled_at", UtcDateTime, primary_key=True),
    Column("outcome", String(10), nullable=False),
    Column("reason", Text),
    Column("run_id", Uuid),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    _one_of("outcome", "run", "waiting", "skipped"),
)

states = Table(
    "states",
    metadata,
    Column("pipeline_id", Uuid, primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("cursor", Text),  # JSON; null: read from the start
    Column("load_id", Uuid),  # the run that loaded up to the cursor; null: a client set it
    # What a client wants of the next run, which overrides the destination's state: "set" or "reset".
    Column("demand", String(10)),
    Column("identity", String(200)),  # what the cursor belongs to; null: not known
    Column("updated_at", UtcDateTime, nullable=False),
    ForeignKeyConstraint(
        ["organization_id", "pipeline_id"],
        ["pipelines.organization_id", "pipelines.id"],
        ondelete="CASCADE",
    ),
    _one_of("demand", "set", "reset"),
)

_waiting = text("outcome = 'waiting'")
Index("slots_waiting", slots.c.scheduled_at, sqlite_where=_waiting, postgresql_where=_waiting)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("key", String(255), nullable=False),
    Column("request", String(64), nullable=False),  # SHA-256 in hex of token, method, path and body
    Column("answer", LargeBinary),  # sealed, because it may hold a new token; null: in progress
    Column("answer_key_id", String(16), index=True),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    UniqueConstraint("organization_id", "key"),
)
