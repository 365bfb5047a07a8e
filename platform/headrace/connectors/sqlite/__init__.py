"""SQLite as a source and a destination."""
