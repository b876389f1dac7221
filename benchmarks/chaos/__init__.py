"""Upstreams that die, hang, slow down and fail, under load: what policy saves.

    run.py          two proxies before the same upstreams, one with policy, and the report
    upstreams.py    what happens to them, and when
    upstream.py     one of them
    load.py         who asks, and what became of each request
"""
