"""python -m hack.cluster up | down | list | kubeconfig | kwok-nodes N | gpus N | tool NAME... | load ARCHIVE...; --name NAME says which cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hack.cluster import bare, context, devices, gpus, kwok, overview, tools
from hack.cluster.gpus import FLEET_PRODUCT, Gpus
from hack.cluster.layout import DEFAULT_NAME, Layout, checked
from hack.tools import ToolError

EPILOG = """environment: CLUSTER names the cluster as --name does; GPUS (2) and GPU_PRODUCT (NVIDIA-L4) say what `up` gives the node of a new
cluster; KWOK_NODES adds so many fake nodes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; a failure is one sentence and exit code 1."""
    given = parser().parse_args(arguments)
    try:
        COMMANDS[given.command](given)
    except ToolError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """What can be said. `--name` may stand before the command or behind it."""
    found = argparse.ArgumentParser(prog="python -m hack.cluster", description="A real Kubernetes cluster from packages.", epilog=EPILOG)
    found.add_argument("--name", default=DEFAULT_NAME, help="name of the cluster (%(default)s)")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=argparse.SUPPRESS, help="name of the cluster")
    commands = found.add_subparsers(dest="command", required=True)

    def add(name: str, help_text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_text, parents=[named])

    add("up", "start it, or reuse it")
    add("down", "end it and leave nothing of it; others serve on")
    add("list", "the clusters of this machine: name, state, address, GPUs and pids of bare ones")
    add("kubeconfig", "print the path of its kubeconfig")
    add("prepare", "install and build what it needs, without starting it")
    add("tool", "print the paths of programs, built when missing").add_argument("tools", nargs="+")
    add("load", "import image archives").add_argument("archives", nargs="+", type=Path)
    fleet = add("kwok-nodes", "have so many fake nodes with these GPUs")
    fleet.add_argument("nodes", type=_count)
    fleet.add_argument("--gpu", default=FLEET_PRODUCT, metavar="PRODUCT", help="as GPU feature discovery calls it (%(default)s)")
    fleet.add_argument("--gpus-per-node", type=_count, default=8, metavar="N", help="%(default)s; 0 for nodes without GPUs")
    fleet.add_argument("--no-taint", action="store_true", help="let pods land there that do not tolerate kwok.x-k8s.io/node")
    change = add("gpus", "change the GPUs of the real node while it runs")
    change.add_argument("count", type=_count, nargs="?", help="how many there are from now on")
    change.add_argument("--toggle", action="store_true", help="break the first one, or mend it")
    return found


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is no number of things")
    return int(text)


def _list() -> None:
    if context.choose().provider == "bare":
        print(overview.table(overview.rows()))
    else:
        print(*context.names(), sep="\n")


def _kwok_nodes(given: argparse.Namespace) -> None:
    has = Gpus(gpus.product(given.gpu).name, given.gpus_per_node)
    kwok.add_nodes(Layout(checked(given.name)), kwok.Fleet(given.nodes, has, tainted=not given.no_taint))


def _gpus(given: argparse.Namespace) -> None:
    layout = Layout(checked(given.name))
    if given.count is not None:
        devices.set_gpu_count(layout, given.count)
    if given.toggle:
        devices.toggle_gpu(layout)


COMMANDS: dict[str, Callable[[argparse.Namespace], object]] = {
    "up": lambda given: context.up(given.name),
    "down": lambda given: context.down(given.name),
    "list": lambda given: _list(),
    "kubeconfig": lambda given: print(context.kubeconfig(given.name)),
    "prepare": lambda given: bare.prepare(),
    "tool": lambda given: print(*map(tools.path, given.tools), sep="\n"),
    "load": lambda given: context.load(given.name, given.archives),
    "kwok-nodes": _kwok_nodes,
    "gpus": _gpus,
}


if __name__ == "__main__":
    sys.exit(main())
