"""What the webui shows and serves: the VXA tab and routes of our own."""
