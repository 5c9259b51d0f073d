"""Sliding expiration, device changes, and connections that end with their session."""
