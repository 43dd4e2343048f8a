"""python -m hack.hub --root DIR: serve a folder of models as a hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from aiohttp import web

from hack.hub.server import Hub


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m hack.hub",
        description="Serve a folder of models as the Hugging Face Hub does. Faults and accounts are posted to /control/faults and /control/tokens.",
    )
    parser.add_argument("--root", type=Path, required=True, help="folder with <owner>/<name>/<files>")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument(
        "--token", action="append", default=[], metavar="TOKEN[=REPO,REPO]", help="a valid token and the gated or private repositories it opens"
    )
    parser.add_argument("--mirror", action="store_true", help="serve files and little else, as a plain mirror of the hub does")
    given = parser.parse_args()
    tokens = {token: repos.split(",") if repos else [] for token, _, repos in (text.partition("=") for text in given.token)}
    web.run_app(Hub(given.root, tokens, mirror=given.mirror).app(), host=given.host, port=given.port, print=None)


if __name__ == "__main__":
    main()
