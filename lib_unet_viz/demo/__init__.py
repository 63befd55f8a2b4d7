"""The bundled model: a small Stable Diffusion trained from nothing on drawn scenes whose truth is known."""
