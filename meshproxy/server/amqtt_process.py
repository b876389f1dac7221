"""The process of the broker: amqtt on one address, until its standard input ends.

    python -m meshproxy.server.amqtt_process 127.0.0.1 1884

Signals are for the proxy, which decides when the broker may go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys


async def serve(host: str, port: str) -> None:
    # Who has no use for it need not have it.
    from amqtt.broker import Broker

    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(sys.stdin, over.set)
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": bind}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    await over.wait()
    # It holds nothing that would have to be put away, and its clients are those of the proxy.
    os._exit(0)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.ERROR, format="amqtt: %(message)s")
    asyncio.run(serve(*sys.argv[1:]))


if __name__ == "__main__":
    main()
