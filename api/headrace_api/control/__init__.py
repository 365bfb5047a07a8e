"""The loops that carry out what the API has stored. `control.Control` starts and stops them.

The rows are both the truth and the queue. The loops only bring Dagster and the output files in line with
them. Any number of API processes may run the loops. Leases in the database decide which process does what,
and it is safe to do everything twice.
"""
