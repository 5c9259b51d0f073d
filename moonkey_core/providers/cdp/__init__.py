"""Coinbase CDP (embedded wallets): access tokens of end users, which the API of CDP validates."""
