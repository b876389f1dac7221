"""The command line.  Data goes to standard output, messages to standard error.

Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 invalid configuration, 4 an address cannot be bound.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from meshproxy import __version__
from meshproxy.cli import inject_options, policy_options, redirect_options, tap_options

OK, FAILED, USAGE, INVALID, CANNOT_BIND = range(5)
FIRST = 1
"""The process of a container that has no other before it."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.command(arguments)
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser("meshproxy", description="A service-mesh data plane in Python.")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="serve until told to end")
    run.set_defaults(command=_run)
    run.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="file or directory; env:NAME, a document in that variable; or the address of a source that is asked again "
        "and again",
    )
    run.add_argument(
        "--take-over", action="store_true", help="take the sockets of the proxy that runs on this state directory"
    )
    run.add_argument(
        "--end-with-pod",
        action="store_true",
        help="drain and end when all other containers of the pod have; needs shareProcessNamespace",
    )
    _process_options(run)

    check = commands.add_parser("check", help="say everything that is wrong with a configuration; opens no socket")
    check.set_defaults(command=_check)
    check.add_argument("files", nargs="+", metavar="FILE", help="file or directory, or env:NAME")
    check.add_argument(
        "--files", action="store_true", dest="look_at_files", help="look also at the certificates that it names"
    )
    _output_option(check)
    policy_options.workload(check)

    explain = commands.add_parser("explain", help="say which rule decides about a request, and why no other; offline")
    explain.set_defaults(command=_explain)
    policy_options.explain(explain)

    convert = commands.add_parser("convert", help="say a configuration in the words of another mesh; offline")
    convert.set_defaults(command=_convert)
    policy_options.convert(convert)

    inject = commands.add_parser("inject", help="put a proxy into the pods of manifests of Kubernetes; offline")
    inject.set_defaults(command=_inject)
    inject_options.add(inject)

    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    schema.set_defaults(command=_schema)

    demo = commands.add_parser("demo", help="a proxy with upstreams and traffic of its own, to look at")
    demo.set_defaults(command=_demo)
    demo.add_argument("--for", dest="duration", type=_duration, metavar="DURATION", help="end after this time")
    demo.add_argument("--admin", default="127.0.0.1:15000", metavar="ADDRESS", help="where the page is (%(default)s)")

    status = commands.add_parser("status", help="what a running proxy is doing")
    status.set_defaults(command=_status)
    _client_options(status)
    _output_option(status)

    top_command = commands.add_parser("top", help="what it does just now, on the whole screen")
    top_command.set_defaults(command=_top)
    _client_options(top_command)
    top_command.add_argument(
        "--every", default="1s", type=_duration, metavar="DURATION", help="time between looks (%(default)s)"
    )
    top_command.add_argument("--once", action="store_true", help="print one look as text, and end")
    _output_option(top_command)

    tap = commands.add_parser("tap", help="show the requests of a running proxy as they end")
    tap.set_defaults(command=_tap)
    _client_options(tap)
    tap_options.add(tap)

    wait = commands.add_parser("wait", help="return when a proxy is ready")
    wait.set_defaults(command=_wait)
    _client_options(wait)
    wait.add_argument(
        "--timeout", default="30s", type=_duration, metavar="DURATION", help="give up after this time (%(default)s)"
    )

    drain = commands.add_parser("drain", help="make a proxy drain and end, and wait until it has")
    drain.set_defaults(command=_drain)
    _client_options(drain)
    drain.add_argument(
        "--timeout", default="60s", type=_duration, metavar="DURATION", help="wait no longer (%(default)s)"
    )
    drain.add_argument(
        "--until-idle", action="store_true", help="let everybody in until nobody is connected, or the timeout is over"
    )

    redirect = commands.add_parser("redirect", help="have the kernel redirect connections to a proxy, or stop it")
    redirect.set_defaults(command=_redirect)
    redirect_options.add(redirect, _duration)

    from meshproxy.cli import certs_options

    certs_options.add(commands.add_parser("certs", help="make certificates for tests and small sites"))

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(command=lambda _: print(__version__) or OK)
    return top


def _duration(text: str) -> float:
    from meshproxy.schema.kinds import read_duration

    try:
        return read_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _process_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--state-dir", metavar="DIR", help="where the last good configuration is, if no file says it")
    command.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    command.add_argument("--log-format", default="text", choices=("text", "json"))
    command.add_argument("--loop", default="auto", choices=("auto", "uvloop", "asyncio"), help="the event loop")


def _client_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--admin", default="127.0.0.1:15000", metavar="ADDRESS", help="host:port or unix:/path")
    command.add_argument(
        "--token", default=os.environ.get("MESHPROXY_TOKEN"), help="bearer token; default $MESHPROXY_TOKEN"
    )


def _output_option(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", default="table", choices=("table", "json"))


# A command imports what it needs when it is called: a server should not carry a client, nor `version` a server.


def _run(arguments: argparse.Namespace) -> int:
    def serve() -> int:
        from meshproxy.cli.run import run

        return run(arguments)

    if os.getpid() != FIRST:
        return serve()
    if arguments.end_with_pod:
        print("meshproxy: --end-with-pod needs `shareProcessNamespace: true` in the pod: it is alone", file=sys.stderr)
        return USAGE
    from meshproxy.cli.first import as_first

    return as_first(serve)


def _check(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.check import check

    return check(arguments)


def _explain(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.explain import explain

    return explain(arguments)


def _convert(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.convert import convert

    return convert(arguments)


def _inject(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.inject import inject

    return inject(arguments)


def _schema(_: argparse.Namespace) -> int:
    from meshproxy.cli.check import schema

    return schema()


def _demo(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.run import demo

    return demo(arguments)


def _status(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.ask import status

    return status(arguments)


def _top(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.top import top

    return top(arguments)


def _tap(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.tap import tap

    return tap(arguments)


def _wait(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.ask import wait

    return wait(arguments)


def _drain(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.ask import drain

    return drain(arguments)


def _redirect(arguments: argparse.Namespace) -> int:
    from meshproxy.cli.redirect import redirect

    return redirect(arguments)
