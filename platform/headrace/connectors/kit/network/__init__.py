"""Connections to hosts that users name: each address is checked where it is connected to."""
