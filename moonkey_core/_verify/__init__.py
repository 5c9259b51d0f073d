"""From a credential to its verdict."""
