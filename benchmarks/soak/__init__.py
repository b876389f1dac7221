"""Everybody at once, for as long as it is wanted: good, slow, hasty, broken and hostile clients and upstreams.

    run.py          the proxy between them, its reloads, and what must be true at the end
    clients.py      who asks, and compares each answer with what it must be
    upstreams.py    who answers, and how badly
    words.py        what both know of requests and bodies
    inside.py       filters that run in the proxy: one delays answers, one counts what is alive
"""
