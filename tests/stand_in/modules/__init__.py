"""The names of the webui's `modules` that the extension uses, with the webui's own signatures.

For quick tests. tests/webui/test_stand_in.py compares every one with a real webui's; what they do is as
little as a test needs.
"""
