"""The commands of this package, each in a module of its name."""
