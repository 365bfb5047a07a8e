"""PostgreSQL as a source and a destination."""
