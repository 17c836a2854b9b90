"""`pairjepa` and `python -m pairjepa`: the command line, which takes a while to import."""

import sys


def main() -> int:
    """As `pairjepa.cli.main`; an interruption while it is imported shows no trace-back."""
    try:
        from pairjepa.cli import main as command_line
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
