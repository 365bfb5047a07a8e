"""From records and pages to Arrow batches of one schema."""
