from collections.abc import Iterator

import notes
import pytest
from fastapi import FastAPI


@pytest.fixture
def app() -> Iterator[FastAPI]:
    notes.Base.metadata.create_all(notes.engine)
    yield notes.app
    notes.Base.metadata.drop_all(notes.engine)
