"""The endpoints, one module for each resource: its models, its handlers, and the `routes` that serve them.

`run_logs`, `log_stream`, `downloads` and `conversion` are parts of `runs`; `policies` is a part of
`pipelines`.
"""
