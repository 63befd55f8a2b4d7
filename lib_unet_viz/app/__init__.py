"""The page's pieces, which a webui's tab shows too, and in `page` the stand-alone page made of them."""
