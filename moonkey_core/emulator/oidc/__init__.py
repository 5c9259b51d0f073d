"""A small OpenID Connect issuer on your own machine, for development and tests."""
