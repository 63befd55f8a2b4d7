"""The stand-alone page: its own tabs, and all of `ui` on one pipeline.

Imports `ui`, hosts' pipelines and the bundled model; nothing but the command line imports it.
"""
