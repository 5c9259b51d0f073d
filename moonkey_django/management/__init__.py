"""The management commands of this package."""
