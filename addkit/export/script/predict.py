"""Predict with the .onnx file next to this file: python NAME.py IMAGE...

Needs onnxruntime, numpy and pillow; written by `addkit export`.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).with_suffix(".onnx"))
about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
names, size, mean = about["class_names"], about["image_size"], about["mean"]


def prepare(file):
    image = ImageOps.exif_transpose(Image.open(file))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    image = image.convert("L" if about["image_channels"] == 1 else "RGB")
    resample = Image.Resampling[about["interpolation"].upper()]
    box = None
    if about["fit"] == "crop":
        side = min(image.size) * size / about["shorter_side"]
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
    if about["fit"] == "letterbox":
        inner = [max(round(side * size / max(image.size)), 1) for side in image.size]
        square = Image.new(image.mode, (size, size), tuple(round(255 * x) for x in mean))
        corner = ((size - inner[0]) // 2, (size - inner[1]) // 2)
        square.paste(image.resize(inner, resample), corner)
        image = square
    pixels = np.asarray(image.resize((size, size), resample, box), np.float32) / 255
    pixels = (pixels.reshape(size, size, -1) - np.float32(mean)) / np.float32(about["std"])
    return pixels.transpose(2, 0, 1)


for file in sys.argv[1:]:
    outputs = [output.name for output in session.get_outputs()]
    found = session.run(outputs, {"images": prepare(file)[None]})
    answer = {name: values[0].tolist() for name, values in zip(outputs, found, strict=True)}
    if "ids" not in answer:
        best = np.argsort(answer["probabilities"])[::-1][:5]
        line = ", ".join(f"{names[k]} {answer['probabilities'][k]:.4f}" for k in best)
    elif about["token_names"]:
        pairs = zip(about["token_names"], answer["ids"], answer["confidence"], strict=True)
        line = ", ".join(f"{name} {names[k]} {p:.4f}" for name, k, p in pairs)
    else:
        ids = answer["ids"]
        line = " ".join(names[k] for k in ids[: [*ids, about["pad"]].index(about["pad"])])
    print(f"{file}: {line}")
