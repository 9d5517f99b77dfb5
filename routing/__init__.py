"""Which route serves a request, what it wants, and so which models may answer, or whether none is needed."""
