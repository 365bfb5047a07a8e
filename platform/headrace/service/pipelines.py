"""Use cases of pipelines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict, TypeVar, cast
from uuid import UUID, uuid4

from headrace.errors import FieldError, Invalid
from headrace.failpoints import reach
from headrace.pipeline.document import parse_config
from headrace.pipeline.faults import InvalidConfig
from headrace.pipeline.secrets import Restored, mask_secrets, restore_secrets
from headrace.records import Page, Pipeline, Policy, Principal, TableUse
from headrace.schedule import check_timezone, normalize_schedule
from headrace.service.configs import open_config, seal_config
from headrace.service.platform import Platform
from headrace.service.targets import Targets
from headrace.store.pipelines import PipelineColumns, PipelineStore
from headrace.store.scoped import RevisionMismatch, require_revision
from headrace.store.sealed import SealedConfig
from headrace.store.targets import Target

NAME_LENGTH = 200
_LOST_RACES = 10  # then the client gets the conflict
T = TypeVar("T")


class InvalidPipeline(Invalid):
    """Fields of a pipeline are invalid. Each fault in `errors` has its own pointer and code."""

    code = "pipeline.invalid"
    title = "Invalid pipeline"
    hint = "Correct the fields that `errors` points to."


@dataclass(frozen=True, kw_only=True)
class PipelineDraft:
    """A new pipeline, as a client describes it."""

    name: str  # 1..200 characters
    config: Mapping[str, Any]
    schedule: str | None = None
    timezone: str = "UTC"
    enabled: bool = True
    domain_id: UUID | None = None
    tags: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)


class PipelineChanges(TypedDict, total=False):
    """Changes of a pipeline. Absent keys stay as they are."""

    name: str
    config: Mapping[str, Any]
    schedule: str | None
    timezone: str
    enabled: bool
    domain_id: UUID | None
    tags: Sequence[str]
    policy: Policy


class Pipelines:
    """The pipelines that `principal` may see and change."""

    def __init__(self, platform: Platform, principal: Principal) -> None:
        self._envelope = platform.envelope
        self._principal = principal
        self._organization_id = principal.organization_id
        self._store = PipelineStore(platform.database, principal.organization_id)
        self._targets = Targets(platform, principal.organization_id)

    def create(self, draft: PipelineDraft) -> Pipeline:
        """Store a pipeline. Nothing is resolved or connected to.

        Raises InvalidPipeline, UnknownDomain, TableTaken.
        """
        pipeline_id = uuid4()
        changes = cast("PipelineChanges", vars(draft))
        columns, parsed = _checked(
            changes, lambda: Restored(raw=draft.config, config=parse_config(draft.config))
        )
        assert parsed is not None, "a draft has a config"
        columns |= self._config_columns(parsed, pipeline_id, revision=1)
        return self._store.create(pipeline_id, columns)

    def list(
        self,
        page: Page,
        *,
        domain_id: UUID | None = None,
        enabled: bool | None = None,
        tag: str | None = None,
        query: str | None = None,
    ) -> tuple[Sequence[Pipeline], int]:
        """Return a page of the pipelines that match all filters, newest first, and how many there are."""
        return self._store.list(page, domain_id=domain_id, enabled=enabled, tag=tag, name_contains=query)

    def get(self, pipeline_id: UUID) -> Pipeline:
        """Return the pipeline. Raises PipelineNotFound."""
        return self._store.get(pipeline_id)

    def get_with_config(self, pipeline_id: UUID) -> tuple[Pipeline, dict[str, Any]]:
        """Return the pipeline and its config, secrets masked unless the principal may read them.

        Raises PipelineNotFound, CannotOpen.
        """
        pipeline, sealed = self._store.get_with_config(pipeline_id)
        config = self._opened(sealed, pipeline_id)
        return pipeline, config if self._principal.reads_secrets else mask_secrets(config)

    def update(
        self, pipeline_id: UUID, changes: PipelineChanges, *, if_revision: int | None = None
    ) -> Pipeline:
        """Change the pipeline. A running run keeps the config that it started with.

        A masked secret in a config stands for the stored one. Raises PipelineNotFound, RevisionMismatch,
        InvalidPipeline, UnknownDomain, TableTaken, CannotOpen.
        """
        if "config" not in changes:
            columns, _ = _checked(changes)
            return self._updated(pipeline_id, columns, if_revision)
        for _ in range(_LOST_RACES):
            try:
                return self._update_config(pipeline_id, changes, if_revision)
            except RevisionMismatch:
                # Another change got in between: prepare this one anew, on top of that.
                if if_revision is not None:
                    raise
        return self._update_config(pipeline_id, changes, if_revision)

    def _update_config(
        self, pipeline_id: UUID, changes: PipelineChanges, if_revision: int | None
    ) -> Pipeline:
        """Change a pipeline and its config, unless it is changed meanwhile.

        The config is parsed and sealed before the transaction: parsing may import a user's connector file.
        """
        pipeline, sealed = self._store.get_with_config(pipeline_id)
        require_revision(pipeline.revision, if_revision)
        stored = self._opened(sealed, pipeline_id)
        columns, parsed = _checked(changes, lambda: restore_secrets(changes["config"], stored))
        assert parsed is not None, "the changes have a config"
        columns |= self._config_columns(parsed, pipeline_id, revision=pipeline.revision + 1)
        return self._updated(pipeline_id, columns, pipeline.revision)

    def _updated(self, pipeline_id: UUID, columns: PipelineColumns, if_revision: int | None) -> Pipeline:
        pipeline = self._store.update(pipeline_id, columns, if_revision=if_revision)
        reach("changed", pipeline_id)
        return pipeline

    def delete(self, pipeline_id: UUID, *, if_revision: int | None = None) -> None:
        """Delete the pipeline with its runs, logs and outputs. Raises PipelineNotFound, RevisionMismatch."""
        self._store.delete(pipeline_id, if_revision=if_revision)
        reach("deleted", pipeline_id)

    def duplicate(self, pipeline_id: UUID, name: str | None = None) -> Pipeline:
        """Store a disabled copy that shares neither runs nor sync state with the original.

        The copy cannot be enabled or run while the original fills its table, unless they share it.
        Raises PipelineNotFound, CannotOpen.
        """
        original, sealed = self._store.get_with_config(pipeline_id)
        config = _without_adopt(self._opened(sealed, pipeline_id))
        copy_id = uuid4()
        return self._store.create(
            copy_id,
            PipelineColumns(
                name=name or self._name_of_copy(original.name),
                source=original.source,
                stream=original.stream,
                destination=original.destination,
                sync_mode=original.sync_mode,
                schedule=original.schedule,
                timezone=original.timezone,
                enabled=False,
                domain_id=original.domain_id,
                tags=original.tags,
                policy=original.policy,
                config=self._sealed(config, copy_id, revision=1),
                target=self._target_of_copy(pipeline_id, config),
            ),
        )

    def _target_of_copy(self, original_id: UUID, config: Mapping[str, Any]) -> Target:
        try:
            target = self._targets.of(parse_config(config))
        except InvalidConfig:  # of a connector that is gone: the copy runs as little as the original
            return Target(hash=None, use=TableUse.OWN, is_held=False)
        self._store.stamp_target(original_id, target)
        return replace(target, is_held=False)

    def _name_of_copy(self, name: str) -> str:
        """Return `X (Copy)`, or the first free name of `X (Copy 2)`, `X (Copy 3)`..., shortened to fit."""
        taken = self._store.names(name[: NAME_LENGTH // 2])
        number = 1
        while True:
            suffix = " (Copy)" if number == 1 else f" (Copy {number})"
            candidate = name[: NAME_LENGTH - len(suffix)] + suffix
            if candidate not in taken:
                return candidate
            number += 1

    def _config_columns(self, parsed: Restored, pipeline_id: UUID, *, revision: int) -> PipelineColumns:
        """Return the columns that follow from a config."""
        config = parsed.config
        return PipelineColumns(
            source=config.source_name,
            stream=config.stream,
            destination=config.destination_name,
            sync_mode=config.sync_mode.value,
            config=self._sealed(parsed.raw, pipeline_id, revision=revision),
            target=self._targets.of(config),
        )

    def _sealed(self, config: Mapping[str, Any], pipeline_id: UUID, *, revision: int) -> SealedConfig:
        return seal_config(
            self._envelope,
            config,
            organization_id=self._organization_id,
            pipeline_id=pipeline_id,
            revision=revision,
        )

    def _opened(self, sealed: SealedConfig, pipeline_id: UUID) -> dict[str, Any]:
        return open_config(
            self._envelope, sealed, organization_id=self._organization_id, pipeline_id=pipeline_id
        )


def _checked(
    changes: PipelineChanges, parse: Callable[[], Restored] | None = None
) -> tuple[PipelineColumns, Restored | None]:
    """Return the columns of the changes, but for the config's, and what `parse` made of the config.

    Raises InvalidPipeline with all faults.
    """
    faults: list[FieldError] = []
    columns = PipelineColumns()
    for name in ("name", "enabled", "domain_id", "tags", "policy"):
        if name in changes:
            columns[name] = changes[name]
    if "schedule" in changes:
        schedule = changes["schedule"]
        columns["schedule"] = _or_fault(lambda: normalize_schedule(schedule), "", faults)
    if "timezone" in changes:
        columns["timezone"] = _or_fault(lambda: check_timezone(changes["timezone"]), "", faults) or ""
    parsed = _or_fault(parse, "/config", faults) if parse else None
    if faults:
        raise InvalidPipeline("The pipeline has faults.", errors=faults)
    return columns, parsed


def _without_adopt(config: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a config without its claim on a table of others: that was the original's alone."""
    destination = {key: value for key, value in config["destination"].items() if key != "adopt"}
    return {**config, "destination": destination}


def _or_fault(check: Callable[[], T], pointer: str, faults: list[FieldError]) -> T | None:
    """Return what the check returns. If it raises Invalid, add its faults below the pointer."""
    try:
        return check()
    except Invalid as error:
        found = error.errors or (FieldError(pointer="", code=error.code, detail=error.detail),)
        faults.extend(
            FieldError(pointer=pointer + fault.pointer, code=fault.code, detail=fault.detail)
            for fault in found
        )
        return None
