"""What `meshproxy inject` may be told.  Every `meshproxy` knows it, so nothing is imported here that it needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-f", "--file", dest="files", action="append", required=True, metavar="FILE",
        help="manifests; `-` is the standard input; may be repeated",
    )  # fmt: skip
    command.add_argument("-o", "--output", default="yaml", choices=("yaml", "json"), help="%(default)s")
    proxy = command.add_argument_group("the proxy")
    proxy.add_argument("--image", type=_read("image"), metavar="IMAGE", help="of this version, unless said")
    proxy.add_argument(
        "--form", choices=("native", "older"), help="an init container that stays, or one container more (native)"
    )
    proxy.add_argument(
        "--config-map", type=_read("name"), metavar="NAME", help="what is mounted at /etc/meshproxy (meshproxy)"
    )
    proxy.add_argument(
        "--certificates", type=_read("name"), metavar="NAME",
        help="the Secret that is mounted at /etc/meshproxy-certificates; none, unless said",
    )  # fmt: skip
    proxy.add_argument(
        "--control-plane", type=_read("control_plane"), metavar="URL",
        help="who is asked for policy; {namespace} and {serviceAccount} in it are those of the pod",
    )  # fmt: skip
    proxy.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
    for what, default in (("cpu", "100m"), ("memory", "64Mi")):
        proxy.add_argument(f"--{what}", type=_read(what), metavar="AMOUNT", help=f"that it asks for ({default})")
    proxy.add_argument("--cpu-limit", type=_read("cpu"), metavar="AMOUNT", help="no limit, unless said")
    proxy.add_argument("--memory-limit", type=_read("memory"), metavar="AMOUNT", help="that it may have (256Mi)")
    traffic = command.add_argument_group("how traffic comes to it")
    traffic.add_argument(
        "--interception-mode", dest="interception", choices=("redirect", "tproxy", "none"), help="(redirect)"
    )
    traffic.add_argument("--cni", action="store_true", default=None, help="the network of the cluster redirects")
    traffic.add_argument("--dns", action="store_true", default=None, help="queries for names go to the proxy too")


def _read(kind: str) -> Callable[[str], str]:
    """What is wrong is said in the words of who reads it."""

    def read(text: str) -> str:
        from meshproxy.inject import options

        try:
            found: str = getattr(options, kind)(text)
        except ValueError as why:
            raise argparse.ArgumentTypeError(str(why)) from None
        return found

    return read
