"""Looking at a U-Net while it runs: what to keep, the hooks that keep it, what that costs, and dumps of it.

Imports the nouns (`unet`, `trace`, `attention`) and `notation`.
"""
