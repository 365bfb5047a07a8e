"""One run's data: extract, Arrow, Parquet, load."""
