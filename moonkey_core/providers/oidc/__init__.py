"""OpenID Connect issuers: one provider for all, and the differences between them as data."""
