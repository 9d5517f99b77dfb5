"""Where entries live. The only package that knows Redis and Qdrant."""
