"""Credentials that need the request itself, or that expire: what cannot be one fixed header made at start."""
