"""Secrets at rest: the keyring and the envelope format."""
