"""The provider Stytch: its API, its session JWTs, and the permissions of its roles."""
