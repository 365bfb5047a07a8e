"""What connectors share, by subject."""
