"""What each command does, imported when it is called: here the heavy imports may stand."""
