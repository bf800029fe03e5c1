"""Vision transformers of timm's."""

from __future__ import annotations

from addkit.encoders.backbone import Backbone, create, with_weights
from addkit.encoders.settings import VitConfig
from addkit.errors import RecipeError
from addkit.plugin.spec import Problem


def build_vit(config: VitConfig, problem: Problem) -> Backbone:
    """The named ViT at the problem's image size, its sizes overridden where the recipe says.

    Raises:
        RecipeError: the name is no ViT, or the image is no multiple of the patch.
    """
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
    encoder = create(config, problem, {**sizes, "img_size": problem.image_size})
    patch = encoder.model.patch_embed.patch_size[0]  # type: ignore[index, union-attr]
    if problem.image_size % int(patch):
        raise RecipeError(
            f"[encoder] image_size {problem.image_size} is no multiple of the patch size {patch}"
        )
    return with_weights(encoder, config)
