"""Let attacks meet judges: every spoof is forged once and replayed once, and every policy judges that evidence."""
