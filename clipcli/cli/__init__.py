"""The command line: options to one pipeline call to a writer. Nothing else prints."""
