"""Stytch's API for consumer apps, as an emulator on this machine."""
