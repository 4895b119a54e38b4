"""`python -m encoderlab` is `encoderlab`."""

from encoderlab.cli.app import main

if __name__ == "__main__":
    main()
