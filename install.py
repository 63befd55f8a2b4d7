"""Run by the webui when it starts. All that this extension needs comes with the webui: nothing to install."""
