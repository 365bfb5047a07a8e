"""Dagster's workspace, with permissions for each request of the webserver."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._core.workspace.permissions import PermissionResult, Permissions

READ_ONLY_SCOPE = "headrace.read_only"
"""Key in an ASGI scope: True if the client may only read."""

_IN_THE_API = PermissionResult(
    enabled=False, disabled_reason="Enable or disable the pipeline through Headrace's API."
)


class GuardedContext(WorkspaceRequestContext):
    """What a request may do. Dagster's UI hides the rest.

    Nobody switches a schedule in the UI: Dagster would store the switch, and it would override the pipeline's
    own `enabled` for ever.
    """

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        """The permissions everywhere."""
        return _without_switches(super().permissions)

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        """Return the permissions on one location's definitions."""
        return _without_switches(super().permissions_for_location(location_name=location_name))


class GuardedWorkspace(WorkspaceProcessContext):
    """The workspace of the webserver's requests, read-only for clients that may only read."""

    def create_request_context(self, source: Any = None) -> WorkspaceRequestContext:
        """Return a request's context; `source` is the HTTP connection."""
        return GuardedContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            # A connection of unknown origin may only read.
            read_only=source is None or bool(source.scope.get(READ_ONLY_SCOPE, True)),
        )


def guarded_workspace(instance: DagsterInstance, workspace_file: Path) -> GuardedWorkspace:
    """Return the workspace of a `workspace.yaml`, as a context manager."""
    return GuardedWorkspace(instance, WorkspaceFileTarget([str(workspace_file)]))


def _without_switches(permissions: Mapping[str, PermissionResult]) -> Mapping[str, PermissionResult]:
    switches = (Permissions.START_SCHEDULE, Permissions.STOP_RUNNING_SCHEDULE)
    return {**permissions, **dict.fromkeys(switches, _IN_THE_API)}
