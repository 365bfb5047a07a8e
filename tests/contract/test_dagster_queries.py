"""The queries hold against the schema of the Dagster that is installed."""

from importlib import resources

import pytest
from dagster_graphql.schema import create_schema
from graphql import GraphQLEnumType, GraphQLSchema, parse, validate

QUERIES = sorted(
    file.name
    for file in (resources.files("headrace_api.dagster") / "queries").iterdir()
    if file.name.endswith(".graphql")
)


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return create_schema().graphql_schema


def test_there_are_queries() -> None:
    assert QUERIES


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_is_valid_in_dagsters_schema(name: str, schema: GraphQLSchema) -> None:
    document = parse((resources.files("headrace_api.dagster") / "queries" / name).read_text(encoding="utf-8"))

    assert validate(schema, document) == []


@pytest.mark.parametrize(
    ("enum", "values"),
    [
        (
            "RunStatus",
            {"NOT_STARTED", "QUEUED", "STARTING", "STARTED", "CANCELING", "SUCCESS", "FAILURE", "CANCELED"},
        ),
        ("TerminateRunPolicy", {"SAFE_TERMINATE", "MARK_AS_CANCELED_IMMEDIATELY"}),
        ("LogLevel", {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}),
    ],
)
def test_dagster_still_has_the_values_that_we_tell_apart(
    enum: str, values: set[str], schema: GraphQLSchema
) -> None:
    found = schema.type_map[enum]

    assert isinstance(found, GraphQLEnumType)
    assert values <= set(found.values)


def test_dagster_still_has_the_types_that_we_tell_apart(schema: GraphQLSchema) -> None:
    told_apart = {
        "ExecutionStepFailureEvent",
        "LaunchRunSuccess",
        "LogMessageEvent",
        "PipelineNotFoundError",
        "RepositoryLocation",
        "RepositoryLocationNotFound",
        "RunFailureEvent",
        "RunNotFoundError",
        "TerminateRunFailure",
    }

    assert told_apart <= set(schema.type_map)
