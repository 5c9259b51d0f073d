"""httpx for plain HTTP, without the CA certificates: to read them takes longer than most tests."""

from __future__ import annotations

from functools import partial

import httpx

from support.patience import PATIENCE

Client = partial(httpx.Client, verify=False, timeout=PATIENCE)
get = partial(httpx.get, verify=False, timeout=PATIENCE)
post = partial(httpx.post, verify=False, timeout=PATIENCE)
put = partial(httpx.put, verify=False, timeout=PATIENCE)
request = partial(httpx.request, verify=False, timeout=PATIENCE)
stream = partial(httpx.stream, verify=False, timeout=PATIENCE)
