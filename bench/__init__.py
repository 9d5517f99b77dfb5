"""The benchmark: gateways side by side on one pinned core, behind a mock upstream. Run it with ``./dev bench``."""
