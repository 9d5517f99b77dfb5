"""The input side: what is looked at before a model is called, and what comes of it."""
