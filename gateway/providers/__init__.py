"""Providers as data: profiles, auth, and the one upstream that calls any of them.

Nothing here knows a provider by name. A vendor is a file in `catalog/`; a wire format is a dialect, handed in.
"""
