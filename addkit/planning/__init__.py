"""What a training will need before it starts: sizes, memory, FLOPs."""

__all__: list[str] = []
