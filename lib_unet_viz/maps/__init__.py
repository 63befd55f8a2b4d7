"""What recorded attention says: maps of words, self-attention, segments, one's own words and pictures.

Imports `capture` and what is below it, and knows no host; nothing is drawn here.
"""
