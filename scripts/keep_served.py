"""Delete every file of node_modules that no page is served: for the container image.

python scripts/keep_served.py
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from dashboard.browser_libraries import FILES, NODE_MODULES  # noqa: E402 - found by the line above


def main() -> int:
    kept = {NODE_MODULES / source for source in FILES.values()}
    for path in sorted(NODE_MODULES.rglob("*"), reverse=True):
        if path.is_symlink() or path.is_file():
            if path not in kept:
                path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
