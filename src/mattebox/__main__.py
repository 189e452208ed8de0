"""`python -m mattebox` is the command line."""

from mattebox.cli import main

if __name__ == "__main__":
    main()
