"""Pictures and tables made from results."""

__all__: list[str] = []
