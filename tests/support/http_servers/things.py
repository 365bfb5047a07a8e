"""A small API of one list: a token, pages by cursor, and a filter by change time, oldest first."""

from http_servers.server import Answer, Asked

TOKEN = "things-token-1234567890"
_THINGS = [{"id": n, "name": f"thing {n}", "changed": f"2024-01-01T00:{n // 3:02}:00Z"} for n in range(1, 41)]


def things(asked: Asked) -> Answer:
    """Answer as that API."""
    if asked.headers.get("authorization") != f"Bearer {TOKEN}":
        return Answer(status=401, body={"message": f"Not {asked.headers.get('authorization')}."})
    found = [thing for thing in _THINGS if str(thing["changed"]) >= asked.query.get("since", "")]
    start = int(asked.query.get("after", 0))
    page = {"results": found[start : start + 15]}
    return Answer(body=page | ({"next": start + 15} if start + 15 < len(found) else {}))
