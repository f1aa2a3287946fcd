"""`python -m clinicpbx`."""

from clinicpbx.cli import main

if __name__ == "__main__":
    main()
