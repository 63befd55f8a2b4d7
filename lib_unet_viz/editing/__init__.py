"""Prompt-to-prompt: an edit's plan, how attention is mixed, what may change, and the hooks that do it.

Imports `sampling` and what is below it, and knows no host; nothing is drawn here.
"""
