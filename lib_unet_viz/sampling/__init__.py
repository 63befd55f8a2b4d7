"""What is asked of a loaded model (`model`), DDIM, and the way from a picture to noise and back.

Imports `capture` and what is below it; which model it is, a host says.
"""
