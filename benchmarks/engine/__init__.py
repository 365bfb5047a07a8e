"""The engine beside its peers and beside the limit: `python -m benchmarks.engine --help`."""
