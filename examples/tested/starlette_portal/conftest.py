import portal
import pytest
from starlette.applications import Starlette


@pytest.fixture
def moonkey_app() -> Starlette:
    return portal.app
