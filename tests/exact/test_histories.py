"""A sample of the random histories that `make exact` plays: each plan at least once."""

from collections.abc import Iterator

import pytest
from effort import times
from mariadb_server import is_installed
from postgres_server import PostgresServer
from run import a_platform, described, play_seed
from servers import Servers

pytestmark = pytest.mark.slow

_HISTORIES = times("HISTORIES", 300, 1_500)
_AT_ONCE = 50


@pytest.fixture
def servers(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[Servers]:
    mariadb = request.getfixturevalue("mariadb_server") if is_installed() else None
    with Servers(postgres=postgres_server, mariadb=mariadb) as servers:
        yield servers


@pytest.mark.parametrize("first", range(0, _HISTORIES, _AT_ONCE))
def test_the_destination_holds_what_the_changes_of_the_source_make_it(servers: Servers, first: int) -> None:
    seeds = range(first, min(first + _AT_ONCE, _HISTORIES))

    with a_platform() as platform:
        outcomes = [play_seed(seed, platform, servers, shrinks=False) for seed in seeds]

    wrong = [described(outcome) for outcome in outcomes if outcome.problem]
    assert not wrong, "\n".join(wrong)
