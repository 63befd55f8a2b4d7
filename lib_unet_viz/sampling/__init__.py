"""The noise that a model predicts at any step, and the way from a picture to its noise and back.

Imports `capture` and what is below it; which model it is, a host says.
"""
