"""python -m dedicated: the same as the command `dedicated`."""

from __future__ import annotations

from dedicated.cli import main

if __name__ == "__main__":
    main()
