"""The command line. Nothing here imports torch, pydantic or timm at import time."""

__all__: list[str] = []
