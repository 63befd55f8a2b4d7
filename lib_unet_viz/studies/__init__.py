"""Studies: prompts x seeds x variants x measures, from a page of TOML to one Parquet table, here or on Ray.

Imports hosts and the bundled model's judge; pyarrow, Ray and matplotlib only where they are used.
"""
