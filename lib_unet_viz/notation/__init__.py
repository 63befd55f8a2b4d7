"""What people type: blocks and steps, layer prompts, edits, formulas, and words among a text's tokens.

Text in, values out; imports the standard library and numpy.
"""
