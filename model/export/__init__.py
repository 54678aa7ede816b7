"""python -m model.export: a trained run as a folder for others, with ONNX and a model card."""
