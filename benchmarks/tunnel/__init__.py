"""Tunnels beside plain TLS connections: on a clean link, on a bad one, and on one that is away for a while.

    run.py        the works, and who does them
    pairs.py      who is compared with whom
    peers.py      two proxies and what is between them: a tunnel, or a TLS connection for each stream
    ssh.py        two ends of `ssh -L`
    recovery.py   how long after a cut the first byte comes
    flaps.py      a command: streams with checksums over a link that comes and goes
    checked.py    those streams, of which both ends know every byte
"""
