"""The loops that carry out what the API's rows ask for.

The rows are the truth and the queue; the loops only make Dagster and the outputs agree with them. Any number
of API processes may run them: leases in the database decide who does what, and everything may be done twice.
"""
