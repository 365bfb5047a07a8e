"""The boundary of an incremental read: what is new, and what the next run must know."""
