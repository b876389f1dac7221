"""What commands that look at policy may be told.  Every `meshproxy` knows it, so nothing is imported here that they
need."""

from __future__ import annotations

import argparse

DIALECTS = ("native", "smi", "fsm")


def convert(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="+", metavar="FILE", help="file or directory")
    command.add_argument(
        "--from", dest="source", default="auto", choices=("auto", *DIALECTS), help="what it is (%(default)s)"
    )
    command.add_argument("--to", dest="target", required=True, choices=DIALECTS, help="what it is to be")
    command.add_argument(
        "-o", "--output", default="yaml", choices=("yaml", "json"), help="%(default)s; fsm is always json"
    )
    workload(command)


def workload(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("whose proxy it is, if not that of `node` in the files")
    group.add_argument("--as", dest="role", choices=("sidecar",), help="what it is; needs --service-account")
    group.add_argument("--service-account", type=account, metavar="NS/NAME", help="who the workload is")
    group.add_argument("--service", default="", metavar="NAME", help="a service that it serves")
    group.add_argument(
        "--label", type=_label, action="append", default=[], metavar="K=V", help="a label of it; may be repeated"
    )


def account(text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"must be a namespace and a service account, such as shop/books, not {text!r}")
    return namespace, name


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"must be a key and a value, such as version=v1, not {text!r}")
    return key, value


def unclear(arguments: argparse.Namespace) -> str:
    """What is wrong with these options together; nothing if they fit."""
    if arguments.service_account is not None:
        return "" if arguments.role else "--service-account needs --as sidecar"
    more = {"as": arguments.role, "service": arguments.service, "label": arguments.label}
    return next((f"--{name} needs --service-account" for name, value in more.items() if value), "")


def explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="+", metavar="FILE", help="file or directory")
    command.add_argument("--path", default="/", help="the path of the request, and the query (%(default)s)")
    command.add_argument("--method", default="GET", help="its method (%(default)s)")
    command.add_argument(
        "-H", "--header", action="append", default=[], metavar="'NAME: VALUE'", help="a header of it; may be repeated"
    )
    command.add_argument("-o", "--output", default="table", choices=("table", "json"))
    one = command.add_argument_group("of one proxy")
    one.add_argument("--host", help="what the request's Host says, with a port or without")
    one.add_argument("--listener", metavar="NAME", help="where it arrives, if there are several")
    one.add_argument("--table", metavar="NAME", help="the table of routes, if the listener has several")
    one.add_argument("--port", type=_port, metavar="N", help="what was connected to, if that makes a difference")
    one.add_argument("--identity", metavar="ID", help="who the client has proved to be, such as shop/web")
    whole = command.add_argument_group("of a whole mesh, by all of its policy")
    whole.add_argument("--from-account", type=account, metavar="NS/NAME", help="who asks")
    whole.add_argument("--to", type=_service, metavar="NS/SERVICE[:PORT]", help="which service is asked")


def asks_for_one(arguments: argparse.Namespace) -> str:
    """What is wrong with these options together; nothing if they fit."""
    if (arguments.from_account is None) != (arguments.to is None):
        return "--from-account and --to need each other"
    asked = ("host", "listener", "table", "port", "identity")
    of_one = [name for name in asked if getattr(arguments, name) is not None]
    if arguments.to is None:
        return "" if arguments.host is not None else "say --host, or --from-account and --to"
    return f"--{of_one[0]} is asked of one proxy: leave it away beside --to" if of_one else ""


def _service(text: str) -> tuple[str, str, int | None]:
    name, colon, port = text.partition(":")
    return *account(name), _port(port) if colon else None


def _port(text: str) -> int:
    from meshproxy.schema.kinds import port_in

    try:
        return port_in(text)
    except ValueError as why:
        raise argparse.ArgumentTypeError(str(why)) from None
