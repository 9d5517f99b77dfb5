"""What a text is about: topics, brands, toxicity."""
