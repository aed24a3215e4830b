"""The questions a judge asks, one file each: of the archive as a whole, or of the evidence on one segment."""
