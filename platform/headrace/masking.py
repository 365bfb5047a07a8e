"""Secrets out of text: the last line of defence, behind never writing them.

A secret is looked for as it is and in the forms that programs print: JSON, URL, base64 and hex. So are the
shapes of well-known tokens, and the credentials of a URL, whosesoever they are.
"""

import base64
import json
import logging
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "**********"
_SHORTEST_ENCODED = 6  # a shorter secret's encoded forms are parts of ordinary words
SHORTEST_ANYWHERE = 4  # a shorter secret is masked as a whole word only
_SHAPES = re.compile(
    "|".join(
        (
            r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)",  # user:password of a URL
            r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # JSON web token (RFC 7519)
            r"\bgh[pousr]_\w{30,}|\bgithub_pat_\w{30,}",
            r"\bpat-(?:na|eu)\d-[0-9a-f-]{30,}",  # HubSpot private app
            r"\bxox[abeoprs]-[\w-]{10,}",  # Slack
            r"\b[rs]k_(?:live|test)_\w{16,}",  # Stripe
            r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS access key id
            r"\bAIza[\w-]{35}",  # Google API key
            r"\bya29\.[\w-]{20,}",  # Google access token
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
            r"(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]{8,}",  # an Authorization header
        )
    )
)


class MaskingFilter(logging.Filter):
    """Masks the secrets in each record that passes through a logger or a handler."""

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__()
        forms = {form for secret in secrets for form in _forms(secret)}
        # Longest first: a secret that begins with another one must not leave its tail behind.
        patterns = [_pattern(form) for form in sorted(forms, key=len, reverse=True)]
        self._secrets = re.compile("|".join(patterns)) if patterns else None

    def mask(self, text: str) -> str:
        """Return the text with a mask in the place of every secret."""
        if self._secrets is not None:
            text = self._secrets.sub(MASK, text)
        return _SHAPES.sub(MASK, text)

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record's message and drop its traceback, whose lines quote values; let it pass."""
        record.msg = self.mask(record.getMessage())
        record.args = ()
        record.exc_info = record.exc_text = record.stack_info = None
        return True


def _forms(secret: str) -> Iterator[str]:
    """Every text that gives the secret away."""
    for part in (secret, *_parts(secret)):
        if part.strip():
            yield part
        if len(part) >= _SHORTEST_ENCODED:
            yield from _encoded(part)


def _parts(secret: str) -> Iterator[str]:
    """What is secret on its own inside a longer secret: a URL's password, a key file's texts."""
    if "://" in secret:
        try:
            password = urlsplit(secret).password
        except ValueError:
            password = None
        if password:
            yield from (password, unquote(password))
    elif secret.lstrip().startswith("{"):
        try:
            values = json.loads(secret)
        except ValueError:
            return
        yield from (value for value in values.values() if isinstance(value, str) and len(value) >= 20)


def _encoded(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "replace")
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield from (quote(secret), quote(secret, safe=""), quote_plus(secret))
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):
        # Base64 encodes three bytes at a time: what stands before decides among three forms. The first and
        # the last digits also hold bits of the neighbours, so they are left out.
        first, last = (0, 2, 3)[shift], len(raw) + shift
        digits = base64.b64encode(b"\0" * shift + raw).rstrip(b"=").decode()
        core = digits[first : last * 8 // 6]
        yield from (core, core.translate(str.maketrans("+/", "-_")))


def _pattern(form: str) -> str:
    escaped = re.escape(form)
    return escaped if len(form) >= SHORTEST_ANYWHERE else rf"(?<!\w){escaped}(?!\w)"


def masked_logger(target: logging.Logger, masking: MaskingFilter) -> logging.Logger:
    """Return a logger for the connectors whose masked messages go to `target`."""
    logger = logging.Logger("headrace.run", logging.DEBUG)
    handler = _Forward(target)
    handler.addFilter(masking)
    logger.addHandler(handler)
    return logger


class _Forward(logging.Handler):
    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        self._target.log(record.levelno, "%s", record.getMessage())
