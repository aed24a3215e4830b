"""An archive in, a verdict out."""
