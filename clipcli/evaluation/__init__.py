"""Labelled photographs to figures, pages and better prompts."""
