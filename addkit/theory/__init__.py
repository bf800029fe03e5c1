"""What theory says of label diffusion, checked by number; and a trained head beside the exact one.

`results.RESULTS` lists the results, `docs/theory.md` derives them.
"""

__all__: list[str] = []
