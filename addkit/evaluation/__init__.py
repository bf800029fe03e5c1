"""Scores of a trained run: inference settings, the audit, uncertainty and captions."""

__all__: list[str] = []
