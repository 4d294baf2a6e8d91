"""The choice of better words and templates: what is tried, and what counts as better."""
