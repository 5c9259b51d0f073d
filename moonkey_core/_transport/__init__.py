"""From a described call to its reply: connections, retries, shared calls, limits."""
