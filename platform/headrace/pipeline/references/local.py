"""References to environment variables and files of the worker's machine that the settings allow."""

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar
from urllib.parse import unquote

from headrace.pipeline.references.resolver import Provider, ReferenceUnresolved

_OWN = "HEADRACE_"
_LARGEST = 64 * 1024  # bytes of a file


class EnvironmentProvider(Provider):
    """`env://NAME`: a variable that the settings allow, and never one of Headrace's own."""

    scheme: ClassVar[str] = "env"

    def value(self, reference: str) -> str:
        """Return the value of the variable at the start of the worker."""
        name, allowed = reference.removeprefix("env://"), self.settings.reference_variables
        if name.startswith(_OWN) or not any(fnmatchcase(name, pattern) for pattern in allowed):
            listed = ", ".join(allowed) or "none"
            raise ReferenceUnresolved(
                reference, f"pipelines may read {listed} (setting HEADRACE_REFERENCE_VARIABLES)."
            )
        value = os.environ.get(name)
        if not value:
            raise ReferenceUnresolved(reference, "the variable is not set where the platform was started.")
        return value


class FileProvider(Provider):
    """`file:///path`, or `file://path` relative to the folder: a text file in the allowed folder."""

    scheme: ClassVar[str] = "file"

    def value(self, reference: str) -> str:
        """Return the text of the file without trailing line ends."""
        folder = self.settings.references
        name = unquote(reference.removeprefix("file://")).replace("\0", "\ufffd")
        path = Path(os.path.realpath(folder / name))
        if not path.is_relative_to(folder):  # also if a link in the folder leads out of it
            raise ReferenceUnresolved(reference, f"pipelines may read files in {folder} only.")
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
            text = content.decode().rstrip("\r\n")
        except OSError as error:
            raise ReferenceUnresolved(reference, f"{error.strerror}.") from None
        except ValueError:
            raise ReferenceUnresolved(reference, "the file is not UTF-8 text.") from None
        if not text or len(content) > _LARGEST:
            raise ReferenceUnresolved(reference, f"the file is empty or has over {_LARGEST:,} bytes.")
        return text
