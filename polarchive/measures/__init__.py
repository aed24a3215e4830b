"""Pure functions that prover, judge and adversary may all use."""
