"""What a framework package reads of a request and writes of a response."""
