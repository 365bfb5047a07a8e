"""What a connector raises when it fails; the text is fit for a user's eyes."""

from typing import ClassVar

from headrace.errors import HeadraceError


class ConnectorError(HeadraceError):
    """A source or a destination failed. The detail is fit for a user's eyes and holds no secret.

    Raise it `from None` where the cause's text or arguments may hold one (drivers put connection strings and
    parameters there). `temporary` says that the same run may succeed later, unchanged.
    """

    code = "connector.failed"
    title = "Connector failed"
    temporary: ClassVar[bool] = False


class Unreachable(ConnectorError):
    """The system did not answer: name resolution, connection, time-out, or its own 5xx."""

    code = "connector.unreachable"
    title = "System unreachable"
    hint = "Check the address, the network and that the system is up; then run again."
    temporary = True


class Untrusted(Unreachable):
    """The server's certificate is not trusted, or is another host's. A retry would find the same one."""

    code = "connector.untrusted"
    title = "Certificate not trusted"
    hint = "Check the host's name, the certificate's dates, and the authorities that this machine trusts."
    temporary = False


class Unauthorized(ConnectorError):
    """The system refused the credentials, or what they may do."""

    code = "connector.unauthorized"
    title = "Credentials refused"
    hint = "Check the credentials of the pipeline and what they are allowed to read or write."


class Unreadable(ConnectorError):
    """The source answered with something that is not what the connector reads."""

    code = "source.unreadable"
    title = "Unreadable source"


class CutShort(Unreadable):
    """`max_iterations` ended a read in no order; the next run would append the same rows again."""

    code = "source.cut_short"
    title = "Trial cannot be continued"
    hint = (
        "Nothing was loaded. Leave `max_iterations` out, try the source with `sync_mode: full_refresh`, or "
        "merge the rows on a primary key."
    )


class Rejected(ConnectorError):
    """The destination did not take the data: a schema conflict, a constraint, a limit."""

    code = "destination.rejected"
    title = "Destination rejected the data"


class OutOfSpace(Rejected):
    """The system has no room left on its disk. The same run may succeed when there is some again."""

    code = "connector.out_of_space"
    title = "No space left"
    hint = "Make room where the system stores its data; then run again."
    temporary = True


class SchemaConflict(Rejected):
    """A column of the data does not fit the table's, and no widening keeps the values of both."""

    code = "destination.schema_conflict"
    title = "Schema conflict"
    hint = "Cast the column with a transform, change the table yourself, or load into another table."

    def __init__(self, column: str, detail: str) -> None:
        super().__init__(f"Column {column!r} {detail}", context={"column": column})


class SchemaFrozen(SchemaConflict):
    """The data needs another table than the one that is there, and the pipeline's contract keeps that one."""

    code = "destination.schema_frozen"
    title = "Schema is frozen"
    hint = "Change the table yourself, leave the column out with a transform, or let the schema evolve."


class MovedOn(ConnectorError):
    """Another load of the same pipeline was committed after this run had read its cursor."""

    code = "destination.moved_on"
    title = "Another load came between"
    hint = "Nothing was loaded. The next attempt goes on from the cursor that the other load has stored."
    temporary = True


class TableOwned(Rejected):
    """The table belongs to another pipeline, or to somebody who is not Headrace."""

    code = "destination.table_owned"
    title = "Table belongs to another"
    hint = (
        "Load into another table. In `destination`, set `shared: true` where several pipelines append to one "
        "table or merge into it, or `adopt: true` to take the table over."
    )
