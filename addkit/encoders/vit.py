"""timm's vision transformers, at any size."""

from __future__ import annotations

from addkit.encoders.settings import VitConfig
from addkit.encoders.timm import TimmEncoder
from addkit.errors import RecipeError


class VitEncoder(TimmEncoder):
    """The named ViT at the image's size, its sizes overridden where the recipe gives others.

    Args:
        config: the model's name, its sizes and its first weights.
        image_size: pixels of the square input.
        image_channels: of the image.

    Raises:
        RecipeError: the name is no ViT, or the image is no multiple of the patch.
    """

    def __init__(self, config: VitConfig, image_size: int, image_channels: int) -> None:
        if not config.model.startswith(("vit_", "deit")):
            raise RecipeError(
                f'[encoder] "{config.model}" is no vision transformer of timm\'s; '
                'name one such as vit_base_patch16_224, or use the encoder "timm"'
            )
        overrides = {
            "patch_size": config.patch_size,
            "embed_dim": config.width,
            "depth": config.depth,
            "num_heads": config.heads,
        }
        sizes = {key: value for key, value in overrides.items() if value is not None}
        # Always given: position embeddings of pretrained weights are then resampled.
        sizes["img_size"] = image_size
        super().__init__(config, image_size, image_channels, sizes=sizes)
        patch = self.model.patch_embed.patch_size[0]
        # The patch embedding would drop the remaining pixels silently.
        if image_size % int(patch):
            raise RecipeError(
                f"[encoder] image_size {image_size} is no multiple of the patch size {patch}"
            )
