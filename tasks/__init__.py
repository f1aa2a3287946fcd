"""One module per concern, each a thin @deploy function. What to do is decided in clinic/."""
