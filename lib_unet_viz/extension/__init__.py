"""What a person meets in the webui: the script's panel, its pictures in the gallery, the VXA tab, routes."""
