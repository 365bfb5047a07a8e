"""dlt's sources and destinations."""
