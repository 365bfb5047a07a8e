"""What every connector keeps to, as a suite that any connector's author can run."""
