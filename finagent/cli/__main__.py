"""python -m finagent.cli: the same as the console script."""

from finagent.cli import main

if __name__ == "__main__":
    main()
