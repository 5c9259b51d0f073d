"""What tests need: a suite of checks that a provider of your own has to pass; see ``docs/providers.md``.

::

    @pytest.mark.parametrize("check", provider_conformance(make, sign, claims), ids=str)
    def test_my_provider(check):
        check()
"""

from moonkey_core.testing.conformance import provider_conformance
from moonkey_core.testing.subject import Check, Sign

__all__ = ["Check", "Sign", "provider_conformance"]
