"""SPEC.md in code: bytes only, no torch, no network."""
