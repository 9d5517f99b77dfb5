"""Who may ask, for what, how often: virtual keys, allowed models, rate and concurrency limits."""
