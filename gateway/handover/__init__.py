"""A person takes over: the people an operator names are told by webhook, with the reason."""
