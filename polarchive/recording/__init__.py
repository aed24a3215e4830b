"""Turn what a training loop feeds into a run directory: arrays in, bytes out, without torch."""
