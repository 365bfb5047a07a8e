"""An Atom feed as a source: XML, which no connector reads by configuration alone."""

from urllib.request import urlopen
from xml.etree import ElementTree

ATOM = "{http://www.w3.org/2005/Atom}"


def entries(url, cursor, log):
    """Yield the feed's entries that were published after the cursor."""
    log.info("Reading %s", url)
    with urlopen(url) as answer:
        feed = ElementTree.parse(answer)
    for entry in feed.iter(f"{ATOM}entry"):
        published = entry.findtext(f"{ATOM}published")
        if cursor is None or published > cursor:
            yield {
                "id": entry.findtext(f"{ATOM}id"),
                "title": entry.findtext(f"{ATOM}title"),
                "tags": [tag.get("term") for tag in entry.iter(f"{ATOM}category")],
                "published": published,
            }
