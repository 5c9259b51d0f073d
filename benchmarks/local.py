"""The local part: a JWT verified on one thread, in multiples of one raw RSA-2048 verification."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import contenders_local as who
import ours
from results import Section, race_figures, race_table
from service import Upstream
from timing import QUICK_ROUNDS, ROUNDS, Contender, Pools, admit, admitted, race, slice_sizes
from tokens import Flavour, key_set, pool, refused

LONG = 3_000  # bytes of claims more, for a token of about 5 kB
FEW = 200
EACH = 40  # new tokens in a slice


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Local verification of a JWT, one thread")
    rounds = QUICK_ROUNDS if quick else ROUNDS
    loop = asyncio.new_event_loop()
    with Upstream(key_set()) as upstream:
        peers = admitted(who.PEERS, upstream, section.failed, loop)
        _warm(section, upstream, loop, rounds)
        _cold(section, upstream, peers, loop, rounds, 0)
        _cold(section, upstream, peers, loop, max(QUICK_ROUNDS, rounds // 4), LONG)
        _refused(section, upstream, loop, rounds)
    loop.close()
    return section


def _warm(section: Section, upstream: Upstream, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    seen = pool("moonkey", FEW)
    pools = Pools({"moonkey": seen, who.PAIRS: [ours.cookie_line(jwt, upstream.url) for jwt in seen]})
    contenders = [who.raw_rsa(), *who.warm(upstream)]
    for contender in contenders:
        contender.results(pools.take(contender, 0, FEW), loop)  # each client sees every token once, untimed
    for contender in contenders[1:]:
        if not contender.pool:
            admit(contender, loop)
    upstream.set(reset=True)
    sizes = slice_sizes(contenders, pools, loop, rounds)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    if upstream.count("verify"):
        section.failed.append("a warm request has asked the API: its figures are not those of a warm one")
    title = "Warm: a JWT seen before, from the request's headers to `Auth`, or to its user and session"
    section.tables.append(race_table(title, contenders, series))
    figures = {one.id: one for one in race_figures(contenders, series)}
    pair, header = figures.pop("pair-core"), figures["read-wsgi"]
    section.figures += figures.values()
    section.figures.append(
        replace(pair, value=pair.value - header.value, median=pair.median - header.median, peers={})
    )


def _cold(
    section: Section,
    upstream: Upstream,
    peers: list[Contender],
    loop: asyncio.AbstractEventLoop,
    rounds: int,
    padding: int,
) -> None:
    flavours: set[Flavour] = {peer.flavour for peer in peers} - {"moonkey"}
    few: dict[str, list[str]] = {flavour: pool(flavour, FEW, padding_bytes=padding) for flavour in flavours}
    pools = Pools({**few, "moonkey": pool("moonkey", rounds * EACH, padding_bytes=padding)})
    mine = who.cold(upstream)
    for contender in mine:
        admit(contender, loop)
    contenders = [who.raw_rsa(), *mine, *peers]
    sizes = slice_sizes(contenders, pools, loop, rounds)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    length = len(pools.tokens["moonkey"][0])
    title = f"Cold: each JWT at first sight, about {length / 1000:.0f} kB ({length} characters)"
    section.tables.append(race_table(title, contenders, series))
    if not padding:
        section.figures += race_figures(contenders, series)


def _refused(section: Section, upstream: Upstream, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    pools = Pools({"moonkey": pool("moonkey", FEW), **refused(rounds * EACH + EACH)})
    contenders = [who.raw_rsa(), *who.refused(upstream)]
    for contender in contenders[1:]:  # the key set is fetched, and what each says is right
        said = contender.results([contender.wrap(pools.tokens[contender.pool].pop())], loop)[1]
        assert contender.accepted(said[0]), f"{contender.name}: {said[0]!r}"
    upstream.set(reset=True)
    sizes = slice_sizes(contenders, pools, loop, rounds)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    table = race_table("A JWT that must be refused, each at first sight", contenders, series)
    asked = upstream.count("verify") + upstream.count("jwks")
    table.notes.append(
        f"{asked} calls to the provider meanwhile; `refresh_jwt` is off, else an expired JWT asks it"
    )
    section.tables.append(table)
    section.figures += race_figures(contenders, series)
