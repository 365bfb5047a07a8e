"""A pipeline's policy as JSON. Only values that differ from the defaults are stored."""

import json
from dataclasses import asdict
from typing import Any

from headrace.records import Missed, Overlap, Policy

_DEFAULTS = asdict(Policy())


def policy_text(policy: Policy) -> str:
    """Return a policy as JSON."""
    return json.dumps({name: value for name, value in asdict(policy).items() if value != _DEFAULTS[name]})


def policy_of(text: str) -> Policy:
    """Return the policy for its JSON."""
    stored: dict[str, Any] = json.loads(text)
    if "overlap" in stored:
        stored["overlap"] = Overlap(stored["overlap"])
    if "missed" in stored:
        stored["missed"] = Missed(stored["missed"])
    return Policy(**stored)
