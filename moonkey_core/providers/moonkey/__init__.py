"""The MoonKey API: how each call is built, and what its reply means."""
