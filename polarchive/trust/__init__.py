"""Keys of provers, and later the judge's own trust file; nothing here is read from an archive."""
