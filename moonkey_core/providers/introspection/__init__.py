"""Opaque tokens of any authorization server, by token introspection (RFC 7662) and revocation (RFC 7009)."""
