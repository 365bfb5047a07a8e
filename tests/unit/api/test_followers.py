"""Many who ask the same at once, and the bound of each token."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from headrace_api import followers as followers_module
from headrace_api.followers import Followers, TooManyFollowers, rechecked
from headrace_api.shared_polls import SharedPolls


class Asked:
    """Answers with the number of times that it was asked."""

    def __init__(self) -> None:
        self.times = 0
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(self) -> int:
        self.times += 1
        assert self.go_on.wait(10)
        return self.times


def never(_answer: int) -> bool:
    return False


def test_what_many_ask_at_once_is_asked_once() -> None:
    polls, asked = SharedPolls(60), Asked()
    asked.go_on.clear()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(polls.get, "key", asked, is_final=never) for _ in range(20)]
        asked.go_on.set()

    assert {answer.result() for answer in answers} == {1}


def test_another_question_is_asked_by_itself_and_an_old_answer_is_not_given_again() -> None:
    polls, asked = SharedPolls(0.0), Asked()

    answers = [polls.get("one", asked, is_final=never), polls.get("two", asked, is_final=never)]

    assert [*answers, polls.get("one", asked, is_final=never)] == [1, 2, 3]


def test_a_final_answer_is_asked_for_again_at_once() -> None:
    polls, asked = SharedPolls(60), Asked()

    polls.get("key", asked, is_final=lambda _answer: True)

    assert polls.get("key", asked, is_final=never) == 2


def test_an_error_is_everybodys_and_is_not_kept() -> None:
    polls = SharedPolls(60)

    with pytest.raises(ZeroDivisionError):
        polls.get("key", lambda: 1 // 0, is_final=never)

    assert polls.get("key", lambda: 5, is_final=never) == 5


def test_a_token_follows_so_many_logs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers_module, "MOST", 2)
    followers, token, other = Followers(), uuid4(), uuid4()

    with followers.counted(token), followers.counted(token):
        with pytest.raises(TooManyFollowers):
            followers.require_room(token)
        followers.require_room(other)

    followers.require_room(token)


def test_a_token_is_checked_again_while_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[str] = []
    monkeypatch.setattr(followers_module, "RECHECK_SECONDS", 0.0)
    look_up = rechecked(lambda: None, lambda: checks.append("checked"))  # type: ignore[arg-type,return-value]

    look_up()
    look_up()

    assert len(checks) == 2
