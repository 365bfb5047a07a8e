"""How to reach BigQuery with Google's client, and what its failures mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from headrace.connectors import ConnectorError, Rejected, Unauthorized, Unreachable, Untrusted
from headrace.connectors.kit.network import connections
from headrace.connectors.kit.sql.loads import Busy

if TYPE_CHECKING:
    import google.auth.credentials
    import requests
    from google.api_core.retry import Retry
    from google.cloud.bigquery import Client, Dataset, QueryJobConfig, Table, TableReference

    from headrace.connectors.bigquery.config import BigQueryConfig
    from headrace.connectors.kit.network.limits import WarehouseLimits

_SCOPE = "https://www.googleapis.com/auth/bigquery"
# https://cloud.google.com/bigquery/docs/error-messages
_LATER = {"backendError", "internalError", "rateLimitExceeded", "jobBackendError", "jobInternalError",
          "jobRateLimitExceeded", "tableUnavailable", "timeout", "stopped"}  # fmt: skip
_DENIED = {"accessDenied", "authError", "billingNotEnabled", "required"}


class ClientMissing(ConnectorError):
    """Google's client is not installed."""

    code = "connector.bigquery_client_missing"
    title = "BigQuery client not installed"
    hint = "Install it with `pip install 'headrace[bigquery]'` where runs are executed."


@contextmanager
def connected(config: BigQueryConfig) -> Iterator[Client]:
    """Hold a client; what it raises, inside the block too, becomes a ConnectorError."""
    try:
        from google.cloud import bigquery
    except ImportError:
        raise ClientMissing("The package google-cloud-bigquery is not installed.") from None
    with _errors():
        session = _session(config)
        client = bigquery.Client(
            project=config.project_id,
            location=config.dataset_location,
            client_options={"api_endpoint": config.api_endpoint.rstrip("/")},
            _http=session,
        )
        try:
            yield client
        finally:
            session.close()


def retry(config: BigQueryConfig) -> Retry:
    """How requests are repeated: what may pass, and for a while only."""
    from google.cloud.bigquery.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(config.limits.retry_timeout)


def run(client: Client, config: BigQueryConfig, query: str, job_config: QueryJobConfig | None = None) -> Any:
    """Run a query and return its rows. A job that fails is not started anew: the run is, by its policy."""
    job = client.query(
        query,
        job_config=job_config,
        location=config.dataset_location,
        retry=retry(config),
        job_retry=None,
    )
    return job.result(retry=retry(config), job_retry=None)


def find_dataset(client: Client, config: BigQueryConfig) -> Dataset | None:
    """Return the dataset; None when there is none."""
    from google.api_core.exceptions import NotFound

    try:
        return client.get_dataset(f"{config.project_id}.{config.dataset_id}", retry=retry(config))
    except NotFound:
        return None


def table_reference(config: BigQueryConfig, table: str) -> TableReference:
    """Name a table of the configured dataset."""
    from google.cloud.bigquery import DatasetReference

    return DatasetReference(config.project_id, config.dataset_id).table(table)


def sql_name(config: BigQueryConfig, table: str) -> str:
    """Return a table's name as SQL. The parts hold no backtick: their patterns see to it."""
    return f"`{config.project_id}`.`{config.dataset_id}`.`{table}`"


def find_table(client: Client, config: BigQueryConfig, table: str) -> Table | None:
    """Return the table; None when there is none."""
    from google.api_core.exceptions import NotFound

    try:
        return client.get_table(table_reference(config, table), retry=retry(config))
    except NotFound:
        return None


def _session(config: BigQueryConfig) -> requests.Session:
    """Return a session that is authorized, and whose connections go to allowed addresses only."""
    from google.auth.transport.requests import AuthorizedSession, Request

    session: Any = AuthorizedSession  # untyped
    auth_request = Request(_guarded(config.limits))
    return _guarded(config.limits, session(_credentials(config), auth_request=auth_request))


def _guarded(limits: WarehouseLimits, session: requests.Session | None = None) -> requests.Session:
    """Let a session connect to checked addresses: a key file names its own token endpoint.

    Google's client sets no time-outs, or some of its own.
    """
    import requests

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            bounds = connections.Bounds(connect=limits.connect_timeout, answer=limits.response_timeout)
            connections.guard(self.poolmanager, bounds)

        def send(self, *args: Any, **kwargs: Any) -> requests.Response:
            timeout = (limits.connect_timeout, limits.read_timeout)
            return super().send(*args, **kwargs | {"timeout": timeout})

    session = session or requests.Session()
    session.trust_env = False  # no proxy and no .netrc of this machine's user
    for scheme in ("https://", "http://"):
        session.mount(scheme, Adapter())
    return session


def _credentials(config: BigQueryConfig) -> google.auth.credentials.Credentials:
    import google.auth
    from google.oauth2 import service_account

    account: Any = service_account.Credentials  # untyped
    found: google.auth.credentials.Credentials
    if config.authentication is None:
        found, _ = google.auth.default(scopes=[_SCOPE])
        return found
    key = json.loads(config.authentication.service_account_key.get_secret_value())
    try:
        found = account.from_service_account_info(key, scopes=[_SCOPE])
        return found
    except (ValueError, google.auth.exceptions.GoogleAuthError):
        raise Unauthorized(
            "The service account's key file is incomplete, or its key cannot be read."
        ) from None


@contextmanager
def _errors() -> Iterator[None]:
    import google.auth.exceptions as auth
    import requests
    import urllib3
    from google.api_core import exceptions as api

    try:
        yield
    except auth.TransportError:
        raise Unreachable("Google's token endpoint cannot be reached.") from None
    except auth.DefaultCredentialsError:
        raise Unauthorized("This machine has no Google identity: give a service account's key.") from None
    except auth.GoogleAuthError as error:
        if error.retryable or not _is_refusal(error):
            raise Unreachable("Google's token endpoint does not answer as it should.") from None
        raise Unauthorized("Google refused the service account's key.") from None
    except api.GoogleAPICallError as error:
        raise _translated(error) from None
    except (
        api.RetryError,
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        ConnectionError,
    ) as error:
        if connections.is_untrusted(error):
            raise Untrusted("The certificate of the BigQuery API is not trusted.") from None
        raise Unreachable("The BigQuery API cannot be reached.") from None


def _is_refusal(error: Exception) -> bool:
    """Whether a token endpoint has said no (RFC 6749, section 5.2), and not just answered badly."""
    answers = error.args[1:]
    return not answers or any(isinstance(answer, dict) and "error" in answer for answer in answers)


def _translated(error: Any) -> ConnectorError:
    """Keep the API's own sentence: the exception's text holds the URL as well."""
    first = error.errors[0] if error.errors else {}
    reason, message = str(first.get("reason", "")), str(first.get("message") or error.message)
    return _kind(int(error.code or 0), reason)(f"BigQuery: {message.partition(chr(10))[0]}")


def _kind(status: int, reason: str) -> type[ConnectorError]:
    if status == 401 or reason in _DENIED:
        return Unauthorized
    if status == 429 or status >= 500 or reason in _LATER:
        return Unreachable
    if reason == "quotaExceeded":
        return Busy
    return Unauthorized if status == 403 else Rejected
