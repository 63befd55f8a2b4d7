"""The workspace: a run, or two to compare, as one HTML page that holds its numbers and needs nothing else.

The core: numpy, torch and Pillow alone. `bundle` makes the page's data of traces, `page` its text.
"""
