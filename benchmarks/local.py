"""The local part: a JWT verified on one thread, in multiples of one raw RSA-2048 verification."""

from __future__ import annotations

import asyncio

import contenders_local as who
from contenders_local import COLD, RAW, READ, WARM
from results import Bar, Goal, Section, Table, number
from service import Upstream
from timing import Contender, Pools, Series, admit, admitted, race, slice_sizes
from tokens import Flavour, key_set, pool

LONG = 3_000  # bytes of claims more, for a token of about 5 kB
FEW = 200


def measure(quick: bool) -> Section:
    """Run the section."""
    section = Section("Local verification of a JWT, one thread")
    rounds, count = (7, 40) if quick else (31, 100)
    loop = asyncio.new_event_loop()
    with Upstream(key_set()) as upstream:
        peers = admitted(who.PEERS, upstream, section.failed, loop)
        _warm(section, upstream, loop, rounds)
        for title, size in (("about 1 kB", 0), ("about 5 kB", LONG)):
            _cold(section, upstream, peers, loop, (rounds, count), title, size)
    loop.close()
    return section


def _pools(peers: list[Contender], many: int, padding: int) -> Pools:
    flavours: set[Flavour] = {peer.flavour for peer in peers} - {"moonkey"}
    few = {flavour: pool(flavour, FEW, padding_bytes=padding) for flavour in flavours}
    return Pools({**few, "moonkey": pool("moonkey", many, padding_bytes=padding)})


def _warm(section: Section, upstream: Upstream, loop: asyncio.AbstractEventLoop, rounds: int) -> None:
    pools = Pools({"moonkey": pool("moonkey", FEW)})
    contenders = [who.raw_rsa(upstream), *who.warm(upstream)]
    for contender in contenders:
        contender.results(pools.take(contender, 0, FEW), loop)  # each client sees every token once, untimed
    for contender in contenders:
        admit(contender, loop)
    sizes = slice_sizes(contenders, pools, loop, 0.01)
    series = race(contenders, pools, loop, rounds=rounds, count=sizes)
    section.tables.append(
        _table("Warm: a JWT seen before, from the request's headers to `Auth`", contenders, series)
    )
    ratio = series[WARM].ratio(series[RAW])
    section.goals.append(
        Goal(
            "warm",
            "warm JWT, `authenticate` from headers to `Auth`, one thread",
            "≤ 0.2 raw RSA verifications",
            f"{number(ratio)} raw ({number(series[WARM].median)} µs)",
            ratio <= 0.2,
        )
    )
    section.bars.append(Bar("local", "this project, warm", ratio, ours=True))


def _cold(
    section: Section,
    upstream: Upstream,
    peers: list[Contender],
    loop: asyncio.AbstractEventLoop,
    effort: tuple[int, int],
    title: str,
    padding: int,
) -> None:
    rounds, count = effort
    if padding:
        rounds = max(5, rounds // 3)
    pools = _pools(peers, rounds * count, padding)
    mine = who.cold(upstream)
    for contender in mine:
        admit(contender, loop)
    contenders = [who.raw_rsa(upstream), *mine, *peers]
    series = race(contenders, pools, loop, rounds=rounds, count=count)
    length = len(pools.tokens["moonkey"][0])
    section.tables.append(
        _table(f"Cold: each JWT at first sight, {title} ({length} characters)", contenders, series)
    )
    raw = series[RAW]
    best, ratio = _best(peers, series)
    if padding:
        section.goals.append(_length_goal(series, section, length, ratio, best))
        return
    cold = series[COLD].ratio(raw)
    read = series[READ].ratio(raw)
    section.goals.append(
        Goal(
            "cold",
            "cold JWT (first sight), distinct tokens, declared dependencies only",
            "≤ 2.0 raw RSA verifications, aim 1.7",
            f"{number(cold)} raw ({number(series[COLD].median)} µs); {number(read)} with user and session read",
            cold <= 2.0,
            f"{number(ratio)} ({best})",
        )
    )
    section.bars += [
        Bar("local", "this project, cold", cold, ours=True),
        Bar("local", "this project, cold, user and session read", read, ours=True),
        *(Bar("local", peer.name, series[peer.name].ratio(raw)) for peer in peers),
    ]


def _length_goal(series: dict[str, Series], section: Section, length: int, ratio: float, best: str) -> Goal:
    """What the length costs: the slope above what hashing for the signature costs."""
    short = section.bars[1].value
    raw = series[RAW]
    cold = series[COLD].ratio(raw)
    return Goal(
        "long",
        f"cold JWT of {length} characters: linear and cheap in length",
        "≤ 2.0 raw RSA verifications of the same token",
        f"{number(cold)} raw (short token: {number(short)}); {number(series[COLD].median)} µs",
        cold <= 2.0,
        f"{number(ratio)} ({best})",
    )


def _best(peers: list[Contender], series: dict[str, Series]) -> tuple[str, float]:
    if not peers:
        return "none", float("inf")
    ratios = {peer.name: series[peer.name].ratio(series[RAW]) for peer in peers}
    best = min(ratios, key=ratios.__getitem__)
    return best, ratios[best]


def _table(title: str, contenders: list[Contender], series: dict[str, Series]) -> Table:
    table = Table(title, ["contender", "µs, median", "x raw RSA", "note"])
    for contender in sorted(contenders, key=lambda one: series[one.name].median):
        one = series[contender.name]
        table.rows.append([contender.name, number(one.median), number(one.ratio(series[RAW])), contender.note])
    return table
