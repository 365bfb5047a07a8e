"""What stands before Dagster's webserver: the guard, sign-in, and pipelines' names in pages."""
