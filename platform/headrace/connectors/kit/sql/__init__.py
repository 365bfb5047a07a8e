"""SQL systems: names, loads, batches with cursors, and what fits a column."""
