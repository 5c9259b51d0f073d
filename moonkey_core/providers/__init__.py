"""The services that can vouch for a session, one module each: builds the call, reads the reply."""
