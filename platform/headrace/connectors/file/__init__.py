"""Files as a destination."""
