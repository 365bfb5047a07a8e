"""Arrow and JSON: columns as JSON text, records as batches, reading ahead."""
