"""HTTP/1.1 between clients and clusters.

    downstream.py   a client's connection: requests in, answers out, in order
    service.py      what is compiled for a listener: from a head to what becomes of it
    handling.py     what becomes of a request: an answer of our own, or
    forward.py      an upstream's, by attempts
    upstream.py     a connection to an endpoint, used again and again
    tunnel.py       what a connection becomes when the protocol changes
    filtered.py     either of these behind the filters of its route
"""
