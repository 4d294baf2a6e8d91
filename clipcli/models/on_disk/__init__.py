"""A model's name to its files: which it means, where they lie, and how those that are missing come.

Nothing of a model is read here but what lies beside its weights, and torch is not needed.
"""
