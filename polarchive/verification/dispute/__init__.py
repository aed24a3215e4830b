"""Settle whose a model is, where two archives claim it."""
