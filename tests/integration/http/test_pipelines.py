"""The rows of the contract about pipelines."""

import re
from uuid import UUID, uuid4

import pytest
from http_service import DUMMY_CONFIG, EXAMPLE_CONFIG

PAGE_KEYS = ["id", "name", "schedule", "enabled", "domain_id", "created_at", "updated_at"]
ITEM_KEYS = [
    *("id", "name", "schedule", "enabled", "domain_id", "domain_name"),
    *("last_run_status", "last_run_at", "created_at"),
]
DATABASE_CONFIG = {
    "name": "orders",
    "source": {
        "name": "postgres",
        "stream": "public.orders",
        "host": "db.example.com",
        "database": "shop",
        "user": "reader",
        "password": "hunter2-hunter2",
    },
    "destination": {"name": "logger"},
}


def faults(response):
    return {fault["pointer"]: fault["code"] for fault in response.json()["errors"]}


def test_the_pages_own_example_is_accepted_and_answered_as_printed(client):
    domain = client.post("/api/domains", json={"name": "Marketing"}).json()
    body = {
        "name": "HubSpot to BigQuery",
        "config": EXAMPLE_CONFIG,
        "schedule": "0 */6 * * *",
        "enabled": True,
        "domain_id": domain["id"],
    }

    response = client.post("/api/pipelines", json=body)

    created = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/pipelines/{created['id']}"
    assert list(created)[:7] == PAGE_KEYS
    assert "config" not in created
    assert {key: created[key] for key in ("name", "schedule", "enabled", "domain_id", "updated_at")} == {
        "name": "HubSpot to BigQuery",
        "schedule": "0 */6 * * *",
        "enabled": True,
        "domain_id": domain["id"],
        "updated_at": None,
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", created["created_at"])


def test_a_pipeline_is_enabled_and_has_no_schedule_by_default(create):
    created = create()

    assert (created["enabled"], created["schedule"], created["timezone"]) == (True, None, "UTC")


@pytest.mark.parametrize("schedule", [None, ""])
def test_null_and_an_empty_schedule_both_mean_manual_runs_only(create, schedule):
    assert create(schedule=schedule)["schedule"] is None


@pytest.mark.parametrize("schedule", ["@hourly", "*/5 * * * *", "0 8 * * mon-fri"])
def test_cron_and_its_aliases_are_accepted(create, schedule):
    assert create(schedule=schedule)["schedule"] == schedule


@pytest.mark.parametrize(
    "schedule",
    [
        "R * * * *",
        "0 0 * * * *",
        "0 0 31 2 *",
        "* * * *",
        "0 0 * * \u0661",
        "1" * 101,
        "@reboot",
        "0 0 *\t* *",
    ],
)
def test_an_impossible_schedule_is_refused_at_its_pointer(client, schedule):
    response = client.post("/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG, "schedule": schedule})

    assert response.status_code == 422
    assert list(faults(response)) == ["/schedule"]


def test_names_may_repeat_and_have_up_to_200_characters(create):
    assert create(name="x" * 200)["name"] == create(name="x" * 200)["name"]


@pytest.mark.parametrize("name", ["", " ", "x" * 201, 7, None, "a\u0000b", "a\nb"])
def test_other_names_are_refused_at_their_pointer(client, name):
    response = client.post("/api/pipelines", json={"name": name, "config": DUMMY_CONFIG})

    assert response.status_code == 422
    assert list(faults(response)) == ["/name"]


def test_every_fault_of_a_config_has_its_own_pointer(client):
    config = {
        "name": "x",
        "source": {"name": "dummy", "stream": "dragons", "record": 1},
        "destination": {"name": "postgrse", "config": {}},
        "surprise": 1,
    }

    response = client.post("/api/pipelines", json={"name": "X", "config": config, "timezone": "Mars/Base"})

    assert response.status_code == 422
    assert {"/timezone", "/config/source/record", "/config/destination/name", "/config/surprise"} <= set(
        faults(response)
    )


def test_a_config_may_hold_line_ends_and_no_other_control_characters(client):
    source = {"name": "dummy", "stream": "creatures", "authentication": {"type": "api_key"}}
    source["authentication"] = {"type": "api_key", "params": {"token": "-----BEGIN\nKEY\t\r\n"}}
    with_lines = {**DUMMY_CONFIG, "source": source}
    with_null = {**DUMMY_CONFIG, "source": {**source, "stream": "crea\u0000tures"}}

    accepted = client.post("/api/pipelines", json={"name": "X", "config": with_lines})
    refused = client.post("/api/pipelines", json={"name": "X", "config": with_null})

    assert accepted.status_code == 201
    assert faults(refused) == {"/config/source/stream": "field.control_character"}


@pytest.mark.parametrize("foreign", [True, False])
def test_an_unknown_domain_is_422(client, stranger, foreign):
    domain_id = stranger.post("/api/domains", json={"name": "Theirs"}).json()["id"] if foreign else uuid4()

    response = client.post(
        "/api/pipelines", json={"name": "X", "config": DUMMY_CONFIG, "domain_id": str(domain_id)}
    )

    assert response.status_code == 422
    assert faults(response) == {"/domain_id": "pipeline.domain_unknown"}


def test_a_list_has_the_pages_items_newest_first(client, create, run):
    domain = client.post("/api/domains", json={"name": "Marketing"}).json()
    first, second = create(name="First", domain_id=domain["id"]), create(name="Second")
    run(first)

    listed = client.get("/api/pipelines").json()

    assert [item["id"] for item in listed] == [second["id"], first["id"]]
    assert list(listed[1])[:9] == ITEM_KEYS
    assert listed[1]["domain_name"] == "Marketing"
    assert (listed[1]["last_run_status"], listed[0]["last_run_status"]) == ("success", None)
    assert listed[1]["last_run_at"].endswith("Z")
    assert "config" not in listed[0]


def test_filters_narrow_a_list(client, create):
    domain = client.post("/api/domains", json={"name": "Marketing"}).json()
    wanted = create(name="Orders 100%", domain_id=domain["id"], enabled=False, tags=["nightly", "eu"])
    create(name="Others")

    for query in (
        {"domain_id": domain["id"]},
        {"enabled": "false"},
        {"tag": "eu"},
        {"q": "orders 100%"},
        {"q": "ORD", "tag": "nightly"},
    ):
        assert [item["id"] for item in client.get("/api/pipelines", params=query).json()] == [wanted["id"]]


@pytest.mark.parametrize("query", ["q=nothing", f"domain_id={UUID(int=1)}", "tag=none", "q=%25%25"])
def test_a_filter_that_matches_nothing_is_an_empty_list(client, create, query):
    create()

    response = client.get(f"/api/pipelines?{query}")

    assert (response.status_code, response.json()) == (200, [])


@pytest.mark.parametrize(
    "query",
    [
        "domain_id=x",
        "domain_id=",
        "enabled=yes",
        "tag=",
        "q=%00",
        "limit=0",
        "limit=1001",
        "offset=-1",
        "limit=1_0",
        "offset=2147483648",
        "limit=1&limit=2",
        "sort=name",
        "limit=%2B1",
        "offset=1.0",
    ],
)
def test_a_malformed_or_unknown_or_repeated_parameter_is_422_with_its_pointer(client, query):
    response = client.get(f"/api/pipelines?{query}")

    assert response.status_code == 422
    assert list(faults(response)) == ["/" + query.partition("=")[0]]


def test_a_pipeline_is_shown_with_its_config_as_it_was_sent(client, create):
    created = create(config=EXAMPLE_CONFIG)

    shown = client.get(f"/api/pipelines/{created['id']}").json()

    assert list(shown)[:8] == ["id", "name", "config", *PAGE_KEYS[2:]]
    assert shown["config"] == EXAMPLE_CONFIG
    assert list(shown["config"]) == list(EXAMPLE_CONFIG)


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_a_token_that_may_not_read_secrets_sees_the_mask(client_with_role, create, role):
    created = create(config=EXAMPLE_CONFIG)

    response = client_with_role(role).get(f"/api/pipelines/{created['id']}")

    assert "pat-xxx" not in response.text
    assert response.json()["config"]["source"]["authentication"]["params"]["token"] == "**********"


def test_an_update_changes_what_it_names_and_answers_the_whole_pipeline(client, create):
    created = create(name="Old", schedule="0 */6 * * *", tags=["eu"])

    response = client.put(
        f"/api/pipelines/{created['id']}", json={"name": "New", "schedule": "0 */4 * * *", "enabled": False}
    )

    updated = response.json()
    assert response.status_code == 200
    assert updated | {"updated_at": None} == created | {
        "name": "New",
        "schedule": "0 */4 * * *",
        "enabled": False,
    }
    assert updated["updated_at"].endswith("Z")


def test_null_clears_a_schedule_and_an_absent_one_stays(client, create):
    created = create(schedule="@daily")
    path = f"/api/pipelines/{created['id']}"

    assert client.put(path, json={}).json()["schedule"] == "@daily"
    assert client.put(path, json={"schedule": None}).json()["schedule"] is None


@pytest.mark.parametrize("field", ["name", "config", "timezone", "enabled", "tags"])
def test_null_is_refused_where_a_field_must_have_a_value(client, create, field):
    created = create()

    response = client.put(f"/api/pipelines/{created['id']}", json={field: None})

    assert response.status_code == 422
    assert list(faults(response)) == [f"/{field}"]


def test_a_masked_secret_stays_as_it_was_stored(client, create):
    created = create(config=EXAMPLE_CONFIG)
    path = f"/api/pipelines/{created['id']}"
    source = EXAMPLE_CONFIG["source"]
    masked = {**source, "authentication": {"type": "api_key", "params": {"token": "**********"}}}

    response = client.put(path, json={"config": {**EXAMPLE_CONFIG, "name": "renamed", "source": masked}})

    assert response.status_code == 200
    assert client.get(path).json()["config"] == {**EXAMPLE_CONFIG, "name": "renamed"}


def test_a_masked_secret_is_not_sent_to_another_place(client, create):
    created = create(config=DATABASE_CONFIG)
    elsewhere = {**DATABASE_CONFIG["source"], "host": "evil.example.com", "password": "**********"}

    response = client.put(
        f"/api/pipelines/{created['id']}", json={"config": {**DATABASE_CONFIG, "source": elsewhere}}
    )

    assert response.status_code == 422
    assert faults(response) == {"/config/source/password": "config.address_changed"}


def test_no_answer_to_a_bad_config_repeats_its_secret(client, create):
    bad = {**DATABASE_CONFIG, "source": {**DATABASE_CONFIG["source"], "port": "hunter2-hunter2"}}

    response = client.post("/api/pipelines", json={"name": "X", "config": bad})

    assert response.status_code == 422
    assert "hunter2" not in response.text


def test_a_deleted_pipeline_is_gone_at_once_with_its_runs(client, create, run):
    created = create()
    run_id = run(created)

    response = client.delete(f"/api/pipelines/{created['id']}")

    assert (response.status_code, response.content) == (204, b"")
    for path in (f"{created['id']}", f"{created['id']}/runs", f"runs/{run_id}", f"runs/{run_id}/logs"):
        assert client.get(f"/api/pipelines/{path}").status_code == 404
    assert client.delete(f"/api/pipelines/{created['id']}").status_code == 404
    assert client.get("/api/pipelines").json() == []
    assert client.get("/api/runs").json() == []


def test_a_copy_is_disabled_and_shares_everything_but_runs(client, create, run):
    domain = client.post("/api/domains", json={"name": "Marketing"}).json()
    original = create(
        name="X", schedule="@daily", timezone="Europe/Paris", domain_id=domain["id"], tags=["eu"]
    )
    run(original)

    response = client.post(f"/api/pipelines/{original['id']}/duplicate")

    copy = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/pipelines/{copy['id']}"
    changed = {key for key in original if copy[key] != original[key]} - {"created_at"}
    assert changed == {"id", "name", "enabled"}
    assert (copy["name"], copy["enabled"]) == ("X (Copy)", False)
    assert client.get(f"/api/pipelines/{copy['id']}/runs").json() == []
    assert client.get(f"/api/pipelines/{copy['id']}").json()["config"] == DUMMY_CONFIG


def test_a_table_has_one_owner(client, create, tmp_path):
    table = {"name": "duckdb", "config": {"path": str(tmp_path / "d.duckdb"), "table": "orders"}}
    config = {**DUMMY_CONFIG, "destination": table}
    original = create(name="Orders", config=config)

    second = client.post("/api/pipelines", json={"name": "Second", "config": config})
    copy = client.post(f"/api/pipelines/{original['id']}/duplicate").json()
    enabled = client.put(f"/api/pipelines/{copy['id']}", json={"enabled": True})
    triggered = client.post(f"/api/pipelines/{copy['id']}/run")

    for refused in (second, enabled, triggered):
        assert (refused.status_code, refused.json()["code"]) == (409, "pipeline.table_taken")
        assert refused.json()["pipeline_id"] == original["id"]
        assert "'Orders'" in refused.json()["detail"]


def test_copies_are_counted_or_named(client, create):
    path = f"/api/pipelines/{create(name='X')['id']}/duplicate"

    names = [client.post(path).json()["name"]]
    names += [client.post(path, json=body).json()["name"] for body in ({}, {"name": None}, {"name": "Mine"})]

    assert names == ["X (Copy)", "X (Copy 2)", "X (Copy 3)", "Mine"]


def test_a_copy_takes_no_other_field(client, create):
    response = client.post(f"/api/pipelines/{create()['id']}/duplicate", json={"enabled": True})

    assert response.status_code == 422
    assert faults(response) == {"/enabled": "field.unknown"}


def test_references_are_stored_and_returned_as_they_are(client, client_with_role, create, monkeypatch):
    monkeypatch.setenv("PIPELINE_PASSWORD", "hunter2-hunter2")
    source = DATABASE_CONFIG["source"] | {
        "password": "env://PIPELINE_PASSWORD",
        "host": "${env://PIPELINE_HOST}",
    }
    config = DATABASE_CONFIG | {"source": source}
    created = create(config=config)

    for reader in (client, client_with_role("viewer")):
        assert reader.get(f"/api/pipelines/{created['id']}").json()["config"] == config
