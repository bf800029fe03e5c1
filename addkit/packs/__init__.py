"""Packs as they are made: the files of a trained model, its card, and the upload to a hub."""

from addkit.packs.upload import Pushed, push
from addkit.packs.write import Packed, pack

__all__ = ["Packed", "Pushed", "pack", "push"]
