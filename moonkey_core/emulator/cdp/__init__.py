"""An emulated Coinbase CDP: access tokens of end users, their refresh, and the API that validates them."""
