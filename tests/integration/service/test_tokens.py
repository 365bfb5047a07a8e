import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from headrace.records import Page, Role
from headrace.service.idempotency import Answer, Idempotency
from headrace.service.platform import Platform, Unauthenticated, owner_token
from headrace.service.tokens import Tokens
from headrace.store.idempotency import KeyInProgress, KeyReused
from headrace.store.schema import idempotency_keys, tokens
from headrace.store.tokens import LastOwner, TokenNotFound

ANSWER = Answer(status=201, headers={"Location": "/api/tokens/1"}, body='{"token":"headrace_5ecret"}')


def test_the_first_start_makes_an_owner_whose_token_opens(platform: Platform) -> None:
    principal = platform.authenticate(owner_token(platform.settings))

    assert (principal.role, principal.reads_secrets) == (Role.OWNER, True)
    assert principal.organization_id == platform.organization_id


def test_opening_again_makes_no_second_owner(platform: Platform) -> None:
    Platform.open(platform.settings, migrate=True).close()

    assert Tokens(platform, platform.owner()).list(Page())[1] == 1


def test_a_token_is_stored_as_its_hash_only(platform: Platform) -> None:
    token, secret = Tokens(platform, platform.owner()).create(name="CI", role=Role.EDITOR)

    with platform.database.read() as connection:
        assert secret not in repr(connection.execute(select(tokens)).all())
    principal = platform.authenticate(secret)
    assert (principal.token_id, principal.role, principal.reads_secrets) == (token.id, Role.EDITOR, False)


def test_a_revoked_or_expired_token_opens_nothing(platform: Platform) -> None:
    store = Tokens(platform, platform.owner())
    token, secret = store.create(name="CI", role=Role.VIEWER)
    _, expired = store.create(
        name="Old", role=Role.VIEWER, expires_at=datetime.now(UTC) - timedelta(seconds=1)
    )
    store.revoke(token.id)

    for dead in (secret, expired, "headrace_unknown", ""):
        with pytest.raises(Unauthenticated):
            platform.authenticate(dead)
    with pytest.raises(TokenNotFound):
        store.revoke(token.id)


def test_the_last_owner_cannot_be_locked_out(platform: Platform) -> None:
    store = Tokens(platform, platform.owner())
    [owner] = store.list(Page())[0]

    with pytest.raises(LastOwner):
        store.revoke(owner.id)

    store.create(name="Second", role=Role.OWNER)
    store.revoke(owner.id)
    assert store.list(Page())[1] == 1


def test_a_request_that_is_sent_again_gets_the_first_answer(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)
    with pytest.raises(KeyInProgress):
        keys.begin("k", route="POST /api/tokens", body=b"{}")
    keys.finish(taken, ANSWER)

    again = keys.begin("k", route="POST /api/tokens", body=b"{}")

    assert again == ANSWER
    for route, body in (("POST /api/tokens", b"[]"), ("POST /api/domains", b"{}")):
        with pytest.raises(KeyReused):
            keys.begin("k", route=route, body=body)


def test_kept_answers_are_sealed(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)
    keys.finish(taken, ANSWER)

    with platform.database.read() as connection:
        stored = connection.execute(select(idempotency_keys.c.answer)).scalar_one()
    assert b"5ecret" not in stored
    assert json.dumps(ANSWER.body).encode() not in stored


def test_a_key_is_free_again_when_its_request_was_not_done(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)

    keys.abandon(taken)

    assert isinstance(keys.begin("k", route="POST /api/domains", body=b"other"), UUID)


@pytest.mark.parametrize(("answered", "age"), [(True, timedelta(hours=25)), (False, timedelta(minutes=2))])
def test_old_keys_are_forgotten(platform: Platform, answered: bool, age: timedelta) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)
    if answered:
        keys.finish(taken, ANSWER)
    with platform.database.write() as connection:
        connection.execute(update(idempotency_keys).values(created_at=datetime.now(UTC) - age))

    assert isinstance(keys.begin("k", route="POST /api/domains", body=b"other"), UUID)


def test_a_change_and_its_answer_are_committed_together(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    tokens = Tokens(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)

    with keys.change():
        tokens.create(name="Once", role=Role.VIEWER)
        assert "Once" in names(platform)
        before_the_commit = ThreadPoolExecutor(1).submit(names, platform).result()
        keys.finish(taken, ANSWER)

    assert "Once" not in before_the_commit
    assert "Once" in names(platform)
    assert keys.begin("k", route="POST /api/tokens", body=b"{}") == ANSWER


def test_a_change_without_an_answer_is_undone(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)

    def interrupted() -> None:
        with keys.change():
            Tokens(platform, platform.owner()).create(name="Never", role=Role.VIEWER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    keys.abandon(taken)

    assert "Never" not in names(platform)
    assert isinstance(keys.begin("k", route="POST /api/tokens", body=b"{}"), UUID)


def test_a_key_whose_answer_is_kept_is_not_given_back(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)
    keys.finish(taken, ANSWER)

    keys.abandon(taken)  # as after a commit whose outcome the service did not learn

    assert keys.begin("k", route="POST /api/tokens", body=b"{}") == ANSWER


def test_a_request_that_lost_its_key_changes_nothing(platform: Platform) -> None:
    keys = Idempotency(platform, platform.owner())
    taken = keys.begin("k", route="POST /api/tokens", body=b"{}")
    assert isinstance(taken, UUID)
    with platform.database.write() as connection:
        connection.execute(update(idempotency_keys).values(created_at=datetime.now(UTC) - timedelta(hours=1)))
    assert isinstance(keys.begin("k", route="POST /api/tokens", body=b"{}"), UUID)

    def late() -> None:
        with keys.change():
            Tokens(platform, platform.owner()).create(name="Late", role=Role.VIEWER)
            keys.finish(taken, ANSWER)

    with pytest.raises(KeyInProgress):
        late()

    assert "Late" not in names(platform)


def names(platform: Platform) -> set[str]:
    return {token.name for token in Tokens(platform, platform.owner()).list(Page())[0]}
