"""The same layers fast: on which devices, in which numbers, in how many threads."""
