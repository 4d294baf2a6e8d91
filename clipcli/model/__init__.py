"""CLIP itself, readable top to bottom: config, transformer, the two image encoders, the model."""
