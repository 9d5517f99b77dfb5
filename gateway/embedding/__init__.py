"""Text to vectors, on this machine, without torch.

`build` makes the encoder's files once; `MiniLM` loads them and embeds off the event loop. The router, the semantic
cache and the learned checks are handed one `core.ports.Embed` and never import this package.
"""
