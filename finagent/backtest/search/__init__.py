"""The search for parameters: what is varied, which sets are tried, how each is judged, and what that is worth."""
