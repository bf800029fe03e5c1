"""Several training processes: ranks, launching, signals, FSDP2 and batch norm over processes."""

__all__: list[str] = []
