"""TLS beside the peers: small requests, handshakes, bodies, memory, identity, and a pair of sidecars.

    run.py        the works, and who does them
    gateways.py   the proxies with TLS on one side
    load.py       handshakes, full and resumed, and requests of a client that proves who it is
    memory.py     what an open connection holds
"""
