"""Photographs into a folder for each label, and back."""
