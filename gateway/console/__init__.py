"""The page at `/console`: live exchanges, from the gateway's own receipts, bounded and in memory."""
