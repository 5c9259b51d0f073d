"""The checks of ``moonkey doctor``, and the account of ``moonkey explain``."""
