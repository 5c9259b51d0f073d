"""Wallets of users: those that they have proven to own, and those that the service keeps for them."""

from __future__ import annotations

import secrets

from moonkey_core.emulator.errors import invalid
from moonkey_core.emulator.records import Json, User, new_id, random_text
from moonkey_core.emulator.state import State

MAX_WALLETS = 20
_SHORT_NAMES = {"eth": "ethereum", "sol": "solana", "btc": "bitcoin"}
_MANAGED = ("ethereum", "solana", "bitcoin", "dot", "xlm")


def keep_wallet(state: State, user: User, wallet_id: str, wallet_type: str, address: str) -> Json:
    """Return the user's wallet with this address, added if need be."""
    for wallet in user.wallets:
        if wallet["public_address"] == address:
            return wallet
    if len(user.wallets) >= MAX_WALLETS:
        raise invalid(f"A user may have {MAX_WALLETS} wallets at most")
    now = int(state.now())
    wallet = {
        "id": wallet_id,
        "app_id": state.app_id,
        "user_id": user.user_id,
        "public_address": address,
        "wallet_type": wallet_type,
        "is_default": not user.wallets,
        "created_at": now,
        "updated_at": now,
    }
    user.wallets.append(wallet)
    state.store.save_user(user)
    return wallet


def check_managed(wallet_type: str) -> None:
    """Refuse a type of wallet that the service does not keep."""
    if _plain(wallet_type) not in _MANAGED:
        raise invalid(f"wallet_type must be one of {', '.join(_MANAGED)}")


def managed_wallet(state: State, user: User, wallet_type: str) -> Json:
    """Return the user's wallet of this type, invented if need be. Its address has no owner."""
    for wallet in user.wallets:
        if _plain(wallet["wallet_type"]) == _plain(wallet_type):
            return wallet
    address = f"0x{secrets.token_hex(20)}" if _plain(wallet_type) == "ethereum" else random_text(44)
    return keep_wallet(state, user, new_id("wlt"), wallet_type, address)


def _plain(wallet_type: str) -> str:
    return _SHORT_NAMES.get(wallet_type.lower(), wallet_type.lower())
