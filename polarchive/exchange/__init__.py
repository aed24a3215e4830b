"""Carry openings from prover to judge, over a channel that both authenticate."""
