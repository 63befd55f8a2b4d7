"""What the webui loads: the script's panel, its pictures in the gallery, tabs, routes and X/Y/Z axes.

Imports `ui`, the webui's host and the webui's own `modules`; only `scripts/` imports it.
"""
