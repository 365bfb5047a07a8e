"""The contract between Headrace and a connector; import it from `headrace.connectors`."""
