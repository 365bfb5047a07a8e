"""The commands, except `headrace up`."""
