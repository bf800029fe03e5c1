"""A trained run as one file for other programs: an ONNX graph, or one of torch.export."""
