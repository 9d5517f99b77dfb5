"""Checks on what goes to a model and what comes back: one check a file, pure scanners inside, three ports outside.

A *scanner* finds spans in text and knows where a growing text may be cut (`scanner.py`); `window.py` turns any scanner
into a hold-back; `screen.py` runs the checks of the input side, `streaming.py` those of the output side, and
`restoring.py` puts originals back. `build.py` makes all of it from the configuration.
"""
