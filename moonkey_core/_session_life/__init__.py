"""What follows from the life of a session: it is extended, its device changes, connections end with it."""
