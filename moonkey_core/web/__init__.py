"""The parts that a framework package uses to read a request and to write a response."""
