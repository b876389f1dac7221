"""HTTP/2 beside the peers: small requests, bodies, gRPC, and what an idle connection holds.

    run.py        the works, and who does them
    gateways.py   the proxies with HTTP/2 on one side, or on both
    heads.py      requests that differ
    unary.py      a client and a server of gRPC
    memory.py     connections that have asked once, and what they hold
"""
