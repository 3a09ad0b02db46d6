"""The background that base segments share: whose it is, what is kept of it, and where."""
