"""A database whose tables are of another time than this program."""

from headrace.errors import StartupError


class NewerSchema(StartupError):
    """The database's tables were made by a newer version of Headrace."""

    code = "database.newer_schema"
    title = "Database of a newer version"
    hint = "Install that version again, or restore a backup from before the upgrade."
