"""Values to pictures: colours, letters, grids, and the sheets of each kind of result.

Imports `maps`, `editing` and what is below them; draws with numpy and PIL.
"""
