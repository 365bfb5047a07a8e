"""What every endpoint is made of.

Start at `routing`, which declares endpoints. `requests` and `responses` hold what a handler takes and
returns, `problems` how errors are answered. Nothing here knows pipelines, runs or any other resource.
"""
