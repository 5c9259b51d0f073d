"""The body of a request: the usual one is written in a shorter way, and comes out the same."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from moonkey_core._plan import Fetch
from moonkey_core._transport.messages import request_content
from support.any_json import JSON


@example({"session_token": 'a"\\\n\x7f\u2028é😀\ud800'})
@example({"session_token": True})
@example({"a": "b", "c": "d"})
@given(st.dictionaries(st.text(max_size=5), st.text() | JSON, max_size=2))
def test_a_body_is_what_json_dumps_writes(body: dict[str, Any]) -> None:
    assert request_content(Fetch("POST", "https://x", json=body)) == json.dumps(body).encode()
