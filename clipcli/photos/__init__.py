"""A path to pixels: which files to try, how each is opened, decoded and cut to a square."""
