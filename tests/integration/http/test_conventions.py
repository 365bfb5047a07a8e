"""What holds for every endpoint: authentication, problems, bodies, lists, preconditions, idempotency."""

import errno
import logging
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from http_service import DUMMY_CONFIG

from headrace.service.pipelines import Pipelines
from headrace.store.database import DatabaseUnavailable
from headrace_api.app import ENDPOINTS
from headrace_api.http.requests import LARGEST_BODY

PUBLIC = {"/api/health", "/api/ready", "/api/version", "/openapi.json", "/docs"}
JSON = {"Content-Type": "application/json"}
PRIVATE = [endpoint for endpoint in ENDPOINTS if endpoint.role is not None]


def concrete(path):
    for name in ("pipeline_id", "run_id", "domain_id", "token_id"):
        path = path.replace(f"{{{name}:uuid}}", str(uuid4()))
    return path.replace("{kind}", "source").replace("{name}", "dummy")


def described(endpoint):
    return f"{endpoint.method} {endpoint.path}"


def body_of(endpoint):
    return {"json": {}} if endpoint.method in ("POST", "PUT") else {}


def test_only_the_listed_paths_are_public():
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.role is None} <= PUBLIC


@pytest.mark.parametrize("path", sorted(PUBLIC))
def test_a_public_path_needs_no_token(service, path):
    with service.client(None) as anonymous:
        assert anonymous.get(path).status_code == 200


@pytest.mark.parametrize("endpoint", PRIVATE, ids=described)
def test_an_endpoint_answers_nothing_without_a_token(service, endpoint):
    with service.client(None) as anonymous:
        response = anonymous.request(endpoint.method, concrete(endpoint.path), **body_of(endpoint))

    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["code"] == "token.invalid"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/api"),
        ("GET", "/api/health/"),
        ("GET", "/API/health"),
        ("GET", "/api/health/x"),
        ("OPTIONS", "/api/pipelines"),
        ("TRACE", "/api/pipelines"),
        ("GET", "//api/health"),
        ("GET", "/docs/../api/pipelines"),
        ("GET", "/api/health%2f..%2fpipelines"),
        ("GET", "/docs/"),
    ],
)
def test_an_unknown_path_is_401_without_a_token(service, method, path):
    with service.client(None) as anonymous:
        assert anonymous.request(method, path).status_code == 401


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer a b",
        "headrace_x",
        "Bearer ü",
        "Bearer " + "x" * 9999,
    ],
)
def test_other_credentials_are_refused(service, credentials):
    with service.client(None) as anonymous:
        response = anonymous.get("/api/pipelines", headers={"Authorization": credentials.encode("latin-1")})

    assert response.status_code == 401


def test_the_schemes_case_does_not_matter(service, owner):
    with service.client(None) as anonymous:
        assert anonymous.get("/api/stats", headers={"Authorization": f"bearer {owner}"}).status_code == 200


@pytest.mark.parametrize("endpoint", PRIVATE, ids=described)
def test_an_endpoint_is_open_to_its_role_and_higher_ones(client_with_role, endpoint):
    below = {"viewer": [], "editor": ["viewer"], "owner": ["viewer", "editor"]}[endpoint.role]

    for role in ("viewer", "editor"):
        response = client_with_role(role).request(
            endpoint.method, concrete(endpoint.path), **body_of(endpoint)
        )
        assert (response.status_code == 403) == (role in below)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PUT", ""), ("DELETE", ""), ("POST", "/run"), ("POST", "/duplicate"), ("GET", "/runs")],
)
def test_a_foreign_pipeline_answers_exactly_as_an_unknown_one(create, stranger, method, path):
    foreign, unknown = f"/api/pipelines/{create()['id']}{path}", f"/api/pipelines/{uuid4()}{path}"
    body = {"json": {}} if method == "PUT" else {}

    answers = [stranger.request(method, each, **body).json() for each in (foreign, unknown)]

    assert [answer["status"] for answer in answers] == [404, 404]
    assert answers[0] | {"instance": ""} == answers[1] | {"instance": ""}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/logs"), ("GET", "/download"), ("POST", "/cancel")]
)
def test_a_foreign_run_answers_exactly_as_an_unknown_one(create, run, stranger, method, path):
    foreign, unknown = f"/api/pipelines/runs/{run(create())}{path}", f"/api/pipelines/runs/{uuid4()}{path}"

    answers = [stranger.request(method, each).json() for each in (foreign, unknown)]

    assert [answer["code"] for answer in answers] == ["run.not_found"] * 2
    assert answers[0] | {"instance": ""} == answers[1] | {"instance": ""}


def test_a_problem_has_every_member(client):
    path = f"/api/pipelines/{uuid4()}"

    response = client.get(path)

    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "/docs/errors#pipeline.not_found",
        "title": "Pipeline not found",
        "status": 404,
        "detail": "There is no such pipeline.",
        "instance": path,
        "code": "pipeline.not_found",
        "hint": "List the pipelines with GET /api/pipelines.",
    }


@pytest.mark.parametrize("path", ["/api/nothing", "/api/pipelines/not-a-uuid", "/api/pipelines/", "/a/ü%00"])
def test_an_unknown_path_is_a_problem(client, path):
    response = client.get(path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "http.not_found"


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS", "TRACE", "BREW", "DELETE"])
def test_an_unknown_method_is_405_and_lists_the_allowed_ones(client, method):
    response = client.request(method, "/api/pipelines")

    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert response.json()["code"] == "http.method_not_allowed"


def test_head_is_get_without_its_body(client, create, run):
    pipeline = create()
    run_id = run(pipeline)

    for path in ("", f"/{pipeline['id']}", f"/runs/{run_id}/logs", f"/runs/{run_id}/download", f"/{uuid4()}"):
        head, got = client.head(f"/api/pipelines{path}"), client.get(f"/api/pipelines{path}")
        assert head.content == b""
        assert (head.status_code, dict(head.headers)) == (got.status_code, dict(got.headers))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b"\xef\xbb\xbf{}",
        b'{"name": "\xff"}',
        b"{} {}",
        b'{"name": "a", "name": "b"}',
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e999}',
        b'{"name": 9223372036854775808}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": "\\ud800"}',
        b"[" * 101 + b"]" * 101,
        b'{"a":' * 100_000,
        b"{'name': 1}",
        b'{"name": "a\nb"}',
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_malformed_json_is_400(client, create, method, body):
    path = "/api/pipelines" if method == "POST" else f"/api/pipelines/{create()['id']}"

    response = client.request(method, path, content=body, headers=JSON)

    assert response.status_code == 400
    assert response.json()["code"] == "request.malformed_json"


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null", b"1", b"[" * 100 + b"]" * 100])
def test_json_that_is_no_object_is_422(client, body):
    assert client.post("/api/pipelines", content=body, headers=JSON).status_code == 422


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/merge-patch+json",
        "application/jsonx",
    ],
)
def test_another_media_type_is_415(client, media_type):
    response = client.post("/api/pipelines", content=b"{}", headers={"Content-Type": media_type})

    assert (response.status_code, response.json()["code"]) == (415, "request.media_type")


def test_a_compressed_body_is_415(client):
    headers = {**JSON, "Content-Encoding": "gzip"}

    assert client.post("/api/pipelines", content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']
)
def test_json_may_name_its_charset(client, media_type):
    response = client.post("/api/domains", content=b'{"name": "X"}', headers={"Content-Type": media_type})

    assert response.status_code == 201


def test_a_body_of_more_than_a_mebibyte_is_413_however_it_is_sent(client):
    large = b" " * (LARGEST_BODY + 1)

    declared = client.post("/api/pipelines", content=large, headers=JSON)
    chunked = client.post("/api/pipelines", content=iter([large[:1000], large[1000:]]), headers=JSON)
    lied = client.post("/api/pipelines", content=large, headers={**JSON, "Content-Length": "10"})

    assert [response.status_code for response in (declared, chunked, lied)] == [413] * 3


def test_a_body_of_a_mebibyte_is_read(client):
    body = b'{"name": "X", "description": "' + b"x" * 1000 + b'"}'

    response = client.post("/api/domains", content=body.ljust(LARGEST_BODY), headers=JSON)

    assert response.status_code == 201


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\x7f", "\x85", "\n"])
def test_control_characters_in_texts_and_keys_are_422_with_a_pointer(client, character):
    in_text = client.post("/api/domains", json={"name": f"a{character}"})
    in_key = client.post("/api/domains", json={"name": "a", f"b{character}": 1})

    assert (in_text.status_code, in_key.status_code) == (422, 422)
    assert in_text.json()["errors"][0]["pointer"] == "/name"
    assert in_key.json()["errors"][0]["pointer"] == f"/b{character}"


def test_a_pointer_escapes_slashes_and_tildes(client):
    response = client.post("/api/domains", json={"name": "X", "a/b~c": 1})

    assert response.json()["errors"] == [
        {"pointer": "/a~1b~0c", "code": "field.unknown", "detail": "There is no such field."}
    ]


@pytest.mark.parametrize("enabled", ["true", 1, "yes"])
def test_values_are_not_converted(client, enabled):
    response = client.post("/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG, "enabled": enabled})

    assert response.status_code == 422


def test_a_post_without_a_model_takes_no_field(client, create):
    path = f"/api/pipelines/{create()['id']}/run"

    assert client.post(path, json={"full_refresh": True}).status_code == 422
    assert client.post(path, json={}).status_code == 201


def test_a_list_is_paged(client):
    names = [client.post("/api/domains", json={"name": f"D{i}"}).json()["name"] for i in range(5)][::-1]

    response = client.get("/api/domains", params={"limit": 2, "offset": 2})

    assert [domain["name"] for domain in response.json()] == names[2:4]
    assert response.headers["x-total-count"] == "5"
    assert response.links["first"]["url"] == "/api/domains?limit=2&offset=0"
    assert response.links["prev"]["url"] == "/api/domains?limit=2&offset=0"
    assert response.links["next"]["url"] == "/api/domains?limit=2&offset=4"
    assert response.links["last"]["url"] == "/api/domains?limit=2&offset=4"


def test_links_lead_through_the_whole_list_and_keep_its_filters(client, create):
    wanted = [create(name="a b&c")["id"] for _ in range(5)]
    create(name="other")

    seen, url = [], "/api/pipelines?q=a%20b%26c&limit=2"
    while url:
        response = client.get(url)
        seen += [item["id"] for item in response.json()]
        url = response.links.get("next", {}).get("url")

    assert seen == wanted[::-1]


def test_a_page_beyond_the_end_is_empty(client):
    client.post("/api/domains", json={"name": "X"})

    response = client.get("/api/domains?offset=2147483647")

    assert (response.status_code, response.json()) == (200, [])
    assert response.links["prev"]["url"] == "/api/domains?limit=100&offset=0"


def test_a_repeated_post_takes_effect_once(client):
    headers = {"Idempotency-Key": str(uuid4())}

    first = client.post("/api/domains", json={"name": "X"}, headers=headers)
    again = client.post("/api/domains", json={"name": "X"}, headers=headers)

    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["idempotency-replayed"] == "true"
    assert client.get("/api/domains").headers["x-total-count"] == "1"


@pytest.mark.parametrize("path", ["run", "duplicate"])
def test_a_repeated_post_without_a_body_takes_effect_once(client, create, path):
    headers = {"Idempotency-Key": str(uuid4())}
    url = f"/api/pipelines/{create()['id']}/{path}"

    assert client.post(url, headers=headers).json() == client.post(url, headers=headers).json()


def test_a_key_with_another_body_or_path_is_422(client, create):
    headers = {"Idempotency-Key": str(uuid4())}
    client.post("/api/domains", json={"name": "X"}, headers=headers)

    other_body = client.post("/api/domains", json={"name": "Y"}, headers=headers)
    other_path = client.post(f"/api/pipelines/{create()['id']}/run", headers=headers)

    assert [each.status_code for each in (other_body, other_path)] == [422, 422]
    assert other_body.json()["code"] == "idempotency.key_reused"


def test_a_failed_request_releases_its_key(client):
    headers = {"Idempotency-Key": str(uuid4())}

    refused = client.post("/api/domains", json={"name": ""}, headers=headers)
    corrected = client.post("/api/domains", json={"name": "X"}, headers=headers)

    assert (refused.status_code, corrected.status_code) == (422, 201)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ü"])
def test_a_key_with_other_characters_is_422(client, key):
    response = client.post(
        "/api/domains", json={"name": "X"}, headers={"Idempotency-Key": key.encode("latin-1")}
    )

    assert (response.status_code, response.json()["code"]) == (422, "idempotency.invalid_key")


def test_of_two_concurrent_requests_with_one_key_one_takes_effect(service, owner, create):
    headers, path = {"Idempotency-Key": str(uuid4())}, f"/api/pipelines/{create()['id']}/duplicate"

    def post(_):
        with service.client(owner) as client:
            return client.post(path, headers=headers)

    with ThreadPoolExecutor(4) as threads:
        responses = list(threads.map(post, range(4)))

    done = {response.json()["id"] for response in responses if response.status_code == 201}
    refused = [response.json()["code"] for response in responses if response.status_code != 201]
    assert len(done) == 1
    assert set(refused) <= {"idempotency.in_progress"}


def test_organizations_do_not_share_keys(client, stranger):
    headers = {"Idempotency-Key": "one"}

    ours = client.post("/api/domains", json={"name": "X"}, headers=headers).json()
    theirs = stranger.post("/api/domains", json={"name": "X"}, headers=headers).json()

    assert ours["id"] != theirs["id"]


@pytest.mark.parametrize("match", ['"1"', "*", '"7", "1"', ' "1" , W/"2"'])
def test_a_change_is_made_if_if_match_holds(client, create, match):
    path = f"/api/pipelines/{create()['id']}"

    response = client.put(path, json={"name": "New"}, headers={"If-Match": match})

    assert response.status_code == 200
    assert response.headers["etag"] == '"2"'


@pytest.mark.parametrize("match", ['"2"', 'W/"1"', '"x"', '"7", "8"', '""'])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_is_refused_if_if_match_does_not_hold(client, create, method, match):
    path = f"/api/pipelines/{create(name='Old')['id']}"
    body = {"json": {"name": "New"}} if method == "PUT" else {}

    response = client.request(method, path, headers={"If-Match": match}, **body)

    assert (response.status_code, response.json()["code"]) == (412, "precondition.failed")
    assert client.get(path).json()["name"] == "Old"


def test_if_match_on_an_unknown_resource_is_404(client):
    response = client.put(f"/api/pipelines/{uuid4()}", json={}, headers={"If-Match": "*"})

    assert response.status_code == 404


@pytest.mark.parametrize("match", ["1", '"1', '"1" "2"', ", ,"])
def test_a_header_that_is_not_a_list_of_tags_is_400(client, create, match):
    path = f"/api/pipelines/{create()['id']}"

    assert client.put(path, json={}, headers={"If-Match": match}).status_code == 400
    assert client.get(path, headers={"If-None-Match": match}).status_code == 400


def test_the_etag_of_a_masked_pipeline_is_valid_for_a_change(client_with_role, create):
    path, editor = f"/api/pipelines/{create()['id']}", client_with_role("editor")
    etag = editor.get(path).headers["etag"]

    assert etag == '"1-masked"'
    assert editor.put(path, json={"name": "New"}, headers={"If-Match": etag}).status_code == 200


def test_a_resource_that_the_client_has_is_304(client, create, run):
    pipeline = create()
    run_id = run(pipeline)

    for path in (f"/api/pipelines/{pipeline['id']}", f"/api/pipelines/runs/{run_id}", "/api/stats"):
        etag = client.get(path).headers["etag"]
        for match in (etag, f'"x", W/{etag}', "*"):
            response = client.get(path, headers={"If-None-Match": match})
            assert (response.status_code, response.content) == (304, b"")
            assert response.headers["etag"] == etag
        assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_every_change_wakes_the_control_loops(service, client, create):
    create()
    before = service.control.wakes

    client.get("/api/pipelines")
    assert service.control.wakes == before

    client.post("/api/domains", json={"name": "X"})
    assert service.control.wakes == before + 1


def test_a_database_that_does_not_answer_is_503(client, monkeypatch):
    def unavailable(*_args, **_named):
        raise DatabaseUnavailable("The platform's database does not answer.")

    monkeypatch.setattr(Pipelines, "list", unavailable)

    response = client.get("/api/pipelines")

    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    assert response.json()["code"] == "database.unavailable"


def test_an_unexpected_error_is_500_and_tells_nothing(client, monkeypatch, caplog):
    def broken(*_args, **_named):
        raise ValueError("postgresql://admin:opensesame@db/records")

    monkeypatch.setattr(Pipelines, "list", broken)

    with caplog.at_level(logging.ERROR):
        response = client.get("/api/pipelines")

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "http.internal_server_error"
    assert "opensesame" not in response.text + caplog.text
    assert "ValueError" in caplog.text


def test_a_full_disk_is_said_and_passes(client, monkeypatch):
    def full(*_args, **_named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Pipelines, "list", full)

    response = client.get("/api/pipelines")

    assert (response.status_code, response.json()["code"]) == (503, "service.disk_full")
    assert int(response.headers["retry-after"]) > 0


def test_the_access_log_has_no_query_string(client, caplog):
    with caplog.at_level(logging.INFO, "headrace_api.access"):
        client.get("/api/pipelines?q=private-matter")

    logged = [record.getMessage() for record in caplog.records if record.name == "headrace_api.access"]
    assert len(logged) == 1
    assert logged[0].startswith("GET /api/pipelines 200 ")
