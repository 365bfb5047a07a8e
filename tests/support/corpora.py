"""Files that nobody here wrote: test suites of other projects, in a folder that not every machine has."""

import os
from pathlib import Path

CORPORA = Path(os.environ.get("HEADRACE_TEST_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")
"""The folder: the variable's, or `shared/corpora` beside the checkout. Tests skip where it is not there."""
