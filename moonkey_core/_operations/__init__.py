"""What the clients can do, each operation once, and how its parts are put together."""
