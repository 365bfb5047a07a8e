"""Use cases of pipelines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, TypeVar
from uuid import UUID, uuid4

from headrace.errors import FieldError, Invalid
from headrace.pipeline.document import PipelineConfig, parse_config
from headrace.pipeline.secrets import mask_secrets, restore_secrets
from headrace.records import Page, Pipeline, Policy, Principal
from headrace.schedule import check_timezone, normalize_schedule
from headrace.service.configs import open_config, seal_config
from headrace.service.platform import Platform
from headrace.store.pipelines import PipelineColumns, PipelineStore, SealedConfig

NAME_LENGTH = 200
T = TypeVar("T")


class InvalidPipeline(Invalid):
    """A pipeline's fields are wrong; each fault has its own pointer and code in `errors`."""

    code = "pipeline.invalid"
    title = "Invalid pipeline"
    hint = "Correct the fields that `errors` points to."


@dataclass(frozen=True, kw_only=True)
class PipelineDraft:
    """What a client says of a new pipeline."""

    name: str  # 1..200 characters
    config: Mapping[str, Any]
    schedule: str | None = None
    timezone: str = "UTC"
    enabled: bool = True
    domain_id: UUID | None = None
    tags: Sequence[str] = ()
    policy: Policy = field(default_factory=Policy)


class PipelineChanges(TypedDict, total=False):
    """What a client changes of a pipeline; absent keys stay as they are."""

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

    def create(self, draft: PipelineDraft) -> Pipeline:
        """Store a pipeline. Nothing is resolved or connected to. Raises InvalidPipeline, UnknownDomain."""
        pipeline_id = uuid4()
        columns = _checked(
            PipelineChanges(
                name=draft.name,
                config=draft.config,
                schedule=draft.schedule,
                timezone=draft.timezone,
                enabled=draft.enabled,
                domain_id=draft.domain_id,
                tags=draft.tags,
                policy=draft.policy,
            )
        )
        columns["config"] = self._sealed(draft.config, pipeline_id, revision=1)
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
        """Change the pipeline; a run that is under way keeps what it started with.

        A masked secret in a config stands for the stored one. Raises PipelineNotFound, RevisionMismatch,
        InvalidPipeline, UnknownDomain, CannotOpen.
        """

        def edit(pipeline: Pipeline, sealed: SealedConfig) -> PipelineColumns:
            if "config" not in changes:
                return _checked(changes)
            stored = self._opened(sealed, pipeline_id)
            config = _within_config(lambda: restore_secrets(changes["config"], stored))
            columns = _checked(changes | {"config": config})
            columns["config"] = self._sealed(config, pipeline_id, revision=pipeline.revision + 1)
            return columns

        return self._store.update(pipeline_id, edit, if_revision=if_revision)

    def delete(self, pipeline_id: UUID, *, if_revision: int | None = None) -> None:
        """Delete the pipeline with its runs, logs and outputs. Raises PipelineNotFound, RevisionMismatch."""
        self._store.delete(pipeline_id, if_revision=if_revision)

    def duplicate(self, pipeline_id: UUID, name: str | None = None) -> Pipeline:
        """Store a disabled copy that shares neither runs nor sync state with the original.

        Raises PipelineNotFound, CannotOpen.
        """
        original, sealed = self._store.get_with_config(pipeline_id)
        config = self._opened(sealed, pipeline_id)
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
            ),
        )

    def _name_of_copy(self, name: str) -> str:
        """Return `X (Copy)`, or the first of `X (Copy 2)`, `X (Copy 3)`... that is free, cut to fit."""
        taken = self._store.names(name[: NAME_LENGTH // 2])
        number = 1
        while True:
            suffix = " (Copy)" if number == 1 else f" (Copy {number})"
            candidate = name[: NAME_LENGTH - len(suffix)] + suffix
            if candidate not in taken:
                return candidate
            number += 1

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


def _checked(changes: PipelineChanges) -> PipelineColumns:
    """Return the columns of the changes (a config's names, not the config). Raises InvalidPipeline."""
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
    if "config" in changes:
        config = _or_fault(lambda: parse_config(changes["config"]), "/config", faults)
        if config is not None:
            columns.update(_described(config))
    if faults:
        raise InvalidPipeline("The pipeline has faults.", errors=faults)
    return columns


def _described(config: PipelineConfig) -> PipelineColumns:
    return PipelineColumns(
        source=config.source_name,
        stream=config.stream,
        destination=config.destination_name,
        sync_mode=config.sync_mode.value,
    )


def _or_fault(check: Callable[[], T], pointer: str, faults: list[FieldError]) -> T | None:
    """Return what the check returns; where it raises Invalid, add its faults below the pointer."""
    try:
        return check()
    except Invalid as error:
        found = error.errors or (FieldError(pointer="", code=error.code, detail=error.detail),)
        faults.extend(
            FieldError(pointer=pointer + fault.pointer, code=fault.code, detail=fault.detail)
            for fault in found
        )
        return None


def _within_config(check: Callable[[], T]) -> T:
    faults: list[FieldError] = []
    value = _or_fault(check, "/config", faults)
    if value is None:
        raise InvalidPipeline("The pipeline has faults.", errors=faults)
    return value
