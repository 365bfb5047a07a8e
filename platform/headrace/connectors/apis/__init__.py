"""Sources of well-known APIs, built on `rest`."""
