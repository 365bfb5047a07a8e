"""PokéAPI and GBIF as far as they page."""

from http_servers.server import Answer, Asked, Handler


def pokeapi(asked: Asked) -> Answer:
    """1,302 of each, as PokéAPI pages them."""
    start, limit = int(asked.query.get("offset", 0)), int(asked.query.get("limit", 20))
    base = f"http://{asked.headers['host']}{asked.path}"
    following = f"{base}?offset={start + limit}&limit={limit}" if start + limit < 1302 else None
    shown = [{"name": f"n{n}", "url": f"{base}{n}/"} for n in range(start, min(start + limit, 1302))]
    return Answer(body={"count": 1302, "next": following, "previous": None, "results": shown})


def gbif(count: int) -> Handler:
    """A search with so many results."""

    def handler(asked: Asked) -> Answer:
        start, limit = int(asked.query.get("offset", 0)), int(asked.query.get("limit", 20))
        if limit > (300 if "occurrence" in asked.path else 1000) or start + limit > 100_001:
            return Answer(status=400, body=b"Max offset of 100001 exceeded")
        shown = [{"key": n} for n in range(start, min(start + limit, count))]
        page = {"offset": start, "limit": limit, "count": count, "results": shown}
        return Answer(body=page | {"endOfRecords": start + limit >= count})

    return handler
