"""Any REST API as a source, described by its configuration."""
