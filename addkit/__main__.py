"""`python -m addkit`, which is what torchrun calls: `torchrun -m addkit train RECIPE`."""

from addkit.cli.main import main

if __name__ == "__main__":
    main()
