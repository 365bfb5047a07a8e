"""`python -m headrace_api` serves the REST API."""

from headrace_api.server import main

main()
