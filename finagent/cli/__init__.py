"""The command line: Typer, one file per group of verbs; `main` is the console script."""


def main() -> None:
    """Run the command line on ``sys.argv`` and end the process with its exit status."""
    import sys

    from finagent.cli.root import run

    sys.exit(run(sys.argv[1:]))
