"""Tensors in, a run directory out: the trainer, the writer and what they need."""
