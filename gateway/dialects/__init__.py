"""Wire codecs: pure functions from bytes to core types and back, in both directions. No I/O.

What a codec reads but the core has no place for travels in the events' `extra` (and in `Unknown.fields`) under the
dialect's own name, `{"openai": {...}}`, so that no other dialect mistakes it for something of its own.
"""
