"""Where data come from and where results go, one file a kind of place."""
