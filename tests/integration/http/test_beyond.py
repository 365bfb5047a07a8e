"""Domains, tokens, connectors and the service itself: the endpoints beyond the original contract."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest


def test_a_domain_is_created_changed_and_deleted(client):
    created = client.post(
        "/api/domains", json={"name": "Marketing", "description": "Ads", "color": "#2563eb"}
    )
    path = created.headers["location"]

    updated = client.put(path, json={"description": None}, headers={"If-Match": created.headers["etag"]})

    assert list(created.json()) == ["id", "name", "description", "color", "created_at", "updated_at"]
    assert updated.json() == client.get(path).json()
    assert (updated.json()["description"], updated.json()["color"]) == (None, "#2563eb")
    assert client.delete(path, headers={"If-Match": '"1"'}).status_code == 412
    assert client.delete(path).status_code == 204
    assert client.get(path).json()["code"] == "domain.not_found"


def test_names_of_domains_are_unique(client, stranger):
    client.post("/api/domains", json={"name": "A"})
    other = client.post("/api/domains", json={"name": "B"}).headers["location"]

    assert client.post("/api/domains", json={"name": "A"}).status_code == 409
    assert client.put(other, json={"name": "A"}).json()["code"] == "domain.name_taken"
    assert stranger.post("/api/domains", json={"name": "A"}).status_code == 201


def test_a_domain_that_holds_pipelines_stays(client, create):
    path = client.post("/api/domains", json={"name": "A"}).headers["location"]
    pipeline = create(domain_id=path.rpartition("/")[2])

    assert client.delete(path).json()["code"] == "domain.in_use"

    client.put(f"/api/pipelines/{pipeline['id']}", json={"domain_id": None})
    assert client.delete(path).status_code == 204


@pytest.mark.parametrize("fields", [{"color": "blue"}, {"color": "#FFF"}, {"name": " "}, {"icon": "x"}])
def test_fields_of_a_domain_are_checked(client, fields):
    assert client.post("/api/domains", json={"name": "A", **fields}).status_code == 422


def test_a_tokens_secret_is_shown_once_and_works_until_the_token_is_revoked(service, client):
    created = client.post("/api/tokens", json={"name": "CI", "role": "viewer"})
    token = created.json()

    listed = client.get("/api/tokens")

    assert created.headers["cache-control"] == "no-store"
    assert token["token"].startswith("headrace_")
    assert token["token"] not in listed.text
    assert {item["name"] for item in listed.json()} >= {"CI"}
    with service.client(token["token"]) as bearer:
        assert bearer.get("/api/pipelines").status_code == 200
        assert client.delete(created.headers["location"]).status_code == 204
        assert bearer.get("/api/pipelines").status_code == 401
    assert client.delete(created.headers["location"]).json()["code"] == "token.not_found"


def test_only_an_owner_reads_secrets_unless_the_token_says_otherwise(client):
    def reads(**fields):
        return client.post("/api/tokens", json={"name": "X", **fields}).json()["reads_secrets"]

    assert [reads(role=role) for role in ("owner", "editor", "viewer")] == [True, False, False]
    assert reads(role="viewer", reads_secrets=True)


def test_a_tokens_expiry_must_be_in_the_future(client):
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()

    def status(expires_at):
        body = {"name": "X", "role": "viewer", "expires_at": expires_at}
        return client.post("/api/tokens", json=body).status_code

    assert [status(each) for each in (soon, "2020-01-01T00:00:00Z", "2999-01-01T00:00:00")] == [201, 422, 422]


def test_the_last_owner_token_stays(client):
    own = next(token for token in client.get("/api/tokens").json() if token["role"] == "owner")

    assert client.delete(f"/api/tokens/{own['id']}").json()["code"] == "token.last_owner"


def test_an_organizations_tokens_are_its_own(client, stranger):
    token = client.post("/api/tokens", json={"name": "CI", "role": "viewer"}).json()

    assert stranger.delete(f"/api/tokens/{token['id']}").status_code == 404
    assert token["id"] not in stranger.get("/api/tokens").text


def test_the_catalogue_describes_each_connectors_config(client):
    sources = {source["name"]: source for source in client.get("/api/connectors/sources").json()}
    destinations = client.get("/api/connectors/destinations").json()

    assert {"dummy", "hubspot", "postgres"} <= set(sources)
    assert {"bigquery", "file", "logger", "postgres"} <= {each["name"] for each in destinations}
    assert sources["dummy"]["streams"][0] == {
        "name": "creatures",
        "description": "",
        "sync_modes": ["full_refresh", "incremental"],
        "primary_key": ["id"],
        "cursor_field": "updated_at",
    }
    assert sources["postgres"]["config_schema"]["type"] == "object"
    assert '"writeOnly":true' in client.get("/api/connectors/sources").text


@pytest.mark.parametrize("kind", ["source", "sources"])
def test_a_connector_is_checked(client, kind):
    response = client.post(f"/api/connectors/{kind}/dummy/check", json={"config": {}})

    assert (response.status_code, response.json()["success"]) == (200, True)


def test_a_check_of_a_system_that_does_not_answer_is_200(client):
    config = {"host": "127.0.0.1", "port": 1, "database": "x", "user": "x", "password": "hunter2-hunter2"}

    response = client.post("/api/connectors/sources/postgres/check", json={"config": config})

    assert (response.status_code, response.json()["success"]) == (200, False)
    assert response.json()["message"]
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    ("path", "status"), [("source/nothing", 404), ("places/dummy", 404), ("sources/dummy", 422)]
)
def test_a_check_that_cannot_be_made_is_refused(client, path, status):
    response = client.post(f"/api/connectors/{path}/check", json={"config": {"surprise": 1}})

    assert response.status_code == status
    if status == 422:
        assert response.json()["errors"][0]["pointer"] == "/config/surprise"


def test_a_streams_first_records_are_shown(client):
    body = {"config": {"records": 50}, "stream": "creatures", "limit": 2}

    preview = client.post("/api/connectors/sources/dummy/preview", json=body)

    assert preview.status_code == 200
    assert preview.json()["columns"][0] == {"name": "id", "type": "int64"}
    assert [record["name"] for record in preview.json()["records"]] == ["Basilisk", "Griffin"]


def test_a_sources_streams_are_listed(client):
    streams = client.post("/api/connectors/sources/dummy/streams", json={"config": {}}).json()

    assert [stream["name"] for stream in streams] == ["creatures", "plants"]


@pytest.mark.parametrize(
    ("name", "body", "status", "pointer"),
    [
        ("nothing", {"config": {}, "stream": "x"}, 404, None),
        ("dummy", {"config": {}}, 422, "/stream"),
        ("dummy", {"config": {}, "stream": "unicorns"}, 422, "/stream"),
        ("dummy", {"config": {}, "stream": "creatures", "limit": 101}, 422, "/limit"),
        ("dummy", {"config": {"records": -1}, "stream": "creatures"}, 422, "/config/records"),
    ],
)
def test_a_preview_that_cannot_be_made_is_refused(client, name, body, status, pointer):
    response = client.post(f"/api/connectors/sources/{name}/preview", json=body)

    assert response.status_code == status
    assert pointer is None or response.json()["errors"][0]["pointer"] == pointer


def test_a_system_that_refuses_a_preview_says_why(client):
    body = {"config": {"fail_after": 0}, "stream": "creatures"}

    problem = client.post("/api/connectors/sources/dummy/preview", json=body)

    assert problem.status_code == 422
    assert (problem.json()["code"], problem.json()["cause"]) == ("connector.refused", "source.unreadable")


def test_a_viewer_may_not_connect_to_systems(client_with_role):
    viewer = client_with_role("viewer")

    for action, body in (("streams", {"config": {}}), ("preview", {"config": {}, "stream": "creatures"})):
        response = viewer.post(f"/api/connectors/sources/dummy/{action}", json=body)

        assert response.status_code == 403


def test_readiness_names_each_part(service, client):
    assert client.get("/api/ready").json()["ready"]

    service.dagster.code_location = False
    response = client.get("/api/ready")

    assert response.status_code == 503
    assert {name: part["ready"] for name, part in response.json().items() if name != "ready"} == {
        "database": True,
        "dagster_webserver": True,
        "dagster_daemon": True,
        "code_location": False,
    }


def test_health_and_version_work_without_dagster(service, client):
    service.dagster.away = True

    assert client.get("/api/health").json() == {"status": "ok"}
    assert client.get("/api/version?cachebuster=1").json()["version"]


def test_stats_and_metrics_count_pipelines_and_runs(client, create, run):
    run(create())
    create(enabled=False)

    stats, metrics = client.get("/api/stats").json(), client.get("/metrics")

    assert (stats["pipelines"], stats["pipelines_enabled"], stats["active_runs"]) == (2, 1, 0)
    assert stats["runs_last_24_hours"] == {"success": 1}
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'headrace_runs_last_24_hours{status="success"} 1.0' in metrics.text
    assert 'headrace_http_requests_total{method="POST",route="/api/pipelines",status="201"}' in metrics.text


def test_metrics_have_no_series_per_id(client):
    client.get(f"/api/pipelines/{uuid4()}")
    client.get(f"/api/{uuid4()}")

    text = client.get("/metrics").text

    assert 'route="/api/pipelines/{pipeline_id}"' in text
    assert 'route="/{path}"' in text


@pytest.mark.parametrize(
    "path", ["/docs", "/docs/errors", "/docs/assets/swagger-ui-bundle.js", "/docs/assets/page.css"]
)
def test_the_pages_need_no_token_and_load_nothing_from_other_hosts(service, path):
    with service.client(None) as anonymous:
        response = anonymous.get(path)

    policy = response.headers["content-security-policy"]
    assert response.status_code == 200
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert path.startswith("/docs/assets") or "://" not in response.text


@pytest.mark.parametrize("name", ["nothing.js", "..%2fdocs.html", "docs.html", "swagger-ui.js"])
def test_no_other_file_is_served(service, name):
    with service.client(None) as anonymous:
        assert anonymous.get(f"/docs/assets/{name}").status_code in (401, 404)
