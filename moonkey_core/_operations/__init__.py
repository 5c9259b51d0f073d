"""The operations of the clients, each once as a plan, and the wiring of a client."""
