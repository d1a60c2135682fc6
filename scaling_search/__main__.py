"""``python -m scaling_search`` is ``scaling-search``."""

from scaling_search.commands.cli import main

if __name__ == "__main__":
    main()
