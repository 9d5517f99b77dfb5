"""Private data and secrets: what they look like."""
