"""The words every other package speaks: events, requests, answers, verdicts, plans, receipts, errors, ports.

Pure by rule: standard library and msgspec only. Everything depends on this package and it depends on nothing.
"""
