"""Groups of options that commands take, and what a shell offers as their values."""
