"""The gateway in front of engines on a GPU: what it adds to a request and a token, and what a client that leaves frees."""
