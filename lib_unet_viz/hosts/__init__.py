"""Who runs a U-Net, one folder each: what its calls are, its texts, its pictures and its noise.

Imports the core; nothing of the core imports a host. No host imports another.
"""
