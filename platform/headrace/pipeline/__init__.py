"""What describes a pipeline: its document, references and transforms."""
