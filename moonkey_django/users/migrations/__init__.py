"""Migrations of the table that maps Django users to MoonKey users."""
