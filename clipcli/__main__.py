"""`python -m clipcli`, and the installed command."""

from clipcli.cli.main import main

if __name__ == "__main__":
    main()
