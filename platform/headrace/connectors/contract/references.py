"""The form of references: texts such as `env://PIPELINE_TOKEN` that stand for a value kept elsewhere.

A whole value may be a reference, and a longer one may hold some as `${env://HOST}`. They are resolved in a
run's worker only, by `headrace.pipeline.references`.
"""

import re
from functools import cache
from importlib.metadata import entry_points

BUILT_IN = frozenset({"env", "file", "gsm", "vault"})
INLINE = re.compile(r"\$\{(([a-z][a-z0-9+.-]*)://[^}\s]+)\}")
_WHOLE = re.compile(r"([a-z][a-z0-9+.-]*)://\S+")


@cache
def schemes() -> frozenset[str]:
    """Return the schemes that some provider resolves: the built-in ones and those of packages."""
    return BUILT_IN | {entry.name for entry in entry_points(group="headrace.references")}


def is_reference(text: str) -> bool:
    """Whether a text as a whole is a reference, and so no secret itself."""
    found = _WHOLE.fullmatch(text)
    return found is not None and found[1] in schemes()


def refers(text: str, *, is_secret: bool) -> bool:
    """Whether a text is a reference or holds one."""
    if is_reference(text):
        return is_secret or not text.startswith("file://")
    return any(found[2] in schemes() for found in INLINE.finditer(text))
