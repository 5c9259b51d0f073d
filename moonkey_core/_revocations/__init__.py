"""What a table of revocations is made of: entries, their dates, the tables themselves. No lock, no I/O."""
