"""python -m hack.images build [NAME ...]: a line each with name, reference and archive."""

from __future__ import annotations

import argparse
import sys

from hack.images import build as images
from hack.tools import ToolError


def main() -> int:
    """Build what is named."""
    parser = argparse.ArgumentParser(prog="python -m hack.images")
    parser.add_argument("command", choices=["build"])
    parser.add_argument("names", nargs="*", help=f"some of {', '.join(images.RECIPES)}; all but s3 when none is given")
    given = parser.parse_args()
    try:
        for image in images.build(given.names):
            print(image.name, image.reference, image.archive or "-")
    except ToolError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
