"""The MoonKey API: how each call is built, and how its reply is read."""
