"""A checkpoint's files to tensors under OpenAI's names. Nothing in a file is ever executed."""
