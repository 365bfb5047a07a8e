"""A pipeline's steps over its records, one after the other, between the source and the output file."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from typing import Protocol

import pyarrow as pa

from headrace.engine.code_steps import CodeSteps
from headrace.engine.columns import ColumnsStep
from headrace.pipeline.transforms import Transform

Transformation = Callable[[pa.RecordBatch], Iterator[pa.RecordBatch]]


class _Step(Protocol):
    def apply(self, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]: ...


@contextmanager
def transformation(
    transforms: Sequence[Transform], *, check: Callable[[], None], log: logging.Logger
) -> Iterator[Transformation]:
    """Hold the steps ready: what it gives turns a batch into the batches that come of it, in order.

    `check` is asked while code runs, and may end it by raising. Raises TransformFailed and NoSandbox.
    """
    with ExitStack() as stack:
        steps: list[_Step] = []
        for is_code, group in groupby(transforms, key=lambda transform: transform.columns is None):
            if is_code:
                steps.append(stack.enter_context(CodeSteps(list(group), check)))
            else:
                steps.extend(map(ColumnsStep, group))
        yield lambda batch: _through(steps, batch)
        for transform, step in zip(_of_columns(transforms), _columns_steps(steps), strict=True):
            if step.missing:
                log.warning("Transform %s: no record had %s", transform.label, ", ".join(step.missing))


def _through(steps: Sequence[_Step], batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    if not steps:
        yield batch
        return
    for changed in steps[0].apply(batch):
        yield from _through(steps[1:], changed)


def _of_columns(transforms: Sequence[Transform]) -> list[Transform]:
    return [transform for transform in transforms if transform.columns is not None]


def _columns_steps(steps: Sequence[_Step]) -> list[ColumnsStep]:
    return [step for step in steps if isinstance(step, ColumnsStep)]
