"""Training: the loop, its numbers, its controls and its scores."""

__all__: list[str] = []
