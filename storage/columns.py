"""What the tables are made of: the metadata that Alembic compares the database with, and the columns that recur."""

from sqlalchemy import Column, DateTime, ForeignKey, ForeignKeyConstraint, Integer, MetaData, Uuid, text

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)

NOW = text("now()")
EMPTY_TEXTS = text("'{}'::text[]")
EMPTY_LIST = text("'[]'::jsonb")
EMPTY_OBJECT = text("'{}'::jsonb")
ZERO = text("0")


def time(name: str, *, required: bool = False) -> Column[object]:
    """Return a point in time."""
    return Column(name, DateTime(timezone=True), nullable=not required)


def now(name: str) -> Column[object]:
    """Return the time at which the row was made."""
    return Column(name, DateTime(timezone=True), nullable=False, server_default=NOW)


def count(name: str) -> Column[int]:
    """Return a number that starts at zero."""
    return Column(name, Integer, nullable=False, server_default=ZERO)


def tenant() -> Column[object]:
    """Return whose the row is."""
    return Column("tenant_id", Uuid, ForeignKey("tenants.id", ondelete="CASCADE"), nullable=False)


def of_job() -> tuple[Column[object], Column[object], ForeignKeyConstraint]:
    """Tie a row to a job of the same tenant: a foreign key alone would look past row-level security."""
    return (
        Column("tenant_id", Uuid, nullable=False),
        Column("job_id", Uuid, nullable=False),
        ForeignKeyConstraint(("tenant_id", "job_id"), ("jobs.tenant_id", "jobs.id"), ondelete="CASCADE"),
    )
