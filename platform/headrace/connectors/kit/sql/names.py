"""Names and values written into SQL text, for the databases that follow the standard's quoting."""


def quoted(*names: str) -> str:
    """Return a name, or a qualified one, as SQL text: `quoted("a", 'b"c')` is `"a"."b""c"`."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def literal(text: str) -> str:
    """Return a string constant of standard SQL. A backslash has no meaning in it, and NUL must not occur."""
    return "'" + text.replace("'", "''") + "'"


def listed(names: "tuple[str, ...] | list[str]") -> str:
    """Return quoted names, separated by commas."""
    return ", ".join(quoted(name) for name in names)
