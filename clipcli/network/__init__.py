"""CLIP's layers, readable top to bottom: config, transformer, the image encoders, the model."""
