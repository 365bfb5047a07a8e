"""Entity tags, and the preconditions that name them: `If-Match`, `If-None-Match` (RFC 9110, section 13)."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from headrace_api.http.problems import HttpError

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*{_TAG}\s*(?:,\s*{_TAG}\s*)*,?")
_REVISION = re.compile(r"([1-9]\d{0,9})(-masked)?", re.ASCII)
_NO_REVISION = 0


class MalformedTags(HttpError):
    """`If-Match` or `If-None-Match` is neither `*` nor a list of entity tags."""

    code = "request.malformed_tags"
    title = "Malformed entity tags"
    hint = 'Send the ETag exactly as received, with its quotation marks, such as `If-Match: "3"`.'
    status = 400


def revision_tag(revision: int, *, masked: bool = False) -> str:
    """Return the strong entity tag of a resource at a revision, or of its form with masked secrets."""
    return f'"{revision}-masked"' if masked else f'"{revision}"'


def content_tag(content: bytes) -> str:
    """Return the strong entity tag of a resource that has no revision."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@dataclass(frozen=True, kw_only=True)
class IfMatch:
    """The revisions that a change may be based on."""

    revisions: frozenset[int] | None  # None: any revision

    def revision(self, newest: Callable[[], int]) -> int | None:
        """Return the revision that the change must be based on: None for any, 0 (which never exists) for
        none.

        If the header names several revisions, this is the newest if the header names it; only then is
        `newest` called.
        """
        if self.revisions is None:
            return None
        if len(self.revisions) == 1:
            return next(iter(self.revisions))
        present = newest() if self.revisions else _NO_REVISION
        return present if present in self.revisions else _NO_REVISION


def if_match(request: Request) -> IfMatch:
    """Read `If-Match`. Without it, or with `*`, every revision matches. Raises MalformedTags."""
    tags = _tags(request, "if-match")
    if tags is None or tags == ["*"]:
        return IfMatch(revisions=None)
    # Weak tags never match, because `If-Match` uses strong comparison.
    found = (_REVISION.fullmatch(tag.strip('"')) for tag in tags if not tag.startswith("W/"))
    return IfMatch(revisions=frozenset(int(match[1]) for match in found if match))


def is_known(request: Request, etag: str) -> bool:
    """Return whether `If-None-Match` names the tag, so the answer is 304. Raises MalformedTags."""
    tags = _tags(request, "if-none-match")
    return tags is not None and (tags == ["*"] or etag in [tag.removeprefix("W/") for tag in tags])


def _tags(request: Request, header: str) -> list[str] | None:
    values = request.headers.getlist(header)
    if not values:
        return None
    text = ",".join(values).strip()
    if text == "*":
        return ["*"]
    if not _TAGS.fullmatch(text):
        raise MalformedTags("The header is not a list of entity tags.")
    return re.findall(_TAG, text)
