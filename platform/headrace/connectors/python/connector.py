"""A data engineer's own function as a source: it yields records, and Headrace does the rest.

The function runs in the run's worker, or in a check's process of its own; the REST service never imports it.
Of the local folder any function may be named. Elsewhere only one that is marked with `stream`: a
configuration comes over REST, and must not choose what of a whole Python installation is called.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from headrace.connectors import Checkpoint, ConnectorError, ReadRequest, Source, Stream, SyncMode, local
from headrace.connectors.python.mark import is_marked

if TYPE_CHECKING:
    import pyarrow as pa

_GIVEN = ("stream", "cursor", "log")  # what a function is given beside its own parameters


class FunctionUnusable(ConnectorError):
    """The function does not exist, is not marked, or does not take the parameters that are configured."""

    code = "python.function_unusable"
    title = "Function cannot be used"
    hint = "Name it as `module:function`: of a file in the connectors folder, or of a package, with @stream."


class FunctionFailed(ConnectorError):
    """The function raised an error; its text may hold a secret and is withheld."""

    code = "python.function_failed"
    title = "Function failed"
    hint = "Look at that line; raise a ConnectorError to say more in the run's log."


class PythonSource(Source):
    """Calls `function(**params, **secrets)`, and with `stream`, `cursor` and `log` where it takes them.

    It returns or yields records (dicts), lists of records, Arrow batches or tables, and Checkpoints.
    """

    name: ClassVar[str] = "python"
    title: ClassVar[str] = "Python function"
    summary: ClassVar[str] = "Records that a function of your own yields."
    dynamic_streams: ClassVar[bool] = True
    dynamic_sync_modes: ClassVar[tuple[SyncMode, ...]] = (SyncMode.FULL_REFRESH, SyncMode.INCREMENTAL)
    address_fields: ClassVar[tuple[str, ...]] = ("function", "params")

    function: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        max_length=300,
        description="`module:function`, where the module is a file in the connectors folder or installed.",
    )
    params: dict[str, Any] = Field({}, description="The function's arguments, by name.")
    secrets: dict[str, SecretStr] = Field({}, description="Further arguments, kept secret: texts, by name.")
    primary_key: tuple[str, ...] = Field((), description="Fields that identify a record, to merge on.")

    @model_validator(mode="after")
    def _refuse_two_values_for_one_argument(self) -> PythonSource:
        repeated = sorted(self.params.keys() & self.secrets.keys())
        if repeated:
            raise PydanticCustomError("repeated", f"In `params` and in `secrets`: {', '.join(repeated)}.")
        return self

    def check(self) -> str:
        """Import the function and see whether it takes the parameters; it is not called."""
        self._bound(ReadRequest(stream="check"))
        return f"Found {self.function}; a run calls it."

    def describe(self, stream: str) -> Stream:
        """Any stream's name is the function's to make sense of."""
        return Stream(name=stream, sync_modes=self.dynamic_sync_modes, primary_key=self.primary_key)

    def read(self, request: ReadRequest) -> Iterator[pa.RecordBatch | list[dict[str, Any]] | Checkpoint]:
        """Yield what the function yields, single records gathered for a second at most."""
        from headrace.connectors.kit.arrow.batching import gathered

        call = self._bound(request)
        try:
            yield from gathered(call())
        except ConnectorError:
            raise
        except Exception as error:
            raise FunctionFailed(f"{type(error).__name__} at {_place(error, self.function)}.") from None

    def _bound(self, request: ReadRequest) -> Callable[[], Any]:
        """The call with all its arguments. Raises FunctionUnusable."""
        function = _load(self.function)
        arguments = self.params | {name: value.get_secret_value() for name, value in self.secrets.items()}
        given = {name: getattr(request, name) for name in _GIVEN if name not in arguments}
        signature = inspect.signature(function)
        takes_any = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
        wanted = {name: value for name, value in given.items() if takes_any or name in signature.parameters}
        try:
            bound = signature.bind(**arguments, **wanted)
        except TypeError as error:
            raise FunctionUnusable(f"{self.function}: {error}.") from None
        return lambda: function(*bound.args, **bound.kwargs)


def _load(reference: str) -> Callable[..., Any]:
    module_name, _, name = reference.partition(":")
    module = local.folder().module(module_name)
    is_own = module is not None
    try:
        module = module or import_module(module_name)
    except ModuleNotFoundError as error:
        raise FunctionUnusable(f"There is no module {error.name}.") from None
    except Exception as error:
        raise FunctionUnusable(f"{module_name} cannot be imported: {type(error).__name__}.") from None
    function = getattr(module, name, None)
    if not inspect.isfunction(function):
        raise FunctionUnusable(f"{module_name} has no function {name}.")
    if not (is_marked(function) or (is_own and function.__module__ == module.__name__)):
        raise FunctionUnusable(f"{reference} is not marked with @stream.")
    return function


def _place(error: Exception, reference: str) -> str:
    """The last line of the function's own file; of what it called where that is not on the way."""
    frames = traceback.extract_tb(error.__traceback__)
    ending = reference.partition(":")[0].rpartition(".")[2] + ".py"
    own = [frame for frame in frames if frame.filename.endswith(f"/{ending}")] or frames
    return f"{own[-1].filename.rpartition('/')[2]}:{own[-1].lineno}"
