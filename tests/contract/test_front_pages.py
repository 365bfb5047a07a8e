"""README.md, docs/rest-by-curl.md and the links between all pages: what they name exists."""

import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from headrace.cli import main
from headrace.connectors import registry
from headrace.pipeline.document import parse_config
from headrace_api.app import ENDPOINTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BY_CURL = (ROOT / "docs" / "rest-by-curl.md").read_text()
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_pipeline_of_the_readme_is_valid() -> None:
    [pipeline] = blocks(README, "yaml")

    parse_config(yaml.safe_load(pipeline))


def test_the_commands_of_the_readme_exist() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    groups = typer.main.get_command(main.app).commands  # type: ignore[attr-defined] - a group has them

    made = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))
    called = re.findall(r"(?:^|`|&& )(?:\.venv/bin/)?headrace ([a-z]+)(?: ([a-z]+))?", README, re.MULTILINE)

    assert made - set(targets) == set()
    assert {name for name, _ in called} - set(groups) == set()
    for group, command in called:
        assert not command or command in groups[group].commands


def curls() -> list[tuple[str, str, str | None]]:
    """The method, path and body of each request of docs/rest-by-curl.md."""
    found = []
    for block in blocks(BY_CURL, "bash"):
        for command in re.findall(r"^curl .*?(?=^(?:curl|export|#)|\Z)", block, re.MULTILINE | re.DOTALL):
            words = shlex.split(command, comments=True)
            body = words[words.index("-d") + 1] if "-d" in words else None
            method = words[words.index("-X") + 1] if "-X" in words else "POST" if body else "GET"
            [url] = [word for word in words if word.startswith("$API/")]
            found.append((method, urlsplit(url.removeprefix("$API")).path, body))
    return found


def test_each_request_by_curl_goes_to_an_endpoint() -> None:
    known = {
        (endpoint.method, re.sub(r"{[^}]+}", "[^/]+", re.sub(r":\w+}", "}", endpoint.path)))
        for endpoint in ENDPOINTS
    }

    for method, path, _ in curls():
        assert any(method == other and re.fullmatch(pattern, path) for other, pattern in known), (
            method,
            path,
        )
    assert len(curls()) > 20


def test_each_body_by_curl_is_json_and_its_config_valid() -> None:
    bodies = [json.loads(body) for _, _, body in curls() if body]

    for body in bodies:
        if "source" in body.get("config", {}):
            parse_config(body["config"])
    assert len(bodies) > 3


def test_every_connector_is_on_the_connectors_front_page() -> None:
    page = (ROOT / "docs" / "connectors" / "README.md").read_text()

    for name in {*registry.source_names(), *registry.destination_names()}:
        assert f"`{name}`" in page, name


def anchors(page: Path) -> set[str]:
    text = page.read_text()
    named = set(re.findall(r'<a id="([^"]+)"', text))
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return named | {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)

    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        parts = urlsplit(link)
        if not parts.scheme:
            target = (page.parent / parts.path).resolve() if parts.path else page
            assert target.exists(), link
            assert not parts.fragment or parts.fragment in anchors(target), link
