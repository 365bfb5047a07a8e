"""A pipeline's transforms, applied to batches; code among them runs in a confined process."""
