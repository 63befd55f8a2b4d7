"""Everyday things as vector art of this project's own hand, and scenes of them, for the bundled model."""
