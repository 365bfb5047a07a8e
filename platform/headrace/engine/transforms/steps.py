"""The transforms of a pipeline, applied to each batch between the source and the output file."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Protocol

import pyarrow as pa

from headrace.engine.transforms.code_steps import CodeSteps
from headrace.engine.transforms.columns import ColumnsStep
from headrace.pipeline.transforms import Transform

Transformation = Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]


class _Step(Protocol):
    def apply(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]: ...


@contextmanager
def transformation(
    transforms: Sequence[Transform],
    *,
    check: Callable[[], None],
    known: Collection[str] = (),
    named: Callable[[frozenset[str]], None] = lambda names: None,
) -> Iterator[Transformation]:
    """Hold the steps ready: what it gives turns a batch into the batches that come of it, in order.

    `check` is asked while code runs, and may end it by raising. At the end `named` is told the columns that
    `columns` steps name and records had; `known` are those of earlier runs.
    Raises TransformFailed, MissingColumn and NoSandbox.
    """
    with ExitStack() as stack:
        steps: list[_Step] = []
        for is_code, group in groupby(transforms, key=lambda transform: transform.columns is None):
            if is_code:
                steps.append(stack.enter_context(CodeSteps(list(group), check)))
            else:
                steps.extend(map(ColumnsStep, group))
        yield lambda batch: _through(steps, batch)
        for step in steps:
            if isinstance(step, ColumnsStep):
                step.require_columns(known)
                named(step.named)


def _through(steps: Sequence[_Step], batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if not steps:
        yield batch
        return
    for changed in steps[0].apply(batch):
        yield from _through(steps[1:], changed)
