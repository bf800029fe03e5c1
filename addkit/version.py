"""The version of addkit."""

__version__ = "0.1.0"
