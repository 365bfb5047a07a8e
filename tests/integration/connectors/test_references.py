"""References to Vault and to Google's Secret Manager, on local servers that behave as theirs."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_servers.secret_keepers import Google, vault
from http_servers.server import Answer, Asked, Server, serving

from headrace.keepers import google as google_cloud
from headrace.pipeline.references.resolver import ReferenceUnreachable, ReferenceUnresolved, Resolver
from headrace.settings import Settings

TOKEN = "hvs.s3cret-token"
SECRETS = {
    "secret/data/crm/hubspot": {"token": "pat-s3cret", "number": 5, "empty": ""},
    "kv/db": {"url": "postgresql://s3cret"},
}


def resolved(settings: Settings, text: str) -> str:
    return Resolver(settings).resolve(text, is_secret=True)


def failure(settings: Settings, reference: str) -> ReferenceUnresolved:
    with pytest.raises(ReferenceUnresolved) as caught:
        resolved(settings, reference)
    assert caught.value.detail.startswith(f"{reference} cannot be resolved: ")
    assert "s3cret" not in caught.value.detail
    assert caught.value.__cause__ is None
    return caught.value


# Vault


@pytest.fixture
def keeper() -> Iterator[Server]:
    with serving(vault(SECRETS, TOKEN)) as server:
        yield server


@pytest.fixture
def settings(keeper: Server, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, vault_address=f"{keeper.url}/", vault_token=TOKEN)


def test_vault_s_engines_of_both_versions_are_read(settings: Settings) -> None:
    assert resolved(settings, "vault://secret/data/crm/hubspot#token") == "pat-s3cret"
    assert resolved(settings, "vault://kv/db#url") == "postgresql://s3cret"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("vault://secret/data/crm/hubspot#nothing", "no text of that key"),
        ("vault://secret/data/crm/hubspot#number", "no text of that key"),
        ("vault://secret/data/crm/hubspot#empty", "no text of that key"),
        ("vault://secret/data/nothing#token", "the answer's status is 404"),
        ("vault://secret/data/crm/hubspot", "write it as vault://path#key"),
        ("vault://../sys/seal-status#type", "write it as vault://path#key"),
        ("vault://kv/db?x=1#url", "write it as vault://path#key"),
    ],
)
def test_what_vault_does_not_have_is_told(settings: Settings, reference: str, reason: str) -> None:
    error = failure(settings, reference)

    assert reason in error.detail
    assert not error.temporary


def test_vault_s_refusal_is_told(keeper: Server, tmp_path: Path) -> None:
    wrong = Settings(home=tmp_path, vault_address=keeper.url, vault_token="hvs.s3cret-other")

    assert "status is 403" in failure(wrong, "vault://kv/db#url").detail


def test_vault_that_is_not_set_up_is_told(tmp_path: Path) -> None:
    assert "HEADRACE_VAULT_ADDRESS" in failure(Settings(home=tmp_path), "vault://kv/db#url").detail


def test_a_keeper_that_does_not_answer_may_answer_later(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        error = failure(
            Settings(home=tmp_path, vault_address=address, vault_token=TOKEN), "vault://kv/db#url"
        )

    assert isinstance(error, ReferenceUnreachable)
    assert error.temporary


def test_a_keeper_that_stumbles_is_asked_again_and_never_waited_for_long(tmp_path: Path) -> None:
    answers = [Answer(status=503, headers={"Retry-After": "3600"}), Answer(body={"data": {"url": "x"}})]

    with serving(lambda asked: answers.pop(0)) as server:
        settings = Settings(home=tmp_path, vault_address=server.url, vault_token=TOKEN)

        assert resolved(settings, "vault://kv/db#url") == "x"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(status=500, body={"errors": ["s3cret"]}), ReferenceUnreachable),
        (Answer(body=b"s3cret"), ReferenceUnresolved),
        (Answer(body=["s3cret"]), ReferenceUnresolved),
        (Answer(body={"data": "s3cret"}), ReferenceUnresolved),
    ],
)
def test_an_answer_that_is_none_is_told_without_its_text(
    tmp_path: Path, answer: Answer, kind: type[ReferenceUnresolved]
) -> None:
    with serving(lambda asked: answer) as server:
        settings = Settings(home=tmp_path, vault_address=server.url, vault_token=TOKEN)

        assert type(failure(settings, "vault://kv/db#url")) is kind


def test_the_token_follows_no_redirect(tmp_path: Path) -> None:
    with serving(vault(SECRETS, TOKEN)) as other:

        def elsewhere(asked: Asked) -> Answer:
            return Answer(status=307, headers={"Location": f"{other.url}{asked.path}"})

        with serving(elsewhere) as server:
            settings = Settings(home=tmp_path, vault_address=server.url, vault_token=TOKEN)
            error = failure(settings, "vault://kv/db#url")

        assert "status is 307" in error.detail
        assert other.asked == []


# Google


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Google, Server]]:
    cloud = Google({"token": {"1": b"old-s3cret", "2": b"new-s3cret"}, "binary": {"1": b"\xff"}})
    with serving(cloud) as server:
        cloud.url = server.url
        monkeypatch.setattr(google_cloud.Google, "secret_manager", server.url)
        monkeypatch.setattr(google_cloud.Google, "metadata", server.url)
        yield cloud, server


@pytest.fixture
def with_key(google: tuple[Google, Server], tmp_path: Path) -> Settings:
    (tmp_path / "key.json").write_text(google[0].key_file())
    return Settings(home=tmp_path, google_credentials_file=tmp_path / "key.json")


def test_the_newest_version_is_read_unless_another_is_named(with_key: Settings) -> None:
    assert resolved(with_key, "gsm://token") == "new-s3cret"
    assert resolved(with_key, "gsm://token/versions/latest") == "new-s3cret"
    assert resolved(with_key, "gsm://token/versions/1") == "old-s3cret"
    assert resolved(with_key, "gsm://projects/acme/secrets/token/versions/1") == "old-s3cret"


def test_one_access_token_serves_a_whole_start(with_key: Settings, google: tuple[Google, Server]) -> None:
    resolver = Resolver(with_key)

    for version in (1, 2, "latest"):
        resolver.resolve(f"gsm://token/versions/{version}", is_secret=True)

    assert [asked.path for asked in google[1].asked].count("/token") == 1


def test_on_google_cloud_the_machine_s_own_account_is_used(
    google: tuple[Google, Server], tmp_path: Path
) -> None:
    assert resolved(Settings(home=tmp_path), "gsm://token") == "new-s3cret"
    assert resolved(Settings(home=tmp_path, google_project="acme"), "gsm://token") == "new-s3cret"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("gsm://nothing", "the answer's status is 404"),
        ("gsm://token/versions/7", "the answer's status is 404"),
        ("gsm://projects/other/secrets/token", "the answer's status is 403"),
        ("gsm://binary", "the version holds no text"),
        ("gsm://token/versions/x", "write it as gsm://secret"),
        ("gsm://a/b/c", "write it as gsm://secret"),
    ],
)
def test_what_google_does_not_give_is_told(with_key: Settings, reference: str, reason: str) -> None:
    assert reason in failure(with_key, reference).detail


@pytest.mark.parametrize("content", [None, "s3cret", "[]", "{}", '{"client_email": "s3cret"}'])
def test_a_key_file_that_cannot_be_used_is_told(
    google: tuple[Google, Server], tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "key.json").write_text(content)
    settings = Settings(home=tmp_path, google_credentials_file=tmp_path / "key.json")

    assert "HEADRACE_GOOGLE_CREDENTIALS_FILE is no readable key file" in failure(settings, "gsm://x").detail


def test_a_key_that_is_no_key_is_told(with_key: Settings, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(file.read_text().replace("PRIVATE KEY", "s3cret"))

    assert "no RSA key" in failure(with_key, "gsm://token").detail
