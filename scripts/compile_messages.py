"""Compile each locale/**/*.po beside itself to the .mo that Django reads, without gettext's msgfmt.

Run it with the Python of the project's environment. Safe to repeat; a malformed file is an error that
names its line.
"""

import sys
from pathlib import Path

import polib

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    for source in sorted(ROOT.glob("**/locale/*/LC_MESSAGES/*.po")):
        if "node_modules" in source.parts or ".venv" in source.parts:
            continue
        try:
            messages = polib.pofile(str(source), check_for_duplicates=True)
        except (OSError, ValueError) as error:
            print(f"{source.relative_to(ROOT)} does not compile: {error}", file=sys.stderr)
            return 1
        messages.save_as_mofile(str(source.with_suffix(".mo")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
