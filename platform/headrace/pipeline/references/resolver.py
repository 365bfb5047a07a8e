"""References in configurations: texts such as `env://PIPELINE_TOKEN` that stand for a value kept elsewhere.

They are stored as they are, and resolved in a run's worker only. A whole value may be one, and a longer one
may hold some as `${env://HOST}`. docs/references.md says what each kind reads and what it refuses.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar

from headrace.connectors import ConnectorError
from headrace.connectors.contract.references import INLINE, is_reference, refers, schemes
from headrace.keepers.faults import KeeperRefused, KeeperUnreachable

if TYPE_CHECKING:
    from headrace.settings import Settings

_BUILT_IN = {
    "env": "headrace.pipeline.references.local:EnvironmentProvider",
    "file": "headrace.pipeline.references.local:FileProvider",
    "gsm": "headrace.pipeline.references.google:GoogleProvider",
    "vault": "headrace.pipeline.references.vault:VaultProvider",
}


class ReferenceUnresolved(ConnectorError):
    """A reference leads to nothing, or to something that pipelines may not read."""

    code = "reference.unresolved"
    title = "Reference cannot be resolved"
    hint = "docs/references.md says what each kind of reference reads and what allows it."

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"{reference} cannot be resolved: {reason}")


class ReferenceUnreachable(ReferenceUnresolved):
    """The secret manager did not answer. A retry of the run may succeed."""

    code = "reference.unreachable"
    title = "Keeper of secrets unreachable"
    temporary = True


def not_given(reference: str, refused: KeeperRefused) -> ReferenceUnresolved:
    """Return the error of a reference whose keeper did not give its value."""
    kind = ReferenceUnreachable if isinstance(refused, KeeperUnreachable) else ReferenceUnresolved
    return kind(reference, str(refused))


class Provider(ABC):
    """One kind of reference. A package brings its own as an entry point of `headrace.references`.

    The entry point's name is the scheme, and its class is made with the settings, once for each run.
    """

    scheme: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def value(self, reference: str) -> str:
        """Return what a reference, given with its scheme, stands for. Raises ReferenceUnresolved."""


class Resolver:
    """Resolves the references of one configuration, each once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._providers: dict[str, Provider] = {}
        self._values: dict[str, str] = {}

    @property
    def values(self) -> tuple[str, ...]:
        """The values of the references that were resolved so far."""
        return tuple(value for value in self._values.values() if value)

    def resolve(self, text: str, *, is_secret: bool) -> str:
        """Return a text with its references replaced. Raises ReferenceUnresolved.

        Only a secret may be a `file://` as a whole: elsewhere that can be the address of data.
        """
        if is_reference(text) and refers(text, is_secret=is_secret):
            return self._value(text)
        return INLINE.sub(lambda found: self._value(found[1]) if found[2] in schemes() else found[0], text)

    def _value(self, reference: str) -> str:
        if reference not in self._values:
            self._values[reference] = self._asked(reference)
        return self._values[reference]

    def _asked(self, reference: str) -> str:
        try:
            return self._provider(reference).value(reference)
        except ReferenceUnresolved:
            raise
        except Exception as error:  # of a package's provider: its text may contain the value
            raise ReferenceUnresolved(
                reference, f"its provider stopped with {type(error).__name__}."
            ) from None

    def _provider(self, reference: str) -> Provider:
        scheme = reference.partition("://")[0]
        if scheme not in self._providers:
            module, _, name = _providers()[scheme].partition(":")
            try:
                provider = getattr(import_module(module), name)
            except (ImportError, AttributeError):
                raise ReferenceUnresolved(reference, "its package cannot be imported.") from None
            self._providers[scheme] = provider(self._settings)
        return self._providers[scheme]


@cache
def _providers() -> dict[str, str]:
    """Return the `module:Class` of each scheme's provider. Packages cannot replace built-in ones."""
    return {entry.name: entry.value for entry in entry_points(group="headrace.references")} | _BUILT_IN
